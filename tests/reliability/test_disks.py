"""Full and read-only disks: told, survived up to a number of failed saves, and nothing that was saved is lost."""

import errno
import os
import re
import subprocess

import orbax.checkpoint as ocp
import pytest

from pause_jax.checkpointing.run_folder import RunFolder
from pause_jax.errors import RunStopped
from tests.reliability.programs import STEPS, Group, assert_same, last_step, note, run
from tests.reliability.training_program import train


def fail(monkeypatch, steps):
    """Let saving fail at `steps`, as on a full disk."""
    save = ocp.CheckpointManager.save

    def save_or_fail(manager, step, **arguments):
        if step in steps:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return save(manager, step, **arguments)

    monkeypatch.setattr(ocp.CheckpointManager, "save", save_or_fail)


def test_failed_saves_are_survived_up_to_their_number(tmp_path, monkeypatch, caplog):
    task = {"folder": str(tmp_path / "run"), "steps": 8, "run": {"checkpoint_every": 1, "max_failed_saves": 3}}
    with monkeypatch.context() as patched, caplog.at_level("WARNING"):
        fail(patched, steps={2, 3, 5, 6})
        assert train(task) == "finished"
    told = re.findall(r"step (\d) could not be saved to \S+ \(No space left on device\): training goes on", caplog.text)
    assert told == ["2", "3", "5", "6"]
    assert RunFolder(tmp_path / "run").saved_steps()[-1] == 8
    task = {**task, "folder": str(tmp_path / "stopped")}
    with monkeypatch.context() as patched:
        fail(patched, steps={5, 6, 7, 8})
        with pytest.raises(
            RunStopped, match=r"step 7 could not be saved .*, and so could none of the 2 before it: make"
        ):
            train(task)
    assert RunFolder(tmp_path / "stopped").saved_steps()[-1] == 4
    assert train(task) == "finished"


def test_a_run_whose_last_save_fails_does_not_call_itself_finished(tmp_path, monkeypatch):
    task = {"folder": str(tmp_path / "run"), "steps": 2, "run": {"max_failed_saves": 3}}
    with monkeypatch.context() as patched:
        fail(patched, steps={2})
        with pytest.raises(RunStopped, match=r"the last save to .* failed, see above: make room"):
            train(task)
    assert train(task) == "finished"


@pytest.fixture
def disk(tmp_path):
    """A file system of 3 MB of its own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = (
        os.getuid() == 0
        and not subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", folder], capture_output=True
        ).returncode
    )
    if not mounted:
        pytest.skip("needs the right to mount a file system")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def fill(disk):
    with (disk / "ballast").open("wb", buffering=0) as file:
        try:
            while file.write(bytes(4096)) == 4096:
                pass
        except OSError as error:
            assert error.errno == errno.ENOSPC


@pytest.mark.slow
def test_a_full_disk_that_is_emptied_again(disk, straight):
    with Group(disk / "run", STEPS, seconds=0.5, run={"max_failed_saves": 100}) as group:
        assert group.until(lambda: group.folder.saved_steps() == [4])
        fill(disk)
        assert group.until(lambda: group.stderr().count("could not be saved") >= 2)
        assert group.folder.saved_steps()[-1] <= 8  # what there was
        (disk / "ballast").unlink()
        code, err = group.ended()
    assert code == 0, err
    assert re.search(r"could not be saved to .* \(No space left on device\): training goes on", err)
    assert_same(group.folder, straight(1), range(1, STEPS + 1))  # metrics that waited included
    note("disk full for a while (the run goes on)", 1, 1, "none")


@pytest.mark.slow
def test_a_disk_that_stays_full_stops_the_run(disk, straight):
    with Group(disk / "run", STEPS, seconds=0.3, run={"max_failed_saves": 2}) as group:
        assert group.until(lambda: last_step(group.folder) >= 6 and group.folder.saved_steps() == [4])
        fill(disk)
        code, err = group.ended()
    assert code == 3, err
    assert re.fullmatch(r"error: the checkpoint of step \d+ could not be saved .*last checkpoint", err.splitlines()[-1])
    assert group.folder.saved_steps() == [4]
    (disk / "ballast").unlink()
    ((code, err),) = run(disk / "run", STEPS)
    assert code == 0, err
    assert_same(group.folder, straight(1), range(1, STEPS + 1))
    note("disk full for good (the run stops, and goes on once there is room)", 1, 1, "since the last save")


@pytest.mark.slow
def test_a_disk_that_is_read_only_is_one_sentence(disk):
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    ((code, err),) = run(disk / "run", STEPS)
    assert code == 2, err
    assert re.fullmatch(r"error: \S+ cannot be written to \(Read-only file system\): give another --workdir\n", err)
    note("read-only disk (refused)", 1, 1, "none")

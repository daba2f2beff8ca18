"""Two runs on one folder: the second is refused while the first lives, however that one ends."""

import errno
import fcntl
import re
import signal
import subprocess
import sys

import pytest

from pause_jax.checkpointing import locks
from pause_jax.checkpointing.run_folder import RunFolder
from pause_jax.errors import UserError
from tests.reliability.programs import Group, last_step, note, records, run

HOLDER = """
import pathlib, sys, time
from pause_jax.checkpointing import locks
with locks.held(pathlib.Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


def test_held_by_a_process_until_it_is_killed(tmp_path):
    file = tmp_path / "run" / "lock"
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, str(file)], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(UserError, match=rf"written to by another run, process {holder.pid} on \S+: wait"):
            RunFolder(file.parent).held().__enter__()
    finally:
        holder.send_signal(signal.SIGKILL)
        holder.communicate()
    for _ in range(2):  # what a dead one left behind is not in the way, nor is our own
        with RunFolder(file.parent).held():
            pass


def test_one_process_cannot_hold_it_twice(tmp_path):
    with locks.held(tmp_path / "lock"), pytest.raises(UserError, match="being written to by another run"):
        locks.held(tmp_path / "lock").__enter__()


def test_a_file_system_without_locks_is_warned_about(tmp_path, monkeypatch, caplog):
    def refuse(number, how):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with caplog.at_level("WARNING"), locks.held(tmp_path / "lock"):
        assert re.search("without locks", caplog.text)


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"cannot be written to \(.*\): give another --workdir"):
        locks.held(tmp_path / "file" / "run" / "lock").__enter__()


@pytest.mark.slow
def test_the_second_run_is_refused_and_the_first_goes_on(tmp_path):
    with Group(tmp_path / "run", steps=30, seconds=0.2) as first:
        assert first.until(lambda: last_step(first.folder) > 0)
        ((code, err),) = run(tmp_path / "run", steps=30)
        assert code == 2, err
        assert re.fullmatch(r"error: .* by another run, process \d+ on .*\n", err)
        assert first.processes[0].poll() is None
        first.processes[0].kill()
    ((code, err),) = run(tmp_path / "run", steps=30)
    assert code == 0, err
    assert [record["step"] for record in records(first.folder)] == list(range(1, 31))
    note("a second run in the same folder (refused)", 1, 1, "none")

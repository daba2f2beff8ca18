"""Runs on a mounted flat bucket: which mounts are such, checkpoints without a rename of folders, metrics that stay."""

from __future__ import annotations

import contextlib
import errno
import functools
import os
from pathlib import Path

import pytest

from pause_jax.checkpointing.run_folder import RunFolder
from pause_jax.logging import writers
from pause_jax.system import mounts
from tests.reliability.training_program import train

TABLE = """\
overlay / overlay rw 0 0
proc /proc proc rw 0 0
/dev/sda1 /data ext4 rw 0 0
bucket /data/runs fuse.gcsfuse rw 0 0
another /gke fuse rw,nosuid 0 0
/dev/sdb1 /data/runs/disk xfs rw 0 0
s3 /with\\040space fuse.mountpoint-s3 rw 0 0
/dev/sdc1 /windows fuseblk rw 0 0
fusectl /sys/fs/fuse/connections fusectl rw 0 0
first /twice fuse.s3fs rw 0 0
/dev/sdd1 /twice ext4 rw 0 0
"""


@pytest.mark.parametrize(
    ("path", "is_one"),
    [
        ("/data/runs", True),
        ("/data/runs/a/b", True),
        ("/gke/run", True),
        ("/with space/x", True),
        ("/", False),
        ("/data", False),
        ("/data/runs2", False),
        ("/data/runs/disk/a", False),
        ("/windows/x", False),
        ("/twice/x", False),
    ],
)
def test_what_lies_on_such_a_mount(tmp_path, path, is_one):
    table = tmp_path / "mounts"
    table.write_text(TABLE)
    assert mounts.is_fuse(Path(path), table) is is_one


def test_links_are_followed_and_no_table_is_no_mount(tmp_path):
    (tmp_path / "bucket").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "bucket")
    table = tmp_path / "mounts"
    table.write_text(f"b {tmp_path}/bucket fuse.gcsfuse rw 0 0\n")
    assert mounts.is_fuse(tmp_path / "link/run", table) and not mounts.is_fuse(tmp_path, table)
    assert not mounts.is_fuse(tmp_path / "bucket", tmp_path / "none")


@pytest.fixture
def flat_bucket(tmp_path, monkeypatch):
    """All of `tmp_path` is on one: folders are not renamed."""

    def files_alone(real, source, target, *args, **kwargs):
        if os.path.isdir(source):
            raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
        return real(source, target, *args, **kwargs)

    for name in ("rename", "replace"):
        monkeypatch.setattr(os, name, functools.partial(files_alone, getattr(os, name)))
    monkeypatch.setattr(mounts, "is_fuse", lambda path: Path(path).absolute().is_relative_to(tmp_path))
    return tmp_path


def test_a_run_saves_goes_on_and_sets_damage_aside(flat_bucket):
    """It failed at its first save. A save that was cut off is not seen, and done again; a damaged one is set aside."""
    folder = RunFolder(flat_bucket / "run")
    task = {"folder": str(folder.path), "steps": 2, "run": {"checkpoint_every": 1}}
    assert train(task) == "finished" and folder.saved_steps() == [1, 2]
    (folder.checkpoints / "2" / "commit_success.txt").unlink()  # which is written last
    assert train(task) == "finished" and folder.saved_steps() == [1, 2]
    for file in (folder.checkpoints / "2").rglob("manifest.ocdbt"):
        file.unlink()
    assert train(task) == "finished" and folder.saved_steps() == [1, 2]
    assert (folder.checkpoints / "2.damaged" / "params").is_dir()
    assert [record["step"] for record in writers.read_jsonl(folder.metrics)] == [1, 2]


def test_a_folder_is_moved_whole(flat_bucket):
    (flat_bucket / "a/b").mkdir(parents=True)
    (flat_bucket / "a/b/c").write_text("d")
    mounts.move_folder(flat_bucket / "a", flat_bucket / "e")
    assert (flat_bucket / "e/b/c").read_text() == "d" and not (flat_bucket / "a").exists()


@contextlib.contextmanager
def staged(monkeypatch):
    """{file: bytes in the bucket}: what a file system shows that keeps what is appended until fsync."""
    there: dict[str, int] = {}
    real = os.fsync

    def fsync(number):
        real(number)
        name = os.readlink(f"/proc/self/fd/{number}")
        there[name] = os.stat(name).st_size

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fsync)
        yield there


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="files' names are found in /proc")
def test_metrics_are_in_the_bucket_before_each_checkpoint_and_every_half_minute(flat_bucket, monkeypatch):
    file = flat_bucket / "metrics.jsonl"
    with staged(monkeypatch) as there:
        writer = writers.JsonLinesWriter(file, 0)
        writer.write(1, {"loss": 1.0})
        assert not there  # an upload for each line would be too many
        writer.flush()
        assert there[str(file)] == file.stat().st_size
        monkeypatch.setattr(writers, "SECONDS_BETWEEN_SYNCS", 0)
        writer.write(2, {"loss": 1.0})
        assert there[str(file)] == file.stat().st_size
        board = writers.TensorBoardWriter(flat_bucket / "tensorboard", 0)
        board.write(1, {"loss": 1.0})
        board.flush()
        (events,) = (flat_bucket / "tensorboard").iterdir()
        assert there[str(events)] == events.stat().st_size
    with staged(monkeypatch) as there:
        train({"folder": str(flat_bucket / "run"), "steps": 3, "run": {"checkpoint_every": 3}})
        metrics = flat_bucket / "run/metrics.jsonl"
        assert there[str(metrics)] == metrics.stat().st_size


def test_elsewhere_nothing_is_waited_for(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda number: pytest.fail("waited"))
    writer = writers.JsonLinesWriter(tmp_path / "metrics.jsonl", 0)
    writer.write(1, {"loss": 1.0})
    writer.flush()
    writer.close()

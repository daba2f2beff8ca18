"""Checkpoints that are damaged by hand, one kind after the other: each is seen, and the one before it goes on."""

import errno
import os
import random
import re
import shutil

import pytest

from pause_jax.checkpointing.run_folder import RunFolder
from pause_jax.errors import UserError
from tests.reliability.programs import FULL, assert_same, note, run
from tests.reliability.training_program import train

STEPS = 12


def truncate(file, chance):
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def flip(file, chance):
    """A bit of its content."""
    content = bytearray(file.read_bytes())
    content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
    file.write_bytes(content)


def remove(file, chance):
    file.unlink()


def arrays(folder, step):
    """The files that hold the arrays, and their index."""
    files = [file for file in (folder.checkpoints / str(step)).rglob("*") if file.is_file()]
    return sorted(f for f in files if f.parent.name == "d" or f.name == "manifest.ocdbt")


def test_a_step_that_is_damaged_twice_is_set_aside_twice(tmp_path, monkeypatch, caplog):
    task = {"folder": str(tmp_path / "run"), "steps": 2, "run": {"checkpoint_every": 1}}
    folder = RunFolder(tmp_path / "run")
    for _ in range(3):
        assert train(task) == "finished"
        for file in arrays(folder, 2):
            file.unlink()
    assert {one.name for one in folder.checkpoints.glob("*.damaged")} == {"2.damaged", "2.1.damaged"}

    def refuse(path, target):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(type(tmp_path), "rename", refuse)
    with pytest.raises(
        UserError, match=r"checkpoint \S+/2 cannot be read, nor be set aside \(Read-only file system\): move"
    ):
        train(task)
    assert folder.saved_steps() == [1, 2]


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_checkpoint_before_a_damaged_one_goes_on(tmp_path):
    chance = random.Random(0)
    straight = RunFolder(tmp_path / "straight")
    ((code, err),) = run(straight.path, STEPS, run={"keep_checkpoints": 9})
    assert code == 0, err
    kinds = [truncate, flip, remove] * (4 if FULL else 1)
    seen = 0
    for number, kind in enumerate(kinds):
        folder = RunFolder(tmp_path / str(number))
        shutil.copytree(straight.path, folder.path)
        files = arrays(folder, 12)
        # Not every file is read; which ones are is Orbax's affair.
        for file in [chance.choice(files)] if kind is flip else files:
            kind(file, chance)
        ((code, err),) = run(folder.path, STEPS, run={"keep_checkpoints": 9})
        assert code == 0, err
        if told := re.search(r"checkpoint \S+/12 cannot be read \(.*\): trying the one before it", err):
            assert (folder.checkpoints / "12.damaged").is_dir(), told
            seen += 1
        assert_same(folder, straight, range(1, STEPS + 1))  # damage that is not seen is where nothing is read
    assert seen >= 2 * len(kinds) // 3  # all that are cut or missing
    note(
        f"newest checkpoint cut, removed or a bit of it flipped ({seen} set aside, the rest where nothing is read)",
        len(kinds),
        len(kinds),
        "4 steps at most",
    )

"""Undisturbed runs, to compare with: made once for all tests and all processes of pytest."""

from __future__ import annotations

import fcntl
from collections.abc import Callable

import pytest

from pause_jax.checkpointing.run_folder import RunFolder
from tests.reliability.programs import STEPS, run


@pytest.fixture(scope="session")
def straight(tmp_path_factory, worker_id) -> Callable[[int], RunFolder]:
    """Of `STEPS` steps, of so many processes."""
    base = tmp_path_factory.getbasetemp()
    shared = base if worker_id == "master" else base.parent

    def of(size: int) -> RunFolder:
        folder = RunFolder(shared / f"straight{size}")
        with (shared / f"straight{size}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if STEPS not in folder.saved_steps():
                for code, err in run(folder.path, STEPS, size=size):
                    assert code == 0, err
        return folder

    return of

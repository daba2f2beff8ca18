"""Starts training_program.py, watches what it has written, and compares what came of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pause_jax.checkpointing.run_folder import RunFolder
from pause_jax.logging.writers import read_jsonl
from tests.distributed.process_groups import free_port
from tests.programs import ROOT, Forked
from tests.reliability.faulty_disks import FaultyDisk

PROGRAM = "tests.reliability.training_program"
STEPS = 24  # of most runs
FULL = "PAUSE_JAX_RELIABILITY" in os.environ  # the file of the table: every fault as often as promised


class Group:
    """Running processes of one run; those that are left at the end are killed.

    Process k has the faulty disk `disks[k]`, where there is one.
    """

    def __init__(
        self, folder: Path, steps: int, size: int = 1, disks: Mapping[int, FaultyDisk] | None = None, **task: Any
    ):
        text, address = json.dumps({"folder": str(folder), "steps": steps, **task}), f"localhost:{free_port()}"
        flags = "--xla_force_host_platform_device_count=1 --xla_backend_optimization_level=0"
        env = {**os.environ, "XLA_FLAGS": flags, "HEARTBEAT_SECONDS": "10"}
        self.folder = RunFolder(folder)
        self._outputs = tempfile.TemporaryDirectory()
        self._errors = [Path(self._outputs.name) / f"stderr{k}" for k in range(size)]
        self.processes = [
            _start([address, str(size), str(k), text], env, errors, (disks or {}).get(k))
            for k, errors in enumerate(self._errors)
        ]

    def __enter__(self) -> Group:
        return self

    def __exit__(self, *error: object) -> None:
        for process in self.processes:
            process.kill()
            process.wait()

    def until(self, condition: Callable[[], bool], timeout: float = 300, every: float = 0.02) -> bool:
        """Wait for it while all run; whether it came."""
        deadline = time.monotonic() + timeout
        while all(process.poll() is None for process in self.processes):
            if condition():
                return True
            assert time.monotonic() < deadline, f"nothing came in {timeout} s"
            time.sleep(every)
        return False

    def ended(self, k: int = 0, timeout: float = 300) -> tuple[int, str]:
        """(exit code, stderr) of process k, waited for."""
        return self.processes[k].wait(timeout), self.stderr(k)

    def stderr(self, k: int = 0) -> str:
        """What process k has written there up to now."""
        return self._errors[k].read_text()


def _start(
    arguments: list[str], env: Mapping[str, str], errors: Path, disk: FaultyDisk | None
) -> Forked | subprocess.Popen[bytes]:
    if disk is None:
        return Forked(PROGRAM, *arguments, env=env, stderr=errors)
    with errors.open("w") as stderr:  # a faulty disk is one from the start of the program
        command = [sys.executable, "-m", PROGRAM, *arguments]
        return subprocess.Popen(
            command, cwd=ROOT, env={**env, **disk.environment}, stdout=subprocess.DEVNULL, stderr=stderr
        )


def run(folder: Path, steps: int, size: int = 1, **task: Any) -> list[tuple[int, str]]:
    """(exit code, stderr) of each process of a run that is left alone."""
    with Group(folder, steps, size, **task) as group:
        return [group.ended(k) for k in range(size)]


def note(fault: str, tried: int, survived: int, lost: str) -> None:
    """A line of the table of `make reliability`."""
    if FULL:
        with Path(os.environ["PAUSE_JAX_RELIABILITY"]).open("a") as table:
            table.write(f"| {fault} | {tried} | {survived} | {lost} |\n")


def last_step(folder: RunFolder) -> int:
    """Of metrics.jsonl; 0 where there is none."""
    if not folder.metrics.is_file():
        return 0
    return max((record["step"] for record in read_jsonl(folder.metrics)), default=0)


def is_saving(folder: RunFolder) -> bool:
    """Or was, when it ended."""
    return any(folder.checkpoints.glob("*.orbax-checkpoint-tmp*"))


def params(folder: RunFolder) -> dict[str, np.ndarray]:
    """Of the newest checkpoint, by path."""
    import jax

    from pause_jax import trees
    from pause_jax.checkpointing import checkpoints
    from pause_jax.config import MeshConfig
    from pause_jax.distributed.mesh import make_mesh

    mesh = make_mesh(MeshConfig(data=1), jax.devices()[:1])
    step = folder.saved_steps()[-1]
    return trees.flatten(jax.device_get(checkpoints.restore_params(folder.checkpoints, step, folder.config(), mesh)))


def records(folder: RunFolder) -> list[dict[str, float]]:
    """The metrics, without those of time."""
    return [{name: value for name, value in one.items() if "second" not in name} for one in read_jsonl(folder.metrics)]


def assert_same(one: RunFolder, other: RunFolder, steps: Sequence[int]) -> None:
    """The same parameters bit for bit, and metrics of each of `steps` exactly once, the same too."""
    assert [record["step"] for record in records(one)] == list(steps)
    assert records(one) == records(other)
    ours, theirs = params(one), params(other)
    assert ours.keys() == theirs.keys()
    for path in ours:
        np.testing.assert_array_equal(ours[path], theirs[path], err_msg=path)

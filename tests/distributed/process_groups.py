"""Starts several real processes as one run, and waits for them."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import socket
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.programs import Forked

DEVICES = 4  # of all processes together


@dataclasses.dataclass(frozen=True)
class Ended:
    code: int
    stdout: str
    stderr: str
    seconds: float  # from the start of the processes to the end of this one

    @property
    def sentence(self) -> str:
        """The last line of stderr."""
        return self.stderr.strip().splitlines()[-1]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        return probe.getsockname()[1]


def run_group(size: int, *actions: Mapping[str, Any], **environment: str) -> list[Ended]:
    """`size` processes of process_program.py with these actions."""
    address, module = f"localhost:{free_port()}", "tests.distributed.process_program"
    commands = [[module, address, str(size), str(k), json.dumps(actions)] for k in range(size)]
    return run_all(commands, devices=DEVICES // size, **environment)


def run_all(commands: Sequence[Sequence[str]], devices: int = 1, timeout: float = 500, **environment: str):
    """One process for each command, a module and its arguments; what became of each.

    Processes left after `timeout` are killed.
    """
    flags = f"--xla_force_host_platform_device_count={devices} --xla_backend_optimization_level=0"
    begun = time.monotonic()
    started = [Forked(*one, env={**os.environ, "XLA_FLAGS": flags, **environment}) for one in commands]
    ended: dict[int, Ended] = {}
    try:
        while len(ended) < len(started) and time.monotonic() < begun + timeout:
            for k, process in enumerate(started):
                if k not in ended and (
                    process.poll() is not None or (_is_stopped(process) and len(ended) == len(started) - 1)
                ):
                    process.kill()  # a stopped one
                    ended[k] = Ended(process.wait(), process.stdout, process.stderr, time.monotonic() - begun)
            time.sleep(0.05)
    finally:
        for process in started:
            process.kill()
    hanging = {k: process.stdout + process.stderr for k, process in enumerate(started) if k not in ended}
    assert not hanging, f"these processes hang, having written: {hanging}"
    return [ended[k] for k in range(len(started))]


def _is_stopped(process: Forked) -> bool:
    """Whether SIGSTOP has reached it."""
    try:
        return Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "T"
    except OSError:
        return False


SIGKILL, SIGSTOP, SIGTERM = int(signal.SIGKILL), int(signal.SIGSTOP), int(signal.SIGTERM)

"""Starts several real processes as one run, and waits for them."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = Path(__file__).with_name("process_program.py")
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
    address = f"localhost:{free_port()}"
    commands = [[str(PROGRAM), address, str(size), str(k), json.dumps(actions)] for k in range(size)]
    return run_all(commands, devices=DEVICES // size, **environment)


def run_all(arguments: Sequence[Sequence[str]], devices: int = 1, timeout: float = 500, **environment: str):
    """One Python process for each list of arguments; what became of each. Processes left after `timeout` are killed."""
    flags = f"--xla_force_host_platform_device_count={devices} --xla_backend_optimization_level=0"
    ours = {**os.environ, "XLA_FLAGS": flags, "PYTHONPATH": str(ROOT), **environment}
    begun = time.monotonic()
    started = [
        subprocess.Popen([sys.executable, *one], env=ours, cwd=ROOT, text=True,
                         stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for one in arguments
    ]  # fmt: skip
    ended: dict[int, Ended] = {}
    try:
        while len(ended) < len(started) and time.monotonic() < begun + timeout:
            for k, process in enumerate(started):
                if k not in ended and (
                    process.poll() is not None or (_is_stopped(process) and len(ended) == len(started) - 1)
                ):
                    process.kill()  # of those that have ended nothing is left; of a stopped one, this
                    out, err = process.communicate()
                    ended[k] = Ended(process.returncode, out, err, time.monotonic() - begun)
            time.sleep(0.05)
    finally:
        for process in started:
            process.kill()
    assert len(ended) == len(started), f"processes {set(range(len(started))) - set(ended)} hang"
    return [ended[k] for k in range(len(started))]


def _is_stopped(process: subprocess.Popen) -> bool:
    """Whether SIGSTOP has reached it."""
    try:
        return Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "T"
    except OSError:
        return False


SIGKILL, SIGSTOP, SIGTERM = int(signal.SIGKILL), int(signal.SIGSTOP), int(signal.SIGTERM)

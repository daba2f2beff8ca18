"""Our programs, run to their end, in processes forked from one that has imported what most of them do.

That is most of the time of a short one. Programs that are sent signals, killed or watched are started as users start
them (subprocess).
"""

from __future__ import annotations

import os
import re
import runpy
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Mapping
from pathlib import Path

from pause_jax import forking

ROOT = Path(__file__).parents[1]
PRELOAD = ("pause_jax.data.pretraining", "pause_jax.data.evaluation", "pause_jax.training.loop", "launch.cli")


def program(
    name: str, *arguments: str, cwd: Path = ROOT, timeout: float = 550, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """`python -m launch.NAME ARGUMENTS` in the folder `cwd`."""
    argv = [f"launch.{name}", *map(str, arguments)]
    with tempfile.TemporaryDirectory() as folder:
        outputs = [Path(folder) / "stdout", Path(folder) / "stderr"]
        process = forking.context(PRELOAD).Process(
            target=_main, args=(argv, cwd, outputs, dict(os.environ if env is None else env))
        )
        process.start()
        process.join(timeout)
        if process.is_alive():
            process.kill()
            raise subprocess.TimeoutExpired(argv, timeout, *(output.read_bytes() for output in outputs))
        stdout, stderr = (output.read_text() for output in outputs)
        return subprocess.CompletedProcess(argv, process.exitcode or 0, stdout, stderr)


def assert_one_sentence(result: subprocess.CompletedProcess[str], sentence: str) -> None:
    """Exit code 2, one line on stderr, no traceback."""
    assert result.returncode == 2, result.stderr
    line = result.stderr.strip()
    assert line.startswith("error: ") and "\n" not in line, result.stderr
    assert re.search(sentence, line), line


def _main(argv: list[str], cwd: Path, outputs: list[Path], environment: dict[str, str]) -> None:
    """The process: ends as Python does when `argv` is run by `python -m`."""
    for number, output in enumerate(outputs, start=1):
        descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(descriptor, number)
        os.close(descriptor)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(cwd)
    sys.path[0] = str(cwd)
    sys.argv = argv
    try:
        runpy.run_module(argv[0], run_name="__main__", alter_sys=True)
    except Exception:
        traceback.print_exc()
        sys.exit(1)

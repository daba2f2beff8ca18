"""Programs in processes forked from one that has imported what most of them do: that is most of a short one's time."""

from __future__ import annotations

import os
import re
import runpy
import signal
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Mapping
from pathlib import Path

from pause_jax.system import forking

ROOT = Path(__file__).parents[1]
PRELOAD = (
    "pause_jax.data.pretraining",
    "pause_jax.tasks.seqio_examples",
    "pause_jax.training.loop",
    "pause_jax.command_line.cli",
)


class Forked:
    """`python -m MODULE ARGUMENTS` in the folder `cwd`, begun; with the methods of subprocess.Popen that tests use."""

    def __init__(
        self,
        module: str,
        *arguments: object,
        cwd: Path = ROOT,
        env: Mapping[str, str] | None = None,
        stderr: Path | None = None,
    ):
        self.args = [module, *map(str, arguments)]
        self._folder = tempfile.TemporaryDirectory()
        self._outputs = [Path(self._folder.name) / "stdout", stderr or Path(self._folder.name) / "stderr"]
        for output in self._outputs:
            output.touch()
        environment = dict(os.environ if env is None else env)
        self._process = forking.context(PRELOAD).Process(
            target=_main, args=(self.args, cwd, self._outputs, environment)
        )
        self._process.start()
        assert self._process.pid is not None
        self.pid = self._process.pid

    @property
    def stdout(self) -> str:
        """What it has written there up to now."""
        return self._outputs[0].read_text()

    @property
    def stderr(self) -> str:
        return self._outputs[1].read_text()

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        self._process.join(timeout)
        code = self.poll()
        if code is None:
            assert timeout is not None
            raise subprocess.TimeoutExpired(self.args, timeout, self.stdout, self.stderr)
        return code

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def program(
    name: str, *arguments: object, cwd: Path = ROOT, timeout: float = 550, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """`python -m launch.NAME ARGUMENTS`, run to its end."""
    process = Forked(f"launch.{name}", *arguments, cwd=cwd, env=env)
    try:
        code = process.wait(timeout)
    finally:
        process.kill()
    return subprocess.CompletedProcess(process.args, code, process.stdout, process.stderr)


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
    sys.modules.setdefault("triton", None)  # type: ignore[arg-type]  # as in conftest.py: TensorFlow is here already
    sys.argv = argv
    try:
        runpy.run_module(argv[0], run_name="__main__", alter_sys=True)
    except Exception:
        traceback.print_exc()
        sys.exit(1)

"""How long programs take to start, against what they may take: each time a process of its own, killed when it is there.

Files that Python and the programs read are in the operating system's memory from the first start on, which is not
counted.
"""

from __future__ import annotations

import atexit
import functools
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.measure import Pair

ROOT = Path(__file__).parents[1]
PATIENCE = 600  # seconds until a program that does not get there is a failure


def make_pair(arguments: tuple[str, ...], seconds: float) -> Pair:
    """A Python program from start to end."""
    run = functools.partial(_run, arguments)
    run()
    return Pair(run, seconds)


def make_train_pair(seconds: float, warm: bool) -> Pair:
    """`launch.train` on the quickstart's model up to its first line in metrics.jsonl, JAX's compilation cache `warm`
    from an earlier start or empty."""
    folder = Path(tempfile.mkdtemp(prefix="pause_jax_benchmark_"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    cache = folder / "cache"

    def start() -> None:
        shutil.rmtree(folder / "run", ignore_errors=True)
        if not warm:
            shutil.rmtree(cache, ignore_errors=True)
        _train_until_a_line(folder / "run", cache)

    start()
    return Pair(start, seconds)


def _train_until_a_line(workdir: Path, cache: Path) -> None:
    """Run `launch.train` on the quickstart's pause model until its metrics have a line; then it is killed.

    Raises:
      RuntimeError: it ended with an error, or took too long.
    """
    command = [
        sys.executable,
        "-m",
        "launch.train",
        "--config=experiments/quickstart.py:pause",
        f"--workdir={workdir}",
        "--config.run.validate_every=0",
    ]
    environment = os.environ | {"JAX_COMPILATION_CACHE_DIR": str(cache)}
    with tempfile.TemporaryFile() as errors:
        program = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=errors)  # noqa: S603
        end = time.monotonic() + PATIENCE
        try:
            while program.poll() is None and time.monotonic() < end:
                if _has_a_line(workdir / "metrics.jsonl"):
                    return
                time.sleep(0.02)
        finally:
            program.kill()
            program.wait()
        if program.returncode:
            errors.seek(0)
            raise RuntimeError(f"{' '.join(command)} ended with {program.returncode}: {errors.read().decode()[-2000:]}")


def _has_a_line(metrics: Path) -> bool:
    return metrics.exists() and "\n" in metrics.read_text(encoding="utf-8")


def _run(arguments: tuple[str, ...]) -> None:
    subprocess.run([sys.executable, *arguments], cwd=ROOT, stdout=subprocess.DEVNULL, check=True, timeout=PATIENCE)  # noqa: S603

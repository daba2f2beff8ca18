"""A step of a whole run of the quickstart, data, logs and checkpoints included, over the jitted step alone.

Ours is `launch.train`, a hundred steps further at each call, so five repeats are the quickstart's 500. The peer is the
same jitted step on one batch that lies on the device, ten of them after every ten of the run and not counted in it: the
two see the same machine, however its speed changes within seconds. The first step of each start, which compiles, and
the last save, which no step follows, are left out; another save halfway makes it one for a hundred steps, as by
default.
"""

from __future__ import annotations

import atexit
import contextlib
import dataclasses
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import jax

from benchmarks import costs
from benchmarks.measure import Call, Pair, Seconds, seconds
from benchmarks.steps import stepper
from experiments import quickstart
from pause_jax.config import Config, from_config_dict
from pause_jax.training import loop
from pause_jax.training import run as train

STEPS = 100  # of a start
STRETCH = 10  # steps of the run, then as many alone


def make_pair(steps: int = STEPS, stretch: int = STRETCH) -> Pair:
    """Seconds of one step."""
    folder = Path(tempfile.mkdtemp(prefix="pause_jax_benchmark_"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    config = train.resolve(from_config_dict(quickstart.get_config("pause")))
    run = dataclasses.replace(config.run, validate_every=0, checkpoint_every=steps // 2, log_every=stretch)
    config = dataclasses.replace(config, run=run)
    alone = stepper(config, costs.lower_train_step(config).compile())
    reached = 0
    measured: dict[str, float] = {}

    def side(name: str) -> Seconds:
        nonlocal reached
        if name not in measured:  # both come of one start
            reached += steps
            measured.update(_go_on(config, folder, reached, Turns(alone, steps, stretch)))
        return Seconds(measured.pop(name))

    return Pair(lambda: side("ours"), lambda: side("peer"))


@dataclasses.dataclass
class Turns:
    """Clocks of a run's steps, all that goes on between them included, and of the step `alone`, in turn.

    `steps` are those of the run, of which the first is not counted; `stretch` of them at a time.
    """

    alone: Call
    steps: int
    stretch: int
    clock: Callable[[], float] = time.perf_counter

    def __post_init__(self) -> None:
        self._taken, self._run_seconds, self._since = 0, 0.0, 0.0
        self._alone_seconds: list[float] = []

    def after_step(self, result: Any) -> None:
        """To be called with what each step of the run returns."""
        self._taken += 1
        if self._taken > 1 and self._taken % self.stretch and self._taken != self.steps:
            return
        jax.block_until_ready(result)
        if self._taken > 1:
            self._run_seconds += self.clock() - self._since
            self._alone_seconds.append(seconds(self.alone, self.stretch, self.clock))
        self._since = self.clock()

    def seconds_a_step(self) -> dict[str, float]:
        return {
            "ours": self._run_seconds / (self.steps - 1),
            "peer": sum(self._alone_seconds) / len(self._alone_seconds),
        }


def _go_on(config: Config, folder: Path, up_to: int, turns: Turns) -> dict[str, float]:
    """Train up to a step, in turn with the step alone."""
    compile_steps = loop.compile_steps

    def compile_and_watch(job: loop.TrainingJob) -> loop.Compiled:
        compiled = compile_steps(job)

        def train_step(state: Any, batch: Any) -> Any:
            result = compiled.train_step(state, batch)
            turns.after_step(result)
            return result

        return dataclasses.replace(compiled, train_step=train_step)

    config = dataclasses.replace(config, train=dataclasses.replace(config.train, steps=up_to))
    with (
        Path(os.devnull).open("w", encoding="utf-8") as nowhere,
        contextlib.redirect_stdout(nowhere),
        mock.patch.object(loop, "compile_steps", compile_and_watch),
    ):
        train.run_training(config, folder / "run")
    return turns.seconds_a_step()

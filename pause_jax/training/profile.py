"""A trace of some steps of a run, for TensorBoard and Perfetto (docs/profiling.md): `config.run.profile_steps`."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

import jax
from absl import logging


class StepProfile:
    """While entered, the steps asked for are traced, by the first process alone.

    A trace that cannot be started or written only causes a warning: the run goes on without it.
    """

    def __init__(self, steps: range, folder: Path):
        """Trace `steps` into `folder`; where there are none, the folder is not made."""
        self._steps = steps if jax.process_index() == 0 else range(0)
        self._folder = folder
        self._tracing = False

    @contextlib.contextmanager
    def step(self, number: int) -> Iterator[None]:
        """Mark what is done within as step `number`, named "train" in the trace."""
        if number in self._steps and not self._tracing:
            self._start()
        if not self._tracing:
            yield
            return
        with jax.profiler.StepTraceAnnotation("train", step_num=number):
            yield

    def end(self, number: int, results: object) -> None:
        """Call it when step `number` is dispatched: after the last step to trace it waits for `results` and writes."""
        if self._tracing and number >= self._steps[-1]:
            jax.block_until_ready(results)
            self._write()

    def __enter__(self) -> StepProfile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._tracing:  # the run ends before the last step to trace
            self._write()

    def _start(self) -> None:
        try:
            jax.profiler.start_trace(self._folder)
            self._tracing = True
        except Exception as error:
            self._give_up(error)

    def _write(self) -> None:
        self._tracing = False
        try:
            jax.profiler.stop_trace()
        except Exception as error:
            self._give_up(error)

    def _give_up(self, error: Exception) -> None:
        self._steps = range(0)
        logging.warning("no trace is written to %s: %s", self._folder, error)

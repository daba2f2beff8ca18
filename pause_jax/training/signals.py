"""SIGTERM and SIGINT ask for a clean stop; a second one ends the process at once."""

from __future__ import annotations

import os
import signal
from types import FrameType, TracebackType
from typing import Any

from pause_jax.distributed import processes


class StopSignals:
    """While entered, the first SIGTERM or SIGINT only sets `requested`, and the handlers of before are put back.

    Of several processes one that is asked stops all of them, at the same step. There SIGTERM is JAX's: from C++, within
    a second, it agrees with the others on a step that none of them has finished yet.
    """

    def __init__(self) -> None:
        self.requested: str | None = None  # the signal's name, where it came to this process
        self._before: dict[signal.Signals, Any] = {}

    def agreed(self, step: int) -> bool:
        """Whether to stop after this step, the same in all processes; each must ask at every step."""
        if processes.several():
            from jax.experimental import multihost_utils

            return multihost_utils.reached_preemption_sync_point(step)
        return self.requested is not None

    def __enter__(self) -> StopSignals:
        for number in (signal.SIGINT,) if processes.several() else (signal.SIGTERM, signal.SIGINT):
            self._before[number] = signal.signal(number, self._request)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._restore()

    def _request(self, number: int, frame: FrameType | None) -> None:
        self.requested = signal.Signals(number).name
        self._restore()
        if processes.several():
            os.kill(os.getpid(), signal.SIGTERM)

    def _restore(self) -> None:
        while self._before:
            number, handler = self._before.popitem()
            signal.signal(number, handler)

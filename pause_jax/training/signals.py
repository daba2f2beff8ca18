"""A clean stop on SIGTERM, on SIGINT or after `max_seconds`; a second signal ends the process at once."""

from __future__ import annotations

import os
import signal
import time
from types import FrameType, TracebackType
from typing import Any

from pause_jax.distributed import processes


class StopSignals:
    """While entered, the first SIGTERM or SIGINT only sets `requested`; at the end the earlier handlers are restored.

    A second signal meets the earlier handlers. Where nothing else handles signals, it ends the process at once, even
    while native code is running; that damages nothing, as a kill does not.

    With several processes, a signal to one stops all of them at the same step. SIGTERM is then handled by JAX: within a
    second its C++ code agrees with the others on a step that none of them has finished yet.
    """

    def __init__(self, max_seconds: float = 0) -> None:
        """After `max_seconds` a stop is requested, as by a signal; 0: never."""
        self.requested: str | None = None  # the signal's name, or "max_seconds", where it came to this process
        self._deadline = time.monotonic() + max_seconds if max_seconds else None
        self._before: dict[signal.Signals, Any] = {}

    def agreed(self, step: int) -> bool:
        """Whether to stop after this step, the same in all processes; each must ask at every step."""
        if self._deadline is not None and time.monotonic() > self._deadline:
            self._deadline = None
            self._ask("max_seconds")
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
        while self._before:
            number, handler = self._before.popitem()
            signal.signal(number, handler)

    def _request(self, number: int, frame: FrameType | None) -> None:
        for one, handler in self._before.items():
            # Python's own handler would raise KeyboardInterrupt after native code, then wait for what is being saved.
            signal.signal(one, signal.SIG_DFL if handler is signal.default_int_handler else handler)
        name = signal.Signals(number).name
        os.write(2, f"\n{name}: stopping cleanly; a second one ends this process at once\n".encode())
        self._ask(name)

    def _ask(self, why: str) -> None:
        self.requested = why
        if processes.several():
            os.kill(os.getpid(), signal.SIGTERM)

"""A watchdog over the training loop: where no step ends for long, it writes all threads' stacks to stderr."""

from __future__ import annotations

import collections
import faulthandler
import statistics
import sys
import threading
import time
from types import TracebackType

USUAL = 20  # a stall is more than so many times the usual time
KNOWN_AFTER = 3  # heartbeats apart, after which the usual time is known: compilation comes before


class Watchdog:
    """While entered, a thread checks whether the time since the last `heartbeat` is far beyond the usual.

    It shows the stacks once for each stall and ends nothing: a lost process ends the others, a slow disk recovers.
    """

    def __init__(self, seconds: float):
        """Less than `seconds` is never a stall; 0: nothing is watched."""
        self._seconds = seconds
        self._stretches: collections.deque[float] = collections.deque(maxlen=100)
        self._last: float | None = None  # heartbeat; None after a stall was shown
        self._step = 0
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def heartbeat(self, step: int) -> None:
        """Note that the loop has finished `step`."""
        now = time.monotonic()
        if self._last is not None:
            self._stretches.append(now - self._last)
        self._last, self._step = now, step

    def __enter__(self) -> Watchdog:
        if self._seconds:
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end.set()
        if self._seconds:
            self._thread.join()

    def _watch(self) -> None:
        while not self._end.wait(min(1.0, self._seconds / 4)):
            last = self._last
            if last is None or len(self._stretches) < KNOWN_AFTER:
                continue
            usual, waited = statistics.median(list(self._stretches)), time.monotonic() - last
            if waited > max(self._seconds, USUAL * usual):
                self._last = None
                self._show(waited, usual)

    def _show(self, waited: float, usual: float) -> None:
        sys.stderr.write(
            f"no step was finished for {waited:.0f} s after step {self._step}, where {usual:.1f} s are usual; what all "
            "threads do (the run goes on waiting):\n"
        )
        sys.stderr.flush()
        faulthandler.dump_traceback(sys.__stderr__ or 2)

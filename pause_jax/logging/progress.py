"""The progress line: redrawn in place on a terminal, a line now and then in a log file."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import threading
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import TextIO

SECONDS_BETWEEN_LINES = 8.0  # where the output is not a terminal: nothing stands still for ten


class Progress:
    """Shows how far a run is, how fast, and when it will be done.

        with Progress("pause", total_steps=400) as progress:
            progress.update(10, {"loss": 5.1})

    Steps per second and the time left are computed from the first update on, which leaves compilation out.
    """

    def __init__(
        self,
        label: str,
        total_steps: int,
        start_step: int = 0,
        *,
        unit: str = "steps",
        shown: bool = True,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """With `shown` False nothing is written, as in all processes but one."""
        self._label, self._total, self._last_step, self._unit = label, total_steps, start_step, unit
        self._stream = sys.stdout if stream is None else stream
        self._clock = clock
        self._silent = not shown
        self._in_place = self._stream.isatty() and os.environ.get("TERM") != "dumb"
        self._started = clock()
        self._first: tuple[int, float] | None = None  # step and time of the first update
        self._line = ""  # of the last update
        self._shown = ""  # the last one written
        self._shown_at = 0.0

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._line and self._line != self._shown:
            self._show()
        if self._line and self._in_place:
            self._write("\n")

    def update(self, step: int, fields: Mapping[str, str | float]) -> None:
        """Show that `step` is done, with `fields` by name."""
        now = self._clock()
        first = self._first is None
        if self._first is None:
            self._first = (step, now)
        self._last_step = step
        self._line = self._format(now, fields)
        if self._in_place or first or step >= self._total or now - self._shown_at >= SECONDS_BETWEEN_LINES:
            self._show()
            self._shown_at = now

    def _format(self, now: float, fields: Mapping[str, str | float]) -> str:
        assert self._first is not None
        step, (first_step, first_time) = self._last_step, self._first
        parts = [self._label, f"{step}/{self._total}", f"{100 * step // self._total} %"]
        parts += [f"{name} {value if isinstance(value, str) else f'{value:.4g}'}" for name, value in fields.items()]
        if step > first_step and now > first_time:
            rate = (step - first_step) / (now - first_time)
            parts.append(f"{rate:.3g} {self._unit}/s")
        parts.append(f"elapsed {format_seconds(now - self._started)}")
        if step > first_step and now > first_time:
            parts.append(f"ETA {format_seconds((self._total - step) / rate)}")
        return "  ".join(parts)

    def _show(self) -> None:
        if self._in_place:
            # One column short of the edge, and blanks over the rest of a longer line before: no escape codes needed.
            columns = shutil.get_terminal_size().columns - 1
            self._write("\r" + self._line[:columns].ljust(min(columns, len(self._shown))))
        else:
            self._write(self._line + "\n")
        self._shown = self._line

    def _write(self, text: str) -> None:
        if self._silent:
            return
        with contextlib.suppress(OSError):  # the terminal is gone or the disk full: no reason to stop training
            self._stream.write(text)
            self._stream.flush()


class Heartbeat:
    """Prints a line every few seconds while something runs that cannot report its progress.

    with Heartbeat("train the tokenizer"):
        ...
    """

    def __init__(self, label: str, seconds: float = SECONDS_BETWEEN_LINES, stream: TextIO | None = None):
        self._label, self._seconds = label, seconds
        self._stream = sys.stdout if stream is None else stream
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True)

    def __enter__(self) -> Heartbeat:
        self._started = time.monotonic()
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        self._thread.join()

    def _beat(self) -> None:
        while not self._ended.wait(self._seconds):
            with contextlib.suppress(OSError):
                elapsed = format_seconds(time.monotonic() - self._started)
                print(f"{self._label}  elapsed {elapsed}", file=self._stream, flush=True)


def format_seconds(seconds: float) -> str:
    """`45 s`, `3:07`, `1:02:03`."""
    seconds = round(seconds)
    if seconds < 60:
        return f"{seconds} s"
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"

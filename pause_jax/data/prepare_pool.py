"""The processes that prepare a corpus on this machine, and how far they have come."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Sequence
from concurrent import futures
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.sharedctypes import Synchronized

from pause_jax.data import prepare
from pause_jax.data.prepare import Unit
from pause_jax.data.shards import Shard
from pause_jax.errors import UserError
from pause_jax.logging.progress import Progress
from pause_jax.system import forking
from pause_jax.system.native_stderr import suppress_native_stderr


class Stopped(Exception):
    """A signal came before all was done."""


class Pool:
    """Worker processes that prepare; their messages are hidden, and what they raise is raised here."""

    def __init__(self, workers: int, *, stopping: Callable[[], bool]):
        context = forking.context(["pause_jax.data.corpora", "pause_jax.data.prepare"])
        self.text_bytes: Synchronized[int] = context.Value("q", 0)  # tokenized so far, by all
        self._stopping = stopping
        self._executor = futures.ProcessPoolExecutor(workers, context, _start_worker, (self.text_bytes,))

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, *error: object) -> None:
        self._executor.shutdown(cancel_futures=True)

    def map[T, R](
        self, function: Callable[[T], R], items: Sequence[T], on_tick: Callable[[int], None] | None = None
    ) -> list[R]:
        """The function's results for all items, in order; `on_tick` gets the number of items that are done.

        Raises:
          Stopped: by a signal; what was under way has been finished.
          Exception: the first that the function raises; the rest is not begun.
        """
        jobs = [self._executor.submit(function, item) for item in items]
        left: set[futures.Future[R]] = set(jobs)
        try:
            while left:
                done, left = futures.wait(left, timeout=0.2, return_when=futures.FIRST_COMPLETED)
                for job in done:
                    job.result()
                if on_tick:
                    on_tick(len(jobs) - len(left))
                if left and self._stopping():
                    raise Stopped
        except BrokenProcessPool as error:
            raise UserError(
                "a process of the preparation died, for want of memory perhaps: run the same command again with fewer "
                "--workers; shards that are whole are kept"
            ) from error
        finally:
            for job in left:
                job.cancel()
        return [job.result() for job in jobs]


class Speedometer:
    """Shows text and speed beside the number of shards, once a second."""

    def __init__(self, progress: Progress, text_bytes: Synchronized[int]):
        self._progress, self._text_bytes = progress, text_bytes
        self._started, self._shown = time.monotonic(), (-1, 0.0)

    def __call__(self, done: int) -> None:
        now, megabytes = time.monotonic(), self._text_bytes.value / 1e6
        if done == self._shown[0] and now - self._shown[1] < 1:
            return
        self._shown = (done, now)
        speed = megabytes / max(now - self._started, 1e-3)
        self._progress.update(done, {"text": f"{megabytes:,.1f} MB", "speed": f"{speed:.2f} MB/s"})


def _start_worker(text_bytes: Synchronized[int]) -> None:
    """Set up a fresh worker: it ignores signals, which the parent handles, ends with it, has one thread and no GPU."""
    global _text_bytes
    _text_bytes = text_bytes
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    forking.die_with_parent()
    os.environ.update(TF_NUM_INTEROP_THREADS="1", TF_NUM_INTRAOP_THREADS="1")
    with suppress_native_stderr():
        from pause_jax.data import tf_utils

        tf_utils.keep_off_accelerators()


_text_bytes: Synchronized[int] | None = None  # in a worker: `Pool.text_bytes`


def _add_text_bytes(text_bytes: int) -> None:
    assert _text_bytes is not None
    with _text_bytes.get_lock():
        _text_bytes.value += text_bytes


def make(unit: Unit) -> Shard:
    """Make one shard, in a worker's process."""
    return prepare.run_unit(unit, _add_text_bytes)

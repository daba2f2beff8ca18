"""Gives jobs to workers: each after the one it depends on; failed ones again; none that depends on a failed one."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

from pause_jax.sweeps.executors.local import JobResult, Worker, ready
from pause_jax.sweeps.graph import Job

Status = Literal["waiting", "running", "cached", "done", "failed", "blocked"]


@dataclasses.dataclass
class Entry:
    """A job and its state."""

    job: Job
    flops: float
    status: Status = "waiting"  # "cached": it was finished before
    tries: int = 0
    message: str = ""  # of its last failure
    seconds: float = 0.0  # of work, all tries
    since: float = 0.0  # running: when it began, as time.time() has it

    @property
    def kind(self) -> str:
        return self.job.kind


@dataclasses.dataclass
class Schedule:
    """All jobs of a sweep. Made afresh at each start; `is_finished` finds what is done already."""

    entries: list[Entry]
    retries: int  # of a job that failed for another reason than a user's mistake
    log_folder: Path
    startup_seconds: float = 0.0  # of all workers
    compile_seconds: float = 0.0

    @classmethod
    def make(
        cls,
        jobs: Sequence[Job],
        flops: Callable[[Job], float],
        is_finished: Callable[[Job], bool],
        *,
        retries: int,
        log_folder: Path,
    ) -> Schedule:
        """The schedule of `jobs`. Raises what `is_finished` raises."""
        entries = [Entry(job, flops(job), "cached" if is_finished(job) else "waiting") for job in jobs]
        return cls(entries, retries, log_folder)

    def run(
        self,
        workers: Sequence[Worker],
        task_of: Callable[[Job], Any],
        *,
        stopping: Callable[[], bool],
        on_done: Callable[[Job], None],
        on_tick: Callable[[], None],
    ) -> None:
        """Run jobs until none is left that can be run or, once `stopping`, until none is running.

        Args:
          task_of: the message that a worker is sent for a job.
          on_done: called after each job that is done.
          on_tick: called at each change, and every second.
        """
        running: dict[Worker, Entry] = {}
        while True:
            for worker in workers:
                if worker not in running and not stopping() and (entry := self._next()):
                    running[worker] = entry
                    entry.status, entry.tries, entry.since = "running", entry.tries + 1, time.time()
                    worker.send(task_of(entry.job), self.log_of(entry.job))
            on_tick()
            if not running:
                return
            if stopping():
                for worker in running:
                    worker.ask_to_stop()
            for worker in ready(list(running), timeout=1.0):
                entry = running.pop(worker)
                self.note(entry, worker.receive())
                if entry.status == "done":
                    on_done(entry.job)

    def log_of(self, job: Job) -> Path:
        """The file of what the job prints."""
        return self.log_folder / f"{job.name}.log"

    def with_status(self, *statuses: Status) -> list[Entry]:
        return [entry for entry in self.entries if entry.status in statuses]

    def seconds_left(self, workers: int) -> float | None:
        """See the function `seconds_left`."""
        return seconds_left(self.entries, workers)

    def overhead(self) -> tuple[float, float]:
        """Seconds that workers spent on start-up and compilation, and in all."""
        spent = self.startup_seconds + self.compile_seconds
        return spent, self.startup_seconds + sum(entry.seconds for entry in self.entries if entry.status != "cached")

    def _next(self) -> Entry | None:
        finished = {entry.job.name for entry in self.with_status("cached", "done")}
        waiting = self.with_status("waiting")
        return next((entry for entry in waiting if not entry.job.depends_on or entry.job.depends_on in finished), None)

    def note(self, entry: Entry, report: JobResult) -> None:
        """Note the result of a try."""
        entry.seconds += report.seconds
        entry.message = report.message
        self.startup_seconds += report.startup_seconds
        self.compile_seconds += report.compile_seconds
        if report.outcome == "done":
            entry.status = "done"
        elif report.outcome == "stopped" or (report.outcome == "failed" and entry.tries <= self.retries):
            entry.status = "waiting"
        else:
            entry.status = "failed"
            self._block(entry.job.name)

    def _block(self, name: str) -> None:
        for entry in self.entries:
            if entry.job.depends_on == name and entry.status == "waiting":
                entry.status, entry.message = "blocked", f"needs {name}"
                self._block(entry.job.name)


class Timed(Protocol):
    """What an estimate of time needs to know of a job."""

    @property
    def kind(self) -> str: ...

    flops: float
    status: Status
    seconds: float
    since: float


def seconds_left(jobs: Sequence[Timed], workers: int) -> float | None:
    """An estimate from the seconds per FLOP of done jobs of the same kind, or of any; None while no job is done."""
    done = [job for job in jobs if job.status in ("cached", "done") and job.seconds]
    if not done:
        return None

    def estimate(job: Timed) -> float:
        alike = [other for other in done if other.kind == job.kind] or done
        return job.flops * sum(other.seconds for other in alike) / sum(other.flops for other in alike)

    now = time.time()
    left = sum(estimate(job) for job in jobs if job.status == "waiting")
    left += sum(max(0.0, estimate(job) - (now - job.since)) for job in jobs if job.status == "running")
    return left / workers

"""What a sweep prints of its jobs: the graph and its cost before anything runs, their state while it runs."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from pause_jax.logging.progress import SECONDS_BETWEEN_LINES, format_seconds
from pause_jax.report import tables
from pause_jax.sweeps import costs, record
from pause_jax.sweeps.execution import ExecutorConfig
from pause_jax.sweeps.scheduler import Schedule

MOST_JOBS_SHOWN = 40


def show_graph(schedule: Schedule, *, all_jobs: bool = False) -> None:
    """Print the jobs, or where they are many the number for each stage, and their FLOPs."""
    entries = schedule.entries
    if len(entries) <= MOST_JOBS_SHOWN or all_jobs:
        rows = [[e.job.name, e.job.depends_on or "-", e.status, tables.human_flops(e.flops)] for e in entries]
        tables.print_table("Jobs", ["job", "depends on", "status", "model FLOPs"], rows)
    else:
        rows = []
        for kind in dict.fromkeys(entry.kind for entry in entries):
            stage = [entry for entry in entries if entry.kind == kind]
            cached = sum(1 for entry in stage if entry.status == "cached")
            rows.append([kind, str(len(stage)), str(cached), tables.human_flops(sum(e.flops for e in stage))])
        tables.print_table("Jobs (--all_jobs names them)", ["stage", "jobs", "cached", "model FLOPs"], rows)
    left = schedule.with_status("waiting")
    print(f"{len(left)} of {len(entries)} jobs to run: {tables.human_flops(sum(e.flops for e in left))} model FLOPs")


def show_costs(schedule: Schedule, how: ExecutorConfig) -> None:
    """Print the device-hours of what is left, and the disk that all jobs take at their end."""
    left = schedule.with_status("waiting")
    hours: dict[str, float] = {}
    unknown = 0.0
    for entry in left:
        name, chip = how.of(entry.job.size).chip, how.chip(entry.job.size)
        if chip is None:
            unknown += entry.flops
        else:
            hours[name] = hours.get(name, 0.0) + costs.device_hours(entry.flops, chip)
    for name, sum_ in hours.items():
        print(f"{name}: {sum_:.3g} device-hours, if {100 * costs.UTILISATION:.0f} % of its peak is reached")
    rate = costs.measured_rate([record.Line.of(entry, "") for entry in schedule.entries])
    if unknown and rate:
        print(f"{format_seconds(unknown / rate)} of one worker, at the {rate:.2e} FLOP/s of the jobs that are done")
    elif unknown and left:
        print("no time is reckoned: config.resources names no chip, and no job is done here that could tell")
    kept = sum(costs.checkpoint_bytes(entry.job) for entry in schedule.entries)
    print(f"disk: {kept / 1e9:.3g} GB of checkpoints that are kept (parameters and the optimizer's state)")


class ProgressTable:
    """The state of the jobs: redrawn in place on a terminal; elsewhere a line for each change, and now and then."""

    def __init__(self, schedule: Schedule, count: int):
        from rich.console import Console
        from rich.live import Live

        self._schedule, self._count = schedule, count
        console = Console()
        self._live = Live(console=console, auto_refresh=False) if console.is_terminal else None
        self._began = time.monotonic()
        self._said = {entry.job.name: entry.status for entry in schedule.entries}
        self._said_at = self._began

    def __enter__(self) -> ProgressTable:
        if self._live:
            self._live.__enter__()
        elif self._schedule.with_status("waiting"):
            workers = f"starting {self._count} worker{'s' * (self._count > 1)}"
            self._print(workers if self._count else "waiting for the cluster")
        return self

    def __exit__(self, *error: Any) -> None:
        if self._live:
            self._live.__exit__(*error)

    def show(self) -> None:
        if self._live:
            self._live.update(self._drawn(), refresh=True)
            return
        for entry in self._schedule.entries:
            if self._said[entry.job.name] != entry.status:
                self._said[entry.job.name] = entry.status
                self._print(f"{entry.job.name}: {entry.status} {entry.message}")
        if time.monotonic() - self._said_at >= SECONDS_BETWEEN_LINES:
            for entry in self._schedule.with_status("running"):
                self._print(last_line(self._schedule.log_of(entry.job)) or entry.job.name)

    def _print(self, line: str) -> None:
        print(f"{self._summary()}  {line}".rstrip(), flush=True)
        self._said_at = time.monotonic()

    def _summary(self) -> str:
        done = len(self._schedule.with_status("cached", "done"))
        left = self._schedule.seconds_left(self._count or max(1, len(self._schedule.with_status("running"))))
        elapsed = format_seconds(time.monotonic() - self._began)
        eta = f"  ETA {format_seconds(left)}" if left is not None else ""
        return f"{done}/{len(self._schedule.entries)}  elapsed {elapsed}{eta}"

    def _drawn(self) -> Any:
        from rich.table import Table as RichTable
        from rich.text import Text  # a string's square brackets would be read as markup

        table = RichTable("job", "status", "last line of its log", title=f"sweep  {self._summary()}", expand=True)
        for entry in self._schedule.with_status("running", "failed", "blocked"):
            line = entry.message or last_line(self._schedule.log_of(entry.job))
            table.add_row(entry.job.name, entry.status, Text(line))
        return table


def last_line(log: Path) -> str:
    """The last line of a file, of 1000 bytes at most; "" where there is none."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, os.path.getsize(log) - 1000))
            return file.read().decode(errors="replace").strip().rpartition("\n")[2]
    except OSError:
        return ""

"""The state of a sweep, from its folder alone: its driver may be alive or not, here or on another machine."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pause_jax.checkpointing.run_folder import RunFolder
from pause_jax.logging.progress import format_seconds
from pause_jax.sweeps import record
from pause_jax.sweeps.record import Line, Record
from pause_jax.sweeps.results import results_of
from pause_jax.sweeps.scheduler import seconds_left
from pause_jax.sweeps.table import last_line

SECONDS_BETWEEN_LOOKS = 5.0
SILENT_SECONDS = 3 * record.SECONDS_BETWEEN_SIGNS  # after which a driver counts as gone
STATUSES = ("done", "running", "waiting", "failed", "blocked")


def show(workdir: Path, *, once: bool) -> None:
    """Print the table; on a terminal, unless `once`, draw it anew until the sweep has ended.

    Raises:
      UserError: no sweep has been started in `workdir`.
    """
    from rich.console import Console
    from rich.live import Live

    console = Console(markup=False, highlight=False, emoji=False)
    told = look(workdir)
    if once or not console.is_terminal:
        if not console.is_terminal:
            console.width = 1000  # a file has no edge
        console.print(drawn(told, workdir))
        return
    with Live(drawn(told, workdir), console=console, auto_refresh=False) as live:
        while not told.ended and counts(told.jobs)["running"] + counts(told.jobs)["waiting"]:
            time.sleep(SECONDS_BETWEEN_LOOKS)
            told = look(workdir)
            live.update(drawn(told, workdir), refresh=True)


def look(workdir: Path) -> Record:
    """The driver's record, with what has been finished since. Raises UserError where there is none."""
    told = record.read_record(workdir)
    for line in told.jobs:
        if line.status in ("waiting", "running") and made(workdir, line):
            line.status = "done"
    return told


def made(workdir: Path, line: Line) -> bool:
    """Whether the job's output is there."""
    if not line.steps:
        return results_of(workdir, line.name).is_file()
    return line.steps in RunFolder(workdir / "runs" / line.name).saved_steps()


def counts(lines: Sequence[Line]) -> dict[str, int]:
    """How many jobs have each status; "cached" ones count as done."""
    return {status: sum(1 for line in lines if _status(line) == status) for status in STATUSES}


def headline(told: Record) -> str:
    """One line: how many jobs have each status, when all will be done, and what is known of the driver."""
    number = counts(told.jobs)
    parts = [", ".join(f"{many} {status}" for status, many in number.items() if many)]
    at_once = told.workers or max(1, number["running"])
    left = seconds_left(told.jobs, at_once)
    if left is not None and number["running"] + number["waiting"]:
        parts.append(f"ETA {format_seconds(left)}")
    who = f"driver: {told.executor}, process {told.process} on {told.host}"
    silent = time.time() - told.updated
    if told.ended:
        parts.append(f"{who}, has ended")
    elif silent > SILENT_SECONDS:
        parts.append(f"{who}, silent for {format_seconds(silent)}: if it is gone, the same launch.sweep goes on")
    else:
        parts.append(who)
    return "; ".join(parts)


def drawn(told: Record, workdir: Path) -> Any:
    """A line for each stage, then one for each job that is running, failed or blocked."""
    from rich import box
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    stages = Table(box=box.SIMPLE_HEAD)
    for column in ("stage", *STATUSES):
        stages.add_column(column, justify="left" if column == "stage" else "right")
    for kind in dict.fromkeys(line.kind for line in told.jobs):
        number = counts([line for line in told.jobs if line.kind == kind])
        stages.add_row(kind, *(str(many) if many else "-" for many in number.values()))
    jobs = Table("job", "status", "step", "last line", box=box.SIMPLE_HEAD)
    for line in told.jobs:
        if _status(line) in ("running", "failed", "blocked"):
            said = line.message if line.status != "running" else last_line(workdir / line.log)
            jobs.add_row(line.name, line.status, step(workdir, line), Text(said))
    return Group(headline(told), stages, *([jobs] if jobs.row_count else []))


def step(workdir: Path, line: Line) -> str:
    """`120/300` of a run that has begun; `-` of others."""
    said = last_line(RunFolder(workdir / "runs" / line.name).metrics)
    try:
        return f"{json.loads(said)['step']}/{line.steps}"
    except (ValueError, KeyError, TypeError):
        return "-"


def _status(line: Line) -> str:
    return "done" if line.status == "cached" else line.status

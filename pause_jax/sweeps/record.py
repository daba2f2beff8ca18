"""WORKDIR/jobs.json: the state of a sweep's jobs as its driver last wrote it, for `launch.status` and later drivers."""

from __future__ import annotations

import dataclasses
import json
import os
import socket
import time
from pathlib import Path
from typing import Any

from pause_jax.errors import UserError
from pause_jax.sweeps.scheduler import Entry, Schedule, Status
from pause_jax.system.files import write_atomically

RENAMED = {"needs": "depends_on", "found": "cached", "mistaken": "user_error"}  # older versions' names → ours
SECONDS_BETWEEN_SIGNS = 60.0  # a driver that lives writes at least so often


@dataclasses.dataclass
class Line:
    """The state of one job."""

    name: str
    kind: str
    depends_on: str
    status: Status
    message: str
    flops: float
    seconds: float  # of work
    since: float  # running: when it began, as time.time() has it
    steps: int  # of training; 0 of an evaluation
    log: str  # its file, from the sweep's folder

    @classmethod
    def of(cls, entry: Entry, log: str) -> Line:
        job = entry.job
        steps = 0 if job.evaluation is not None else job.config.train.steps
        return cls(
            job.name,
            job.kind,
            job.depends_on,
            entry.status,
            entry.message,
            entry.flops,
            entry.seconds,
            entry.since,
            steps,
            log,
        )


@dataclasses.dataclass
class Record:
    """The content of the file."""

    executor: str
    host: str  # of the driver
    process: int
    workers: int  # jobs that run at once; 0: as many as the cluster lets
    ended: bool  # the driver has left
    updated: float
    jobs: list[Line]
    wall_seconds: float = 0.0  # how long drivers were at work here, all of them together


class Recorder:
    """Writes the record at each change of a status, and now and then as a sign of life."""

    def __init__(self, schedule: Schedule, workdir: Path, executor: str, workers: int):
        self._schedule, self._workdir, self._executor, self._workers = schedule, workdir, executor, workers
        self._begun, self._earlier = time.time(), wall_seconds_of(workdir)
        self._written: list[tuple[Status, int]] = []
        self._written_at = 0.0

    def write_changes(self) -> None:
        now = [(entry.status, entry.tries) for entry in self._schedule.entries]
        if now != self._written or time.time() - self._written_at > SECONDS_BETWEEN_SIGNS:
            self.write()
            self._written, self._written_at = now, time.time()

    def write(self, *, ended: bool = False) -> None:
        folder = self._workdir.absolute()
        lines = [
            Line.of(entry, os.path.relpath(self._schedule.log_of(entry.job).absolute(), folder))
            for entry in self._schedule.entries
        ]
        now = time.time()
        record = Record(
            self._executor,
            socket.gethostname(),
            os.getpid(),
            self._workers,
            ended,
            now,
            lines,
            self._earlier + now - self._begun,
        )
        write_atomically(folder / "jobs.json", json.dumps(dataclasses.asdict(record), indent=1))


def read_record(workdir: Path) -> Record:
    """The record in `workdir`. Raises UserError where no sweep has been started there."""
    file = workdir / "jobs.json"
    try:
        told = json.loads(file.read_text(encoding="utf-8"))
        return Record(**told | {"jobs": [Line(**_renamed(line)) for line in told["jobs"]]})
    except OSError as error:
        raise UserError(
            f"{file} cannot be read ({error.strerror}): give the --workdir of a sweep that launch.sweep has begun"
        ) from None
    except (ValueError, TypeError, KeyError) as error:
        raise UserError(f"{file} is no record of a sweep ({error}): the same launch.sweep makes it anew") from None


def seconds_of(workdir: Path) -> dict[str, float]:
    """What finished jobs took, by name, as far as it was recorded."""
    record = _read_if_whole(workdir)
    return {line.name: line.seconds for line in record.jobs if line.status in ("cached", "done")} if record else {}


def wall_seconds_of(workdir: Path) -> float:
    """How long drivers were at work in `workdir`, as far as it was recorded."""
    record = _read_if_whole(workdir)
    return record.wall_seconds if record else 0.0


def _read_if_whole(workdir: Path) -> Record | None:
    try:
        return read_record(workdir)
    except UserError:
        return None


def _renamed(line: dict[str, Any]) -> dict[str, Any]:
    """A job's state with the names that are used now."""
    line = {RENAMED.get(name, name): value for name, value in line.items()}
    return line | {"status": RENAMED.get(line["status"], line["status"])}

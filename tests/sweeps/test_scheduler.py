"""The schedule with workers that only pretend: order, retries, what a failure stops, and stopping."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from pause_jax.config import Config
from pause_jax.sweeps import job_files, record, scheduler
from pause_jax.sweeps.executors.local import JobResult
from pause_jax.sweeps.graph import Job
from pause_jax.sweeps.scheduler import Schedule


def job(name, needs=""):
    return Job(name, "evaluate" if needs.startswith("f") else "finetune" if needs else "pretrain", needs, Config())


LOGS = Path("logs")
# p1 ─► f1 ─► e1, f2 ─► e2; p2 ─► f3
JOBS = [job("p1"), job("p2"), job("f1", "p1"), job("f2", "p1"), job("f3", "p2"), job("e1", "f1"), job("e2", "f2")]


class Pretender:
    """Does each job at once, as told by `behaviour`: a report for each try."""

    def __init__(self, behaviour, history):
        self.behaviour, self.history, self.stops = behaviour, history, 0

    def send(self, task, log):
        self.history.append(task)
        self.task = task

    def receive(self):
        told = self.behaviour.get(self.task, [])
        return told.pop(0) if told else JobResult("done", "", seconds=2.0, compile_seconds=0.5, startup_seconds=0.25)

    def ask_to_stop(self):
        self.stops += 1


def run(monkeypatch, behaviour=(), finished=(), workers=2, retries=1, stop_after=10**9):
    monkeypatch.setattr(scheduler, "ready", lambda busy, timeout: list(busy)[:1])
    history, done = [], []
    pool = [Pretender({name: list(told) for name, told in dict(behaviour).items()}, history) for _ in range(workers)]
    schedule = Schedule.make(JOBS, lambda job: 1.0, lambda job: job.name in finished, retries=retries, log_folder=LOGS)
    schedule.run(
        pool,
        lambda job: job.name,
        stopping=lambda: len(history) >= stop_after,
        on_done=lambda job: done.append(job.name),
        on_tick=lambda: None,
    )
    return schedule, history, done, pool


def statuses(schedule):
    return {entry.job.name: entry.status for entry in schedule.entries}


@pytest.mark.parametrize("workers", [1, 2, 7])
def test_each_job_runs_once_and_after_what_it_needs(monkeypatch, workers):
    schedule, history, done, _ = run(monkeypatch, workers=workers)
    assert sorted(history) == sorted(j.name for j in JOBS) and sorted(done) == sorted(history)
    for one in JOBS:
        if one.depends_on:
            assert done.index(one.depends_on) < history.index(one.name)
    assert set(statuses(schedule).values()) == {"done"}


def test_what_is_finished_is_not_run_again(monkeypatch):
    schedule, history, _, _ = run(monkeypatch, finished={"p1", "f1", "e1"})
    assert sorted(history) == ["e2", "f2", "f3", "p2"]
    assert statuses(schedule)["e1"] == "cached"


def test_a_failed_job_is_tried_again(monkeypatch):
    schedule, history, _, _ = run(monkeypatch, {"f1": [JobResult("failed", "once", seconds=3.0)]}, workers=1)
    assert history.count("f1") == 2 and statuses(schedule)["e1"] == "done"
    entry = next(e for e in schedule.entries if e.job.name == "f1")
    assert (entry.tries, entry.seconds, entry.message) == (2, 5.0, "")


def test_a_failure_stops_only_what_needs_it(monkeypatch):
    schedule, history, _, _ = run(monkeypatch, {"p1": [JobResult("failed", "bad")] * 2}, workers=1)
    assert history.count("p1") == 2
    wanted = {
        "p1": "failed",
        "f1": "blocked",
        "f2": "blocked",
        "e1": "blocked",
        "e2": "blocked",
        "p2": "done",
        "f3": "done",
    }
    assert statuses(schedule) == wanted
    assert next(e for e in schedule.entries if e.job.name == "f1").message == "needs p1"


def test_a_users_mistake_is_not_tried_again(monkeypatch):
    schedule, history, _, _ = run(monkeypatch, {"f2": [JobResult("user_error", "no such task")] * 2}, workers=1)
    assert history.count("f2") == 1 and statuses(schedule)["f2"] == "failed" and statuses(schedule)["e1"] == "done"


def test_stopping_starts_nothing_and_asks_what_runs_to_stop(monkeypatch):
    schedule, history, done, pool = run(
        monkeypatch, {"p1": [JobResult("stopped", "")], "p2": [JobResult("stopped", "")]}, stop_after=2
    )
    assert sorted(history) == ["p1", "p2"] and done == []
    assert all(worker.stops for worker in pool)
    assert set(statuses(schedule).values()) == {"waiting"}


def test_time_left_and_overhead(monkeypatch):
    schedule, _, _, _ = run(monkeypatch)
    assert schedule.seconds_left(2) == 0.0
    assert schedule.overhead() == (pytest.approx(7 * 0.75), pytest.approx(7 * 2.25))
    fresh = Schedule.make(JOBS, lambda job: 3.0, lambda job: False, retries=0, log_folder=LOGS)
    assert fresh.seconds_left(2) is None
    fresh.entries[0] = dataclasses.replace(fresh.entries[0], status="done", seconds=6.0)
    assert fresh.seconds_left(2) == pytest.approx(6 * 6.0 / 2)


def test_what_was_found_finished_is_not_blocked_by_what_failed_since(monkeypatch):
    told = {"p1": [JobResult("user_error", "no such file")]}
    schedule, *_ = run(monkeypatch, behaviour=told, finished=("f1", "e1"))
    assert statuses(schedule) == {
        "p1": "failed",
        "f1": "cached",
        "e1": "cached",
        "f2": "blocked",
        "e2": "blocked",
        "p2": "done",
        "f3": "done",
    }


def test_a_record_of_older_drivers_is_read(tmp_path):
    """They wrote `needs`, and "found" of what was there already."""
    line = {"name": "f1", "kind": "finetune", "needs": "p1", "status": "found", "message": "", "flops": 1.0}
    line |= {"seconds": 2.0, "since": 0.0, "steps": 3, "log": "logs/f1.log"}
    told = {"executor": "local", "host": "h", "process": 1, "workers": 1, "ended": True, "updated": 0.0, "jobs": [line]}
    (tmp_path / "jobs.json").write_text(json.dumps(told))
    (read,) = record.read_record(tmp_path).jobs
    assert (read.depends_on, read.status) == ("p1", "cached") and record.seconds_of(tmp_path) == {"f1": 2.0}


def test_a_jobs_file_of_older_drivers_is_read(tmp_path):
    wanted = job("f1", "p1")
    file = job_files.write_job(wanted, tmp_path)
    file.write_text(file.read_text().replace('"depends_on"', '"needs"'))
    assert '"needs": "p1"' in file.read_text() and job_files.read_job(file).depends_on == "p1"

"""The watch over SLURM's queue, with a cluster that pretends: what is submitted, adopted, cancelled, tried again."""

from __future__ import annotations

import itertools

import pytest

from pause_jax.errors import UserError
from pause_jax.sweeps.execution import Resources
from pause_jax.sweeps.executors import slurm
from pause_jax.sweeps.executors.local import JobResult
from pause_jax.sweeps.executors.slurm import Queued, Watch
from pause_jax.sweeps.scheduler import Schedule
from tests.sweeps.test_scheduler import JOBS, LOGS, statuses


class Pretender:
    """A cluster on which a job whose dependency is done runs and ends between two looks, as told by `behaviour`."""

    def __init__(self, behaviour=(), queued=()):
        self.behaviour = {name: list(told) for name, told in dict(behaviour).items()}
        self.jobs = {}  # number → [name, after, state, reason]
        self.history, self.cancelled, self.reports, self.finished = [], [], {}, set()
        self.numbers = map(str, itertools.count(100))
        self.folder = None
        for number, (name, after, state, reason) in dict(queued).items():
            self.jobs[number] = [name, after, state, reason]

    def submit(self, job, takes, after, call):
        number = next(self.numbers)
        self.history.append((job.name, after))
        self.jobs[number] = [job.name, after, "PENDING", "Dependency" if after else "None"]
        return number

    def queue(self):
        for number, told in self.jobs.items():
            name, after, state, _ = told
            before = self.jobs[after][2] if after else "COMPLETED"
            if state == "RUNNING":
                report = self.behaviour.get(name, []).pop(0) if self.behaviour.get(name) else JobResult("done", "")
                if report is not None:
                    self.reports[number] = report
                told[2] = "COMPLETED" if report and report.outcome == "done" else "FAILED"
                if told[2] == "COMPLETED":
                    self.finished.add(name)
            elif state == "PENDING" and before == "COMPLETED":
                told[2] = "RUNNING"
            elif state == "PENDING" and before in ("FAILED", "CANCELLED"):
                told[3] = "DependencyNeverSatisfied"
        found = {}
        for number, (name, _, state, reason) in self.jobs.items():
            found.setdefault(name, []).append(Queued(number, state, reason))
        return found

    def cancel(self, ids):
        self.cancelled += ids
        for number in ids:
            self.jobs[number][2] = "CANCELLED"

    def report(self, job, number):
        return self.reports.get(number)


def watch(monkeypatch, cluster, finished=(), retries=1, looks=100):
    monkeypatch.setattr(slurm, "SECONDS_BETWEEN_LOOKS", 0)
    monkeypatch.setattr(Watch, "_record", lambda self: None)
    cluster.finished |= set(finished)
    schedule = Schedule.make(JOBS, lambda job: 1.0, lambda job: job.name in finished, retries=retries, log_folder=LOGS)
    done, left = [], itertools.count(looks, -1)
    Watch(
        schedule, cluster, lambda job: Resources(), lambda job: lambda: None, lambda job: job.name in cluster.finished
    ).run(stopping=lambda: next(left) <= 0, on_done=lambda job: done.append(job.name), on_tick=lambda: None)
    return schedule, done


def test_all_is_submitted_at_once_each_after_what_it_needs(monkeypatch):
    cluster = Pretender()
    schedule, done = watch(monkeypatch, cluster)
    assert set(statuses(schedule).values()) == {"done"} and sorted(done) == sorted(job.name for job in JOBS)
    number = {name: str(100 + i) for i, (name, _) in enumerate(cluster.history)}
    assert cluster.history == [(job.name, number[job.depends_on] if job.depends_on else "") for job in JOBS]
    assert cluster.cancelled == []


def test_a_failed_job_is_tried_again_with_all_that_need_it(monkeypatch):
    cluster = Pretender({"f1": [JobResult("failed", "once")], "p2": [None]})  # the second was killed
    schedule, _ = watch(monkeypatch, cluster)
    assert set(statuses(schedule).values()) == {"done"}
    times = [name for name, _ in cluster.history]
    assert {name: times.count(name) for name in times} == dict(p1=1, p2=2, f1=2, f2=1, f3=2, e1=2, e2=1)
    assert {e.job.name: e.tries for e in schedule.entries} == dict(p1=1, p2=2, f1=2, f2=1, f3=1, e1=1, e2=1)


def test_what_fails_for_good_blocks_only_what_needs_it(monkeypatch):
    cluster = Pretender({"p1": [None, None], "f3": [JobResult("user_error", "no such task")]})
    schedule, done = watch(monkeypatch, cluster)
    assert statuses(schedule) == dict(
        p1="failed", p2="done", f1="blocked", f2="blocked", f3="failed", e1="blocked", e2="blocked"
    )
    message = {entry.job.name: entry.message for entry in schedule.entries}
    assert message["p1"].endswith("ended without a word: FAILED") and message["f3"] == "no such task"
    assert message["e1"] == "needs f1" and done == ["p2"]
    assert all(state in ("CANCELLED", "COMPLETED", "FAILED") for _, _, state, _ in cluster.jobs.values())


def test_another_driver_takes_over_what_is_queued_and_submits_the_rest(monkeypatch):
    cluster = Pretender(
        queued={
            "1": ("p1", "", "COMPLETED", "None"),
            "2": ("p2", "", "RUNNING", "None"),
            "3": ("f1", "1", "PENDING", "Dependency"),
            "4": ("f2", "1", "CANCELLED", "None"),
            "5": ("e1", "3", "PENDING", "Dependency"),
            "6": ("e2", "4", "PENDING", "DependencyNeverSatisfied"),
        }
    )
    schedule, _ = watch(monkeypatch, cluster, finished={"p1"})
    assert statuses(schedule).pop("p1") == "cached" and set(statuses(schedule).values()) == {"cached", "done"}
    assert [name for name, _ in cluster.history] == ["f2", "f3", "e2"] and cluster.cancelled == ["6"]


def test_stopped_it_leaves_the_queue_alone(monkeypatch):
    cluster = Pretender()
    schedule, _ = watch(monkeypatch, cluster, looks=10)
    assert cluster.history and not cluster.cancelled and "failed" not in statuses(schedule).values()


def test_a_job_whose_need_was_killed_after_its_end_goes_on(monkeypatch):
    """The run's last checkpoint is there, but SLURM holds the job for failed: what waits for it would wait for ever."""
    cluster = Pretender({"p1": [None]})
    make = cluster.queue

    def queue():
        found = make()
        if any(q.state == "FAILED" for q in found.get("p1", [])):
            cluster.finished.add("p1")
        return found

    monkeypatch.setattr(cluster, "queue", queue)
    schedule, _ = watch(monkeypatch, cluster)
    assert set(statuses(schedule).values()) == {"done"} and [n for n, _ in cluster.history].count("p1") == 1


def test_no_slurm_here_is_a_sentence(monkeypatch, tmp_path):
    pytest.importorskip("submitit")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match="sbatch is not in PATH"):
        slurm.Cluster(tmp_path, {})

"""Real worker processes with jobs that take no time: they live on, fail alone, die and are replaced."""

from __future__ import annotations

import os

import pytest

from pause_jax.errors import UserError
from pause_jax.sweeps.executors.local import Setup, Worker, core_groups, ready

ENVIRONMENT = {"PAUSE_JAX_TEST_WORKER": "yes"}


def work(job):
    """What the workers run."""
    print(f"doing {job}", flush=True)
    os.system("echo from a program")  # what other programs and C++ print goes to the log too
    if job == "mistake":
        raise UserError("the sentence")
    if job == "defect":
        raise ValueError("first line\nsecond line")
    if job == "die":
        os._exit(7)
    if job == "compile":
        import jax

        jax.jit(lambda x: x * 2 + 1)(3.0)
    print(os.getpid(), os.environ["PAUSE_JAX_TEST_WORKER"])
    return "done"


@pytest.fixture
def worker():
    made = Worker(Setup(f"{__name__}:work", environment=ENVIRONMENT), core_groups(1)[0])
    yield made
    made.close()


def do(worker, job, log):
    worker.send(job, log)
    assert ready([worker], timeout=120) == [worker]
    return worker.receive()


def test_a_worker_lives_through_many_jobs(worker, tmp_path):
    first, second = (do(worker, job, tmp_path / "logs" / f"{job}.log") for job in ("a", "b"))
    assert first.outcome == second.outcome == "done"
    assert first.startup_seconds > 0 == second.startup_seconds
    (line_a, program, pid_a), (line_b, _, pid_b) = (
        (tmp_path / "logs" / f"{j}.log").read_text().splitlines() for j in "ab"
    )
    assert (line_a, line_b, program) == ("doing a", "doing b", "from a program")
    assert pid_a == pid_b and pid_a.endswith(" yes")


def test_failures_are_told_and_the_worker_goes_on(worker, tmp_path):
    log = tmp_path / "log"
    mistake, defect = do(worker, "mistake", log), do(worker, "defect", log)
    assert (mistake.outcome, mistake.message) == ("user_error", "the sentence")
    assert (defect.outcome, defect.message) == ("failed", "ValueError: first line")
    assert "error: the sentence" in log.read_text() and "Traceback" in log.read_text()
    assert do(worker, "a", log).outcome == "done"


def test_a_dead_worker_is_replaced(worker, tmp_path):
    dead = do(worker, "die", tmp_path / "log")
    assert (dead.outcome, dead.message) == ("failed", "its process died with exit code 7")
    assert do(worker, "a", tmp_path / "log").outcome == "done"


def test_compilation_is_timed(worker, tmp_path):
    report = do(worker, "compile", tmp_path / "log")
    assert 0 < report.compile_seconds < report.seconds
    assert do(worker, "a", tmp_path / "log").compile_seconds == 0


def test_a_worker_between_jobs_ignores_signals(worker, tmp_path):
    assert do(worker, "a", tmp_path / "log").outcome == "done"
    worker.ask_to_stop()
    assert do(worker, "b", tmp_path / "log").outcome == "done"


def test_cores_are_dealt_evenly():
    cores = core_groups(1)[0]
    assert sorted(core for group in core_groups(len(cores)) for core in group) == cores
    assert all(len(group) == 1 for group in core_groups(len(cores)))
    assert all(group for group in core_groups(3 * len(cores)))  # more workers than cores share them


def test_what_keeps_a_worker_from_starting_is_told(tmp_path):
    worker = Worker(Setup(f"{__name__}:work", preload=("no_such_module",), environment=ENVIRONMENT), core_groups(1)[0])
    report = do(worker, "a", tmp_path / "log")
    worker.close()
    assert (report.outcome, report.message) == ("failed", "ModuleNotFoundError: No module named 'no_such_module'")
    assert "Traceback" in (tmp_path / "log").read_text()

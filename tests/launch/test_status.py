"""How a sweep stands, told from its folder."""

from __future__ import annotations

import json
import time

import pytest

from pause_jax.errors import UserError
from pause_jax.sweeps import record, status
from pause_jax.sweeps.record import Line, Record
from tests.programs import assert_one_sentence, program


def line(name, status="waiting", *, steps=30, message="", seconds=0.0, since=0.0):
    kind = name.partition("-")[0]
    return Line(name, kind, "", status, message, 6e9, seconds, since, steps, f"logs/{name}.log")


@pytest.fixture
def folder(tmp_path):
    """Two runs done (one found only by its checkpoint), one under way, one failed, two evaluations: one is done."""
    jobs = [
        line("pretrain-a", "done", seconds=60.0),
        line("pretrain-b", "running", since=time.time()),
        line("finetune-c", "running", since=time.time()),
        line("finetune-d", "failed", message="OSError: disk full"),
        line("evaluate-c", steps=0),
        line("evaluate-b", steps=0),
    ]
    for name, text in (
        ("runs/pretrain-b/checkpoints/30/commit_success.txt", ""),
        ("runs/finetune-c/metrics.jsonl", '{"step": 9, "loss": 2.0}\n{"step": 10, "loss": 1.5}\n'),
        ("logs/finetune-c.log", "first [line]\nfinetune-c  10/30  loss 1.5\n"),
        ("results/evaluate-b.csv", ""),
    ):
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    write(tmp_path, jobs)
    return tmp_path


def write(folder, jobs, updated=None, ended=False):
    told = Record("slurm", "login1", 4711, 0, ended, updated or time.time(), [])
    content = vars(told) | {"jobs": [vars(job) for job in jobs]}
    (folder / "jobs.json").write_text(json.dumps(content))


def test_it_is_printed_once_without_a_terminal(folder):
    done = program("status", f"--workdir={folder}")
    assert done.returncode == 0, done.stderr
    lines = [text.split() for text in done.stdout.splitlines()]
    assert "3 done, 1 running, 1 waiting, 1 failed; ETA" in done.stdout
    assert "driver: slurm, process 4711 on login1" in done.stdout and "silent" not in done.stdout
    assert ["pretrain", "2", "-", "-", "-", "-"] in lines and ["evaluate", "1", "-", "1", "-", "-"] in lines
    assert ["finetune-c", "running", "10/30", "finetune-c", "10/30", "loss", "1.5"] in lines
    assert ["finetune-d", "failed", "-", "OSError:", "disk", "full"] in lines
    assert "pretrain-b" not in done.stdout  # done, although its driver does not know yet


def test_the_time_left_is_that_of_jobs_of_the_kind_or_of_any(folder):
    """finetune-c, just begun, and an evaluation, as long as the pretraining run that took a minute, one at a time."""
    assert "; ETA 2:00; " in status.headline(status.look(folder))


def test_a_driver_that_is_silent_or_has_ended_is_told_of(folder):
    jobs = record.read_record(folder).jobs
    write(folder, jobs, updated=time.time() - 3600)
    assert "silent for" in status.headline(status.look(folder))
    write(folder, jobs, updated=time.time() - 3600, ended=True)
    assert status.headline(status.look(folder)).endswith("process 4711 on login1, has ended")


def test_a_folder_without_a_sweep(tmp_path):
    assert_one_sentence(program("status", f"--workdir={tmp_path}"), r"jobs\.json cannot be read \(No such file")
    (tmp_path / "jobs.json").write_text("[]")
    with pytest.raises(UserError, match="no record of a sweep"):
        record.read_record(tmp_path)

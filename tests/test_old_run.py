"""Folders that older code wrote (old_run/README.md) are gone on from, evaluated and read, wherever they lie by now."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
from pathlib import Path

import pytest

from pause_jax.report.results import read_results
from tests.programs import program

OLD = Path(__file__).with_name("old_run")
ONE_DEVICE = {"XLA_FLAGS": "--xla_force_host_platform_device_count=1 --xla_backend_optimization_level=0"}  # two rows
# Flags of both runs by the names of fields that they have today, with two steps more.
MODEL = (
    "--config=experiments/quickstart.py:pause",
    "--config.model.num_layers=1",
    "--config.model.d_model=16",
    "--config.model.num_heads=2",
    "--config.model.d_ff=32",
    "--config.model.max_positions=32",
    "--config.model.num_pause_tokens=2",
    "--config.train.batch_size=2",
    "--config.train.steps=6",
    "--config.optimizer.warmup_steps=1",
    "--config.run.log_every=1",
    "--config.run.validation_batches=1",
    "--config.run.loggers=jsonl",
)
PRETRAINED = ("--config.data.length=32", "--config.pauses.rate=0.1")
FINETUNED = (
    "--config.pauses.rate=0",
    "--config.finetune.task=recall_2",
    "--config.finetune.m_ft=2",
    "--config.finetune.max_prompt_length=10",
    "--config.finetune.target_length=2",
)


@pytest.fixture
def moved(tmp_path):
    """A copy of all that lies in old_run, in another place."""
    return Path(shutil.copytree(OLD, tmp_path / "moved"))


def go_on(run, *flags):
    """Records of the metrics after two steps more, those of old_run unchanged among them."""
    before = (run / "metrics.jsonl").read_text(encoding="utf-8")
    ended = program("train", *MODEL, *flags, f"--workdir={run}", env={**os.environ, **ONE_DEVICE})
    assert ended.returncode == 0, ended.stderr
    after = (run / "metrics.jsonl").read_text(encoding="utf-8")
    assert after.startswith(before)
    return [json.loads(line) for line in after.splitlines()]


@pytest.mark.slow
def test_pretraining_goes_on(moved):
    records = go_on(moved / "pretrained", *PRETRAINED, f"--config.data.files={moved}/texts.jsonl")
    assert [record["step"] for record in records] == [1, 2, 3, 4, 5, 6]
    assert records[-1]["loss"] < records[0]["loss"]


@pytest.mark.slow
def test_finetuning_goes_on_and_is_evaluated(moved):
    """The run before it is found beside it; old rows stay in the file, new ones are added below."""
    records = go_on(moved / "finetuned", *FINETUNED, f"--config.init_from={moved}/pretrained")
    assert [record["step"] for record in records] == [1, 2, 3, 4, 5, 6]
    old = read_results(moved / "results.csv")
    evaluate = ("--tasks=recall_2", "--m_inf=0,2", "--limit=8", f"--out={moved}/results.csv")
    again = program("evaluate", f"--run={moved}/finetuned", "--step=4", *evaluate)
    assert again.returncode == 0, again.stderr
    told = read_results(moved / "results.csv")  # the same rows, with the settings that older code did not write
    assert [dataclasses.replace(row, settings="") for row in told] == old and all(row.settings for row in told)
    newest = program("evaluate", f"--run={moved}/finetuned", *evaluate)
    assert newest.returncode == 0, newest.stderr
    rows = read_results(moved / "results.csv")
    assert [row.steps for row in rows] == [4] * 4 + [6] * 4


def test_rows_are_read():
    rows = read_results(OLD / "results.csv")
    assert [(row.m_inf, row.metric, row.value) for row in rows] == [
        (0, "accuracy", 0.0),
        (0, "option_accuracy", 12.5),
        (2, "accuracy", 0.0),
        (2, "option_accuracy", 12.5),
    ]
    assert {(row.task, row.finetune, row.m_ft, row.pretrain_rate, row.num_pause_tokens) for row in rows} == {
        ("recall_2", "pause", "2", 0.1, 2)
    }

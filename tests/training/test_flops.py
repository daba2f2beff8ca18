"""What training costs: two-way attention counts, as an XLA program of it would."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from experiments.science import demonstration
from pause_jax.config import Config, FinetuneConfig
from pause_jax.config.model import ModelConfig
from pause_jax.model import counts
from pause_jax.sweeps import budgets, graph
from pause_jax.training import flops
from pause_jax.training import run as train

MODEL = ModelConfig(num_layers=2, d_model=16, num_heads=2, d_ff=8, vocab_size=259)


def config_of(**finetune):
    return Config(model=MODEL, finetune=FinetuneConfig(task="t", max_prompt_length=26, target_length=2, **finetune))


def row_of(length, heads, prefix_lm_length):
    return counts.train_flops(MODEL, length, heads, prefix_lm_length)


def test_rows_by_hand():
    assert flops.flops_per_row(config_of(attention="causal")) == row_of(27, 2, 0)
    assert flops.flops_per_row(config_of()) == row_of(27, 2, 26)
    assert flops.flops_per_row(config_of(m_ft=(10,))) == row_of(37, 2, 36)
    assert flops.flops_per_row(config_of(m_ft=(10,), attention="prefix_only")) == row_of(37, 2, 26)
    mixed = [
        row_of(37, 2, prefix_lm_length) for prefix_lm_length in (36, 31, 26)
    ]  # fewer pauses, more padding before the prompt
    asked = config_of(m_ft=(0, 5, 10), attention="prefix_only")
    assert flops.flops_per_row(asked) == pytest.approx(sum(mixed) / 3)
    pretraining = Config(model=MODEL)
    assert flops.flops_per_row(pretraining) == counts.train_flops(MODEL, pretraining.data.length)
    assert flops.flops_per_step(pretraining) == budgets.flops_per_step(pretraining)


def test_the_demonstrations_arm_that_reads_both_ways():
    """It costs 1.2 times what the causal one of as many steps and no pauses does."""
    sweep = graph.parse(demonstration.get_config("1").to_dict())
    jobs = [job for job in graph.make_jobs(sweep, Path("/runs"), train.resolve) if job.kind == "finetune"]
    prefix_lm_length = next(job.config for job in jobs if job.config.finetune.attention == "prefix_and_pauses")
    causal = dataclasses.replace(
        prefix_lm_length, finetune=dataclasses.replace(prefix_lm_length.finetune, attention="causal")
    )
    assert flops.flops_per_row(prefix_lm_length) / flops.flops_per_row(causal) == pytest.approx(1.205, abs=5e-4)

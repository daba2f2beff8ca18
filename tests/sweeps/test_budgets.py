"""Budgets as steps: counted by hand, against the trainer's count, and against rows as they are made."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from pause_jax.config import Config, DataConfig, FinetuneConfig, PauseConfig, TrainConfig
from pause_jax.config.model import ModelConfig
from pause_jax.errors import UserError
from pause_jax.model import counts
from pause_jax.pauses import insertion
from pause_jax.sweeps import budgets
from pause_jax.training import loop

CONFIG = Config(
    model=dataclasses.replace(ModelConfig(vocab_size=259), num_pause_tokens=1),
    data=DataConfig(length=100),
    train=TrainConfig(steps=7, batch_size=8),
    pauses=PauseConfig(rate=0.1),
)
FINETUNE = dataclasses.replace(CONFIG, finetune=FinetuneConfig(task="recall_2", m_ft=(10,), max_prompt_length=8))


def with_pauses(**changes):
    return dataclasses.replace(CONFIG, pauses=dataclasses.replace(CONFIG.pauses, **changes))


def test_by_hand():
    """100 text tokens and 10 pauses, of which 100 positions are kept: 100 · 100 / 110 = 90.909… text tokens a row."""
    assert budgets.steps(CONFIG, ("steps", 12)) == 12
    assert budgets.text_tokens_per_step(CONFIG) == pytest.approx(8 * 90.90909)
    assert budgets.text_tokens_per_step(with_pauses(mode="exact")) == 8 * 90
    assert budgets.text_tokens_per_step(with_pauses(rate=0.0)) == 8 * 100
    assert budgets.steps(CONFIG, ("text_tokens", 10_000)) == 13  # 13.75
    assert budgets.steps(with_pauses(rate=0.0), ("text_tokens", 10_000)) == 12  # 12.5
    row = counts.train_flops(CONFIG.model, 100)
    assert budgets.steps(CONFIG, ("model_flops", 2.9 * 8 * row)) == 2


@pytest.mark.parametrize("config", [CONFIG, FINETUNE], ids=["pretraining", "finetuning"])
def test_flops_are_those_that_the_trainer_counts(config):
    assert budgets.flops_per_step(config) == loop.flops_per_step(config)
    for steps in (1, 3, 7, 190_735):
        assert budgets.steps(config, ("model_flops", steps * loop.flops_per_step(config))) == steps


def test_more_pauses_are_fewer_steps_of_equal_flops():
    flops = ("model_flops", 1000 * budgets.flops_per_step(FINETUNE))
    without = dataclasses.replace(FINETUNE, finetune=dataclasses.replace(FINETUNE.finetune, m_ft=(0,)))
    # Positions 8 + 10 + 32 - 1 against 39: more than 49 / 39, as the head is the same of both, and less than its half.
    assert budgets.steps(FINETUNE, flops) == 1000 < 1200 < budgets.steps(without, flops) < 1300


@pytest.mark.parametrize(
    "changes",
    [{}, {"rate": 0.3}, {"max_rate": 0.3}, {"mode": "exact"}, {"rate": 0.0}],
    ids=["trim", "rate", "range", "exact", "none"],
)
def test_text_tokens_are_those_of_rows(changes):
    """Of 400 rows, whose mean has a standard deviation of at most 0.3 around the expected number."""
    pause = with_pauses(**changes).pauses
    most = insertion.num_pauses(100, max(pause.rate, pause.max_rate))
    is_pause_BxS = insertion.draw_slots(
        insertion.Blocks(np.zeros(400), np.arange(400)),
        seed=0,
        num_slots=100 + most * (pause.mode == "trim"),
        num_pauses=most,
        fewest_pauses=insertion.num_pauses(100, pause.rate) if pause.max_rate else None,
    )
    text_B = (~is_pause_BxS[:, :100]).sum(axis=1)
    assert budgets.text_tokens_per_step(with_pauses(**changes)) / 8 == pytest.approx(text_B.mean(), abs=0.9)


@pytest.mark.parametrize(
    ("config", "given", "sentence"),
    [
        (CONFIG, ("steps", 0.5), r"the budget \('steps', 0\.5\) is less than one step, which takes 1: raise it"),
        (CONFIG, ("text_tokens", 700), r"is less than one step, which takes 727\.273: raise it"),
        (CONFIG, ("model_flops", 1e6), r"is less than one step, which takes "),
        (FINETUNE, ("text_tokens", 1e9), r"is in text tokens, but prompts differ in them: give finetuning steps or"),
    ],
)
def test_budgets_that_cannot_be(config, given, sentence):
    with pytest.raises(UserError, match=sentence):
        budgets.steps(config, given)

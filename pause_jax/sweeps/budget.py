"""Budgets of training: how many steps they are worth to a config.

    ("steps", n)            n steps
    ("text_tokens", n)      text tokens read, pauses not counted; expected ones, where pauses push text out (trim)
    ("model_flops", n)      model FLOPs as the trainer counts them, pauses as the work they are
    ("fraction", f)         so much of the steps of the run that it starts from

Steps are rounded down: a run never takes more than its budget.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from pause_jax import pauses
from pause_jax.config import Config
from pause_jax.errors import UserError
from pause_jax.model import counts

KINDS = ("steps", "text_tokens", "model_flops", "fraction")


def steps_of(budget: Sequence[Any], config: Config, steps_before: int | None) -> int:
    """Steps that `budget` is worth.

    Args:
      config: resolved; its train.steps are not looked at.
      steps_before: of the run that this one starts from; None where it starts from none.

    Raises:
      UserError: no such kind, an amount that can't be, or less than a step.
    """
    kind, amount = _checked(budget)
    if kind == "text_tokens" and config.finetune.task:
        raise UserError("a budget of text_tokens is for pretraining: prompts differ in length; give model_flops, say")
    if kind == "fraction" and steps_before is None:
        raise UserError("a budget that is a fraction wants a run before: this one starts from none")
    of_a_step = {
        "steps": lambda: 1.0,
        "text_tokens": lambda: text_tokens_a_step(config),
        "model_flops": lambda: flops_a_step(config),
        "fraction": lambda: 1 / (steps_before or 1),
    }[kind]()
    steps = math.floor(amount / of_a_step + 1e-9)
    if steps < 1:
        raise UserError(f"the budget {kind} = {amount:g} is less than one step, which takes {of_a_step:g}")
    return steps


def text_tokens_a_step(config: Config) -> float:
    """Expected text tokens of a step of pretraining.

    In mode `trim` a block of L text tokens gets r L pauses at random places, and is cut back to L positions: of these
    L / (1 + r) are text on average (paper section 3.1).
    """
    length, pause = config.data.length, config.pauses
    if pause.mode == "exact":
        text = float(pauses.text_tokens_per_block(length, pause.rate, pause.mode, pause.max_rate))
    else:
        rates = (pause.rate, max(pause.rate, pause.max_rate))
        inserted = sum(pauses.num_pauses(length, rate) for rate in rates) / 2
        text = length * length / (length + inserted)
    return config.train.batch_size * text


def flops_a_step(config: Config) -> float:
    """Model FLOPs of a training step."""
    return config.train.batch_size * counts.train_flops(config.model, config.length, config.length - config.first_loss)


def _checked(budget: Sequence[Any]) -> tuple[str, float]:
    if not isinstance(budget, (list, tuple)) or len(budget) != 2 or budget[0] not in KINDS:
        raise UserError(f"the budget {budget!r} is none: give (kind, amount), of the kinds {', '.join(KINDS)}")
    kind, amount = budget
    if isinstance(amount, bool) or not isinstance(amount, (int, float)) or not 0 < amount < math.inf:
        raise UserError(f"the budget {kind} = {amount!r} cannot be: give a number above 0")
    return kind, float(amount)

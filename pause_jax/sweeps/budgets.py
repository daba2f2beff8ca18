"""A run's budget in steps, text tokens or model FLOPs, as whole training steps."""

from __future__ import annotations

from typing import Any

from pause_jax.config import Config
from pause_jax.errors import UserError
from pause_jax.pauses import insertion

KINDS = ("steps", "text_tokens", "model_flops")


def check_budget(value: Any, where: str) -> None:
    """Raises UserError where `value` is not (kind, number above 0)."""
    kind, number = value if isinstance(value, (list, tuple)) and len(value) == 2 else ("", 0)
    if kind not in KINDS or type(number) not in (int, float) or not 0 < number < 1e300:
        raise UserError(
            f"{where}: the budget {value!r} must be a kind of {', '.join(KINDS)} and a number above 0, "
            "such as ('model_flops', 1e15)"
        )


def steps(config: Config, budget: tuple[str, float]) -> int:
    """The whole steps that `budget` pays for, rounded down: a run never takes more than its budget.

    Args:
      config: resolved; its `train.steps` is not used.
      budget: ("steps", n), ("text_tokens", n) or ("model_flops", n).

    Raises:
      UserError: it pays for no step, or is in text tokens for finetuning, where each prompt has its own number.
    """
    kind, number = budget
    if kind == "text_tokens" and config.finetune.task:
        raise UserError(
            f"the budget {budget!r} is in text tokens, but prompts differ in them: give finetuning steps or model_flops"
        )
    cost = {"steps": _one, "text_tokens": text_tokens_per_step, "model_flops": flops_per_step}[kind](config)
    whole = int(number / cost * (1 + 1e-12))  # or a budget of 3 steps' cost would be 2 by rounding
    if whole < 1:
        raise UserError(f"the budget {budget!r} is less than one step, which takes {cost:g}: raise it")
    return whole


def text_tokens_per_step(config: Config) -> float:
    """Expected text tokens of a pretraining step.

    `trim` puts M pauses into T text tokens and keeps T of the T + M positions: at rate 0.1, 1 / 1.1 of T is text.
    `exact` has T - M text tokens. A range of rates draws M uniformly.
    """
    length, pause = config.data.length, config.pauses
    if pause.mode == "exact":
        row: float = length - insertion.num_pauses(length, pause.rate)
    else:
        least, most = (insertion.num_pauses(length, rate) for rate in (pause.rate, max(pause.rate, pause.max_rate)))
        row = sum(length * length / (length + m) for m in range(least, most + 1)) / (most - least + 1)
    return config.train.batch_size * row


def flops_per_step(config: Config) -> float:
    """Model FLOPs of a training step as the trainer counts them, pauses included."""
    from pause_jax.training import flops

    return flops.flops_per_step(config)


def _one(config: Config) -> float:
    return 1.0

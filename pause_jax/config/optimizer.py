"""The optimizer: `config.optimizer`."""

from __future__ import annotations

import dataclasses
from typing import Literal

from pause_jax.config import bounds
from pause_jax.errors import UserError


@dataclasses.dataclass(frozen=True)
class OptimizerConfig:
    """AdamW. Weight decay is on matrices only: never on biases, norms or pauses."""

    learning_rate: float = 1e-3  # the peak
    schedule: Literal["cosine", "linear", "rsqrt", "constant", "wsd"] = "cosine"  # after warm-up
    warmup_steps: int = 100
    schedule_steps: int = 0  # steps until the schedule's end, after which its last value stays; 0: train.steps
    final_fraction: float = 0.1  # cosine, linear, wsd: learning rate at the last step, as a part of the peak
    decay_from: float = 0.8  # wsd (warm-up, stable, decay): the part of the steps after which it falls, linearly
    b1: float = 0.9
    b2: float = 0.95
    eps: float = 1e-8
    weight_decay: float = 0.1
    clip_norm: float = 1.0  # global gradient norm; 0: no clipping
    pause_only_steps: int = 0  # steps at the start in which the pauses' vectors alone move

    def validate(self) -> None:
        bounds.check(
            self,
            "config.optimizer",
            "not be negative",
            "learning_rate",
            "warmup_steps",
            "schedule_steps",
            "final_fraction",
            "weight_decay",
            "clip_norm",
            "pause_only_steps",
        )
        if self.schedule_steps and self.schedule in ("rsqrt", "constant"):
            raise UserError(
                f"config.optimizer.schedule_steps = {self.schedule_steps} says when a schedule ends, but "
                f"config.optimizer.schedule = {self.schedule!r} has no end: leave it 0"
            )
        bounds.check(self, "config.optimizer", "be in [0, 1)", "b1", "b2")
        bounds.check(self, "config.optimizer", "be in [0, 1]", "decay_from")
        bounds.check(self, "config.optimizer", "be more than 0", "eps")

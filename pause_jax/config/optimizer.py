"""The optimizer: `config.optimizer`."""

from __future__ import annotations

import dataclasses
from typing import Literal

from pause_jax.config import bounds
from pause_jax.errors import UserError


@dataclasses.dataclass(frozen=True)
class OptimizerConfig:
    """The optimizer and its schedule. Weight decay is on matrices only: never on biases, norms or pauses."""

    name: str = "adamw"  # of ALGORITHMS in pause_jax/training/optimizer.py, which describes each
    learning_rate: float = 1e-3  # the peak
    schedule: Literal["cosine", "linear", "rsqrt", "constant", "wsd"] = "cosine"  # after warm-up
    warmup_steps: int = 100
    schedule_steps: int = 0  # steps until the schedule's end, after which its last value stays; 0: train.steps
    final_fraction: float = 0.1  # cosine, linear, wsd: learning rate at the last step, as a fraction of the peak
    decay_from: float = 0.8  # wsd (warm-up, stable, decay): the fraction of the steps after which it decays linearly
    b1: float = 0.9  # of the first moment; muon: of its momentum
    b2: float = 0.95  # of the second; lion: of its momentum
    eps: float = 1e-8
    moments_dtype: Literal["float32", "bfloat16"] = "float32"  # of the first moment; the second is always float32
    weight_decay: float = 0.1
    clip_norm: float = 1.0  # global gradient norm; 0: no clipping
    pause_only_steps: int = 0  # steps at the start in which the pauses' vectors alone move

    def validate(self) -> None:
        self._validate_name()
        if self.name == "adafactor" and self.moments_dtype != "float32":
            raise UserError(
                f"config.optimizer.moments_dtype = {self.moments_dtype!r} is the dtype of a first moment, but "
                "config.optimizer.name = 'adafactor' keeps none, and the second moment is always float32: leave it "
                "'float32'"
            )
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

    def _validate_name(self) -> None:
        if self.name == "adamw":
            return
        from pause_jax.training.optimizer import ALGORITHMS  # imports JAX, which reading a default config should not

        if self.name not in ALGORITHMS:
            raise UserError(
                f"config.optimizer.name is {self.name!r}, but must be one of {', '.join(map(repr, ALGORITHMS))}"
            )

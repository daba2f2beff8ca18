"""How long, on how much: `config.train`."""

from __future__ import annotations

import dataclasses

from pause_jax.config import bounds


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """How long, on how much."""

    steps: int = 1000  # a finished run accepts a larger value: it goes on
    batch_size: int = 32  # rows of the global batch, all devices and microbatches together

    def validate(self) -> None:
        bounds.check(self, "config.train", "be at least 1", "steps", "batch_size")

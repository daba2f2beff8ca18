"""What training minimises: `config.objective`."""

from __future__ import annotations

import dataclasses

from pause_jax.config import bounds
from pause_jax.errors import UserError


@dataclasses.dataclass(frozen=True)
class ObjectiveConfig:
    """The training loss. Validation losses are cross-entropy alone, whatever stands here."""

    name: str = "cross_entropy"  # of OBJECTIVES in pause_jax/training/objective.py
    # Coefficients of terms that are added at each position with a loss; each has the name of its term.
    z_loss: float = 0.0  # times log² Z: keeps the softmax's normaliser Z near 1 (PaLM: 1e-4); 0: none

    def validate(self) -> None:
        bounds.check(self, "config.objective", "not be negative", "z_loss")
        if self.name == "cross_entropy":
            return
        from pause_jax.training.objective import OBJECTIVES  # imports JAX, which reading a default config should not

        if self.name not in OBJECTIVES:
            raise UserError(
                f"config.objective.name is {self.name!r}, but must be one of {', '.join(map(repr, OBJECTIVES))}"
            )

    @property
    def coefficients(self) -> tuple[tuple[str, float], ...]:
        """(name, coefficient) of the terms that are added."""
        fields = dataclasses.asdict(self).items()
        return tuple((name, value) for name, value in fields if name != "name" and value)

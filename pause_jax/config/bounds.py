"""Bounds of the numbers in a config, and the sentence for a number that is out of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pause_jax.errors import UserError

LARGEST: Mapping[type, float] = {int: 2**31 - 1, float: 3.4028234e38}  # what 32 bits hold

Bound = Literal["be at least 1", "not be negative", "be more than 0", "be in [0, 1)", "be in [0, 1]"]

_HOLDS = {
    "be at least 1": lambda value: value >= 1,
    "not be negative": lambda value: value >= 0,
    "be more than 0": lambda value: value > 0,
    "be in [0, 1)": lambda value: 0 <= value < 1,
    "be in [0, 1]": lambda value: 0 <= value <= 1,
}


def check(section: Any, path: str, must: Bound, *names: str) -> None:
    """Raises UserError for the first of a section's fields that is not what it must be.

    >>> check(TrainConfig(steps=0), "config.train", "be at least 1", "steps", "batch_size")
    Traceback (most recent call last):
    pause_jax.errors.UserError: config.train.steps is 0, but must be at least 1
    """
    for name in names:
        if not _HOLDS[must](getattr(section, name)):
            raise UserError(f"{path}.{name} is {getattr(section, name)}, but must {must}")

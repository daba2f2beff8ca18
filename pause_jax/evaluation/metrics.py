"""Metric functions in SeqIO's form, (targets, predictions) -> {name: value}; percentages are 0 to 100."""

from __future__ import annotations

from collections.abc import Sequence


def accuracy(targets: Sequence[str], predictions: Sequence[str]) -> dict[str, float]:
    """Percentage of predictions that equal their target, white space at the ends aside.

    >>> accuracy(["a", "b"], ["a ", "c"])
    {'accuracy': 50.0}
    """
    right = sum(target.strip() == prediction.strip() for target, prediction in zip(targets, predictions, strict=True))
    return {"accuracy": 100.0 * right / len(targets)}

"""Metric functions in SeqIO's form, (targets, predictions) -> {name: value}; percentages are 0 to 100.

Of an answer that was written, the prediction is its text. Of options, the second argument is called `scores` (SeqIO
tells the two kinds by that name) and holds an `OptionScore` for each option; the target is the right one's number.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class OptionScore(NamedTuple):
    """How likely a model finds an option."""

    log_p: float  # nats, of all its tokens
    num_tokens: int


def accuracy(targets: Sequence[str], predictions: Sequence[str]) -> dict[str, float]:
    """Percentage of predictions that equal their target, white space at the ends aside.

    >>> accuracy(["a", "b"], ["a ", "c"])
    {'accuracy': 50.0}
    """
    right = sum(target.strip() == prediction.strip() for target, prediction in zip(targets, predictions, strict=True))
    return {"accuracy": 100.0 * right / len(targets)}


def option_accuracy(targets: Sequence[int], scores: Sequence[Sequence[OptionScore]]) -> dict[str, float]:
    """Percentage of examples whose right option has the highest log p; and the same with log p a token.

    >>> unsure, long = OptionScore(-2.0, 1), OptionScore(-4.0, 4)
    >>> option_accuracy([0, 1], [[OptionScore(-1.0, 1), unsure], [unsure, long]])
    {'option_accuracy': 50.0, 'option_accuracy_per_token': 100.0}
    """
    raw = [max(range(len(options)), key=lambda k: options[k].log_p) for options in scores]
    per_token = [max(range(len(o)), key=lambda k: o[k].log_p / o[k].num_tokens) for o in scores]
    return {
        name: 100.0 * sum(a == b for a, b in zip(targets, chosen, strict=True)) / len(targets)
        for name, chosen in (("option_accuracy", raw), ("option_accuracy_per_token", per_token))
    }

"""Metric functions in SeqIO's form, (targets, predictions) -> {name: value}; percentages are 0 to 100.

For generated answers a prediction is the answer's text. For options the second argument is called `scores` (by that
name SeqIO tells the two kinds apart) and holds an `OptionScore` for each option; the target is the right option's
number.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple


class OptionScore(NamedTuple):
    """How likely a model finds an option."""

    log_p: float  # nats, of all its tokens
    num_tokens: int
    num_characters: int  # of its text, white space at the ends aside


def accuracy(targets: Sequence[str], predictions: Sequence[str]) -> dict[str, float]:
    """Percentage of predictions that equal their target, white space at the ends aside.

    >>> accuracy(["a", "b"], ["a ", "c"])
    {'accuracy': 50.0}
    """
    right = sum(target.strip() == prediction.strip() for target, prediction in zip(targets, predictions, strict=True))
    return {"accuracy": 100.0 * right / len(targets)}


def label_accuracy(targets: Sequence[str], predictions: Sequence[Collection[str]]) -> dict[str, float]:
    """Percentage of predictions that match their target, a label; and of those that match no label at all.

    Args:
      predictions: for each example the labels of all choices that the generated answer matches.

    >>> label_accuracy(["A", "B", "C", "D"], [["A"], ["A", "B"], ["D"], []])
    {'accuracy': 50.0, 'no_choice': 25.0}
    """
    right = sum(target in matched for target, matched in zip(targets, predictions, strict=True))
    none = sum(not matched for matched in predictions)
    return {"accuracy": 100.0 * right / len(targets), "no_choice": 100.0 * none / len(targets)}


def option_accuracy(targets: Sequence[int], scores: Sequence[Sequence[OptionScore]]) -> dict[str, float]:
    """Percentage of examples whose right option has the highest log p; and the same with log p a token.

    The second is left out where it would equal the first: where no example has options of several lengths.

    >>> unsure, long = OptionScore(-2.0, 1, 1), OptionScore(-4.0, 4, 9)
    >>> option_accuracy([0, 1], [[OptionScore(-1.0, 1, 1), unsure], [unsure, long]])
    {'option_accuracy': 50.0, 'option_accuracy_per_token': 100.0}
    """
    values = {"option_accuracy": _percentage_highest(targets, scores, lambda option: option.log_p)}
    if any(len({option.num_tokens for option in options}) > 1 for options in scores):
        values["option_accuracy_per_token"] = _percentage_highest(targets, scores, lambda o: o.log_p / o.num_tokens)
    return values


def option_accuracy_per_character(targets: Sequence[int], scores: Sequence[Sequence[OptionScore]]) -> dict[str, float]:
    """Percentage of examples whose right option has the highest log p a character: `acc_norm` of lm-evaluation-harness.

    An option's length is then the same for every tokenizer.

    >>> option_accuracy_per_character([1], [[OptionScore(-2.0, 1, 2), OptionScore(-3.0, 1, 4)]])
    {'option_accuracy_per_character': 100.0}
    """
    return {"option_accuracy_per_character": _percentage_highest(targets, scores, lambda o: o.log_p / o.num_characters)}


def _percentage_highest(
    targets: Sequence[int], scores: Sequence[Sequence[OptionScore]], value: Callable[[OptionScore], float]
) -> float:
    """Percentage of examples whose target is the option of the highest value, of equal ones the first."""
    chosen = [max(range(len(options)), key=lambda k: value(options[k])) for options in scores]
    return 100.0 * sum(a == b for a, b in zip(targets, chosen, strict=True)) / len(targets)

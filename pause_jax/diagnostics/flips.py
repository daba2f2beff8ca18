"""Answers that pauses made right or wrong, and a test of whether that is chance. No JAX."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

Record = Mapping[str, Any]  # of one answer: see `evaluation.evaluator.evaluate`

RIGHT = 100.0  # `score` of an answer that the task's first metric calls wholly right


@dataclasses.dataclass(frozen=True)
class Flip:
    """An example that the run answers correctly without pauses or with them, but not both."""

    id: str | int
    prompt: str
    target: str
    without_pauses: str  # the answer
    with_pauses: str
    to_right: bool  # wrong without, right with; else the other way round


@dataclasses.dataclass(frozen=True)
class Flips:
    """The flips over all examples, and how many examples have none."""

    flips: Sequence[Flip]  # in the examples' order
    both_right: int
    both_wrong: int

    @property
    def to_right(self) -> int:
        return sum(flip.to_right for flip in self.flips)

    @property
    def to_wrong(self) -> int:
        return len(self.flips) - self.to_right

    @property
    def examples(self) -> int:
        return len(self.flips) + self.both_right + self.both_wrong

    @property
    def p_value(self) -> float:
        """The p value of the exact two-sided sign test, whose hypothesis is that both directions are equally likely.

        3 of 3 flips in one direction: 2 · (1/2)³ = 0.25. Without flips it is 1.
        """
        from scipy import stats  # half a second to import

        return float(stats.binomtest(self.to_right, len(self.flips)).pvalue) if self.flips else 1.0


def compare(without: Sequence[Record], with_pauses: Sequence[Record]) -> Flips:
    """Compare answers without pauses and with them, to the same examples in the same order.

    An answer is right where its `score` is 100, and wrong where it is less.
    """
    flips: list[Flip] = []
    both = {True: 0, False: 0}
    for before, after in zip(without, with_pauses, strict=True):
        assert before["id"] == after["id"]
        was, is_now = (record["score"] >= RIGHT for record in (before, after))
        if was == is_now:
            both[is_now] += 1
            continue
        flips.append(
            Flip(
                before["id"],
                before["prompt"],
                before["target"],
                before["prediction"],
                after["prediction"],
                to_right=is_now,
            )
        )
    return Flips(flips, both_right=both[True], both_wrong=both[False])

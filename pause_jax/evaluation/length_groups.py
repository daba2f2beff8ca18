"""Groups examples of similar length into batches, so that few positions are padding."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from pause_jax.pauses.downstream import round_up

_STEP = 8


class LengthGroup(NamedTuple):
    """Examples by number, and the positions that their prompts are padded to."""

    examples: tuple[int, ...]
    length: int


def group_by_length(lengths: Mapping[int, int], batch_size: int) -> list[LengthGroup]:
    """All examples in as few batches as possible, the longest first: where memory runs out, it does so at once.

    Prompts are padded to one of few lengths, each a compilation: 8, 12, 16, 24, 32, 48, … (`rung`), none longer than
    the longest prompt rounded up to a multiple of 8. The batches depend on the arguments alone.

    >>> group_by_length({0: 5, 1: 40, 2: 13, 3: 16}, 2)
    [LengthGroup(examples=(1, 3), length=40), LengthGroup(examples=(2, 0), length=16)]

    Args:
      lengths: of the prompts, by the examples' numbers.
    """
    longest = round_up(max(lengths.values()), _STEP)
    order = sorted(lengths, key=lambda i: (-lengths[i], i))
    chunks = [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
    return [LengthGroup(tuple(chunk), min(rung(lengths[chunk[0]]), longest)) for chunk in chunks]


def rung(length: int) -> int:
    """The smallest of 8, 12, 16, 24, 32, 48, … (2^k and 1.5 · 2^k) that is not below `length`.

    >>> [rung(n) for n in (1, 9, 13, 100, 129)]
    [8, 12, 16, 128, 192]
    """
    power = _STEP
    while power < length:
        if 3 * power // 2 >= length:
            return 3 * power // 2
        power *= 2
    return power

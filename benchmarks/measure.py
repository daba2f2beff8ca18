"""Paired measurements: ours and a peer in turn, in one process, so that both see the same machine at the same time."""

from __future__ import annotations

import dataclasses
import math
import statistics
import time
from collections.abc import Callable
from typing import Any

REPEATS = 8  # even: each side goes first as often as the other
MIN_SECONDS = 0.5  # of the quicker side's part of a repeat: a clock's grain and a short disturbance vanish in it
WARM_UP_CALLS = 2  # the first compiles; the second is timed, to choose how many calls a repeat has

Call = Callable[[], object]  # does the work once and returns when it is done, nothing left running


@dataclasses.dataclass(frozen=True)
class Pair:
    """Two ways to do the same work, set up and checked to agree; or one way, and how long it may take."""

    ours: Call
    peer: Call | float  # a number: the seconds that a call of ours is to take at most
    work: float = 1.0  # how many of the unit one call does: tokens of one generation, say


@dataclasses.dataclass(frozen=True)
class Measurement:
    """Seconds a call, of each repeat; `ours[i]` and `peer[i]` were taken one after the other."""

    ours: tuple[float, ...]
    peer: tuple[float, ...]
    calls: int  # in each repeat, of each side

    @property
    def ratios(self) -> list[float]:
        """Our seconds over the peer's, repeat by repeat."""
        return [ours / peer for ours, peer in zip(self.ours, self.peer, strict=True)]

    def result(self, *, goal: float, unit: str, work: float = 1.0) -> dict[str, Any]:
        """What goes into the JSON file.

        `ratio` is the median of the paired ratios, not the ratio of the medians: a machine that slows down for one
        repeat slows both sides of it.

        >>> measurement = Measurement(ours=(1.0, 2.0, 9.0), peer=(2.0, 2.0, 10.0), calls=1)
        >>> result = measurement.result(goal=1.0, unit="s/token", work=10.0)
        >>> result["ours"], result["peer"], result["ratio"], result["holds"]
        (0.2, 0.2, 0.9, True)
        """
        ratio = statistics.median(self.ratios)
        return {
            "ours": statistics.median(self.ours) / work,
            "peer": statistics.median(self.peer) / work,
            "ratio": ratio,
            "goal": goal,
            "unit": unit,
            "holds": ratio <= goal,
            "ratio_min": min(self.ratios),
            "ratio_max": max(self.ratios),
            "repeats": len(self.ours),
            "calls": self.calls,
        }


def measure(
    pair: Pair,
    *,
    repeats: int = REPEATS,
    min_seconds: float = MIN_SECONDS,
    clock: Callable[[], float] = time.perf_counter,
    after_repeat: Callable[[float], None] = lambda ratio: None,
) -> Measurement:
    """Warm up, then time both sides `repeats` times: ours peer, peer ours, ours peer, ...

    Args:
      min_seconds: a repeat calls each side as often as the quicker one needs to fill it, and at least once.
      after_repeat: is told each repeat's ratio.
    """
    quicker = min(_warm_up(call, clock) for call in (pair.ours, pair.peer) if not isinstance(call, float))
    calls = max(1, math.ceil(min_seconds / quicker)) if quicker > 0 else 1
    ours: list[float] = []
    peer: list[float] = []
    for repeat in range(repeats):
        in_turn = [(pair.ours, ours), (pair.peer, peer)]
        for call, seconds in in_turn if repeat % 2 == 0 else reversed(in_turn):
            seconds.append(_seconds(call, calls, clock))
        after_repeat(ours[-1] / peer[-1])
    return Measurement(tuple(ours), tuple(peer), calls)


def _warm_up(call: Call, clock: Callable[[], float]) -> float:
    """Seconds of the last of the warm-up calls."""
    return [_seconds(call, 1, clock) for _ in range(WARM_UP_CALLS)][-1]


def _seconds(call: Call | float, calls: int, clock: Callable[[], float]) -> float:
    """Seconds a call, over `calls` of them."""
    if isinstance(call, float):
        return call
    start = clock()
    for _ in range(calls):
        call()
    return (clock() - start) / calls

"""Paired measurements: ours and a peer in turn, in one process, so that both see the same machine at the same time."""

from __future__ import annotations

import dataclasses
import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

REPEATS = 8  # even: each side goes first as often as the other
MIN_SECONDS = 0.5  # of the quickest side's part of a repeat: a clock's grain and a short disturbance vanish in it
WARM_UP_CALLS = 2  # the first compiles; the second is timed, to choose how many calls a repeat has

Call = Callable[[], object]  # does the work once and returns when it is done, nothing left running
Side = Call | float  # a number: the seconds that a call may take, or once took


class Seconds(float):
    """What a call returns that has timed its work itself; the clock is not asked then."""


@dataclasses.dataclass(frozen=True)
class Pair:
    """Two ways to do the same work, set up and checked to agree; or one way, and how long it may take."""

    ours: Call
    peer: Side
    work: float = 1.0  # how many of the unit one call does: tokens of one generation, say
    others: Mapping[str, Side] = dataclasses.field(default_factory=dict)  # more ways, timed in the same turns
    flops: float = 0.0  # model FLOPs of one call, for the MFU; 0: not counted
    facts: Mapping[str, Any] = dataclasses.field(default_factory=dict)  # more to tell with the result

    @property
    def sides(self) -> dict[str, Side]:
        """All ways by name: `ours`, `peer`, and the others."""
        return {"ours": self.ours, "peer": self.peer, **self.others}


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

    def result(self, *, goal: float | None, unit: str, work: float = 1.0) -> dict[str, Any]:
        """What goes into the JSON file; without a goal it always holds.

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
            "holds": goal is None or ratio <= goal,
            "ratio_min": min(self.ratios),
            "ratio_max": max(self.ratios),
            "repeats": len(self.ours),
            "calls": self.calls,
        }


@dataclasses.dataclass(frozen=True)
class Timings:
    """Seconds a call of all sides, by name, repeat by repeat."""

    seconds: Mapping[str, tuple[float, ...]]
    calls: int

    def compare(self, ours: Sequence[str] = ("ours",), peer: str = "peer") -> Measurement:
        """One side, or the quickest of several by its median, with another."""
        quickest = min(ours, key=lambda name: statistics.median(self.seconds[name]))
        return Measurement(self.seconds[quickest], self.seconds[peer], self.calls)


def measure(
    pair: Pair,
    *,
    repeats: int = REPEATS,
    min_seconds: float = MIN_SECONDS,
    clock: Callable[[], float] = time.perf_counter,
    after_repeat: Callable[[float], None] = lambda ratio: None,
) -> Timings:
    """Warm up, then time all sides `repeats` times: ours peer, peer ours, ours peer, ...

    Args:
      min_seconds: a repeat calls each side as often as the quickest one needs to fill it, and at least once. 0: once,
        and nothing is warmed up: for what takes long, and was called when it was set up.
      after_repeat: is told each repeat's ratio of ours to the peer.
    """
    calls = 1
    if min_seconds:
        quickest = min(_warm_up(side, clock) for side in pair.sides.values() if not isinstance(side, float))
        calls = max(1, math.ceil(min_seconds / quickest)) if quickest > 0 else 1
    taken: dict[str, list[float]] = {name: [] for name in pair.sides}
    for repeat in range(repeats):
        in_turn = list(pair.sides.items())
        for name, side in in_turn if repeat % 2 == 0 else reversed(in_turn):
            taken[name].append(seconds(side, calls, clock))
        after_repeat(taken["ours"][-1] / taken["peer"][-1])
    return Timings({name: tuple(one) for name, one in taken.items()}, calls)


def _warm_up(call: Call, clock: Callable[[], float]) -> float:
    """Seconds of the last of the warm-up calls."""
    return [seconds(call, 1, clock) for _ in range(WARM_UP_CALLS)][-1]


def seconds(side: Side, calls: int = 1, clock: Callable[[], float] = time.perf_counter) -> float:
    """Seconds a call, over `calls` of them."""
    if isinstance(side, float):
        return side
    start = clock()
    given = [side() for _ in range(calls)]
    told = [one for one in given if isinstance(one, Seconds)]
    return sum(told) / calls if told else (clock() - start) / calls

"""The Pareto front of costs and values."""

from __future__ import annotations

import math
from collections.abc import Sequence


def front(costs: Sequence[float], values: Sequence[float]) -> list[int]:
    """The Pareto front by ascending cost: indices of points that no other point beats.

    One point beats another if it costs no more and is worth more, or costs less and is worth as much. A point
    whose cost is not known (not finite, or 0) is not on the front.

    >>> front([1.0, 2.0, 2.0, 3.0], [50.0, 40.0, 60.0, 60.0])
    [0, 2]
    """
    known = [i for i, cost in enumerate(costs) if math.isfinite(cost) and cost > 0]
    found: list[int] = []
    for i in sorted(known, key=lambda i: (costs[i], -values[i])):
        best = found[-1] if found else None
        if best is None or values[i] > values[best] or (values[i], costs[i]) == (values[best], costs[best]):
            found.append(i)
    return found

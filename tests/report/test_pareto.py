"""The Pareto front against its definition, looked up for every pair."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from pause_jax.report import pareto

COSTS = st.sampled_from([0.0, 1.0, 2.0, 3.0, 4.0, math.inf, math.nan])


def beats(one, other):
    return one[0] <= other[0] and one[1] >= other[1] and one != other


@given(st.lists(st.tuples(COSTS, st.integers(0, 4).map(float)), max_size=8))
def test_the_front_is_what_no_point_beats(points):
    found = pareto.front([cost for cost, _ in points], [value for _, value in points])
    known = [i for i, (cost, _) in enumerate(points) if 0 < cost < math.inf]
    wanted = [i for i in known if not any(beats(points[j], points[i]) for j in known)]
    assert sorted(found) == wanted
    assert [points[i][0] for i in found] == sorted(points[i][0] for i in found)


def test_a_hand_example():
    assert pareto.front([3.0, 1.0, 2.0, 2.0, math.nan], [60.0, 50.0, 55.0, 40.0, 99.0]) == [1, 2, 0]

"""The goals that were set for how the code reads are met, and stay so."""

from __future__ import annotations

import pytest

from tests import measures


@pytest.mark.parametrize("measure", measures.measures(), ids=lambda measure: measure.what)
def test_goals_are_met(measure):
    assert measure.is_met, f"{measure.what}: {measure.today}, but the goal is {measure.goal} (make measures)"

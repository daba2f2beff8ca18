"""What may be said of a few seeds: against scipy, hand cases, and simulations in which nothing is true."""

from __future__ import annotations

import doctest
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from pause_jax.report import pairs, statistics
from pause_jax.report.statistics import NEEDED, assess_effects, estimate, gaffke_p, holm, mean_p
from tests.report import simulation

# ../shared/TOY_TASK.md: 24 pauses minus none, and minus none at equal FLOPs, by seed
TOY = [-0.027, 0.061, 0.235, 0.309, 0.338, 0.195]
PLAIN = [5.0, 6.0, 5.5, 6.5, 5.2, 6.1, 5.9, 6.2, 5.1, 5.8]

differences = st.lists(st.floats(-100, 100).map(lambda x: round(x, 3)), min_size=2, max_size=14)


@pytest.mark.parametrize("module", [statistics, pairs])
def test_docstrings_are_true(module):
    assert doctest.testmod(module).failed == 0


def test_the_toy_tasks_hand_case():
    (effect,) = assess_effects([TOY])
    assert effect.difference.mean == pytest.approx(0.185, abs=5e-4)
    half = 2.5706 * 0.143 / math.sqrt(6)  # t of 5 degrees of freedom; the file's standard deviation
    assert effect.difference.high - effect.difference.mean == pytest.approx(half, abs=1e-3)
    assert math.isnan(effect.p) and not effect.is_significant
    assert effect.why_not() == "no effect can be claimed from fewer than 10"


@given(differences)
def test_intervals_are_scipys(values):
    wanted = stats.ttest_1samp(values, 0).confidence_interval(0.95) if np.ptp(values) else (values[0], values[0])
    mine = estimate(values)
    assert mine.mean == pytest.approx(np.mean(values), abs=1e-9)
    assert (mine.low, mine.high) == pytest.approx(tuple(wanted), rel=1e-9, abs=1e-9)


def test_intervals_of_percentages_end_where_percentages_do():
    assert estimate([100.0, 100.0, 68.6], statistics.PERCENT).high == 100.0
    assert estimate([0.0, 20.0], statistics.PERCENT).low == 0.0
    assert estimate([50.0, 51.0], statistics.PERCENT) == estimate([50.0, 51.0])


@given(differences)
def test_p_values_are_no_smaller_than_scipys_t_test(values):
    p = mean_p(values)
    if np.ptp(values) <= 1e-9 * np.abs(values).max():
        assert math.isnan(p)
    else:
        assert p >= stats.ttest_1samp(values, 0).pvalue - 1e-9
        assert p == pytest.approx(max(stats.ttest_1samp(values, 0).pvalue, gaffke_p(values)), abs=1e-9)


@given(st.integers(2, 20), st.integers(0, 20), st.floats(0.05, 0.95))
def test_of_two_values_it_is_the_binomial_test(n, bad, p):
    """Of a baseline whose mean is that of 1 with probability p and 0 otherwise; both were seen."""
    bad = min(max(bad, 1), n - 1)
    values = [1 - p] * (n - bad) + [-p] * bad
    sides = [stats.binomtest(n - bad, n, p, side).pvalue for side in ("greater", "less")]
    assert gaffke_p(values) == pytest.approx(min(1.0, 2 * min(sides)), rel=1e-6)


def test_it_is_the_share_of_weights_that_say_otherwise():
    values = np.random.default_rng(3).normal(0.6, 1, 7) + 0.8
    weights = np.random.default_rng(4).dirichlet(np.ones(8), 200_000)
    below = np.mean(weights @ np.append(values, values.min()) <= 0)
    assert gaffke_p(values) == pytest.approx(2 * below, rel=0.05)


@given(differences, st.floats(0.5, 2))
def test_p_values_know_neither_order_nor_direction_nor_scale(values, scale):
    p = pytest.approx(mean_p(values), nan_ok=True)
    assert mean_p(values[::-1]) == p
    assert mean_p([-x for x in values]) == p
    assert mean_p([x * scale for x in values]) == p


def test_holm_by_hand():
    assert holm([]) == []
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.9]) == [1.0, 1.0]


def test_one_seed_has_no_interval_and_no_effect():
    (effect,) = assess_effects([[40.0]])
    assert (effect.difference.mean, effect.difference.n) == (40.0, 1)
    assert math.isnan(effect.difference.low) and math.isnan(effect.p) and not effect.is_significant


@pytest.mark.parametrize("values", [[], [1.0, math.nan], [math.inf]])
def test_values_must_be_finite_numbers(values):
    for function in (estimate, mean_p, gaffke_p):
        with pytest.raises(ValueError, match="one or more finite numbers"):
            function(values)


def test_few_seeds_never_call_and_do_not_count_against_others():
    whole, few, fewer = assess_effects([PLAIN, PLAIN[:9], PLAIN[:3]])
    assert (whole.is_significant, few.is_significant, fewer.is_significant) == (True, False, False)
    assert whole.corrected_p == whole.p and len(PLAIN) == NEEDED
    assert all(
        effect.is_significant for effect in assess_effects([PLAIN] * 40)
    )  # as many for many comparisons as for one


def test_p_is_never_written_as_0():
    (effect,) = assess_effects([PLAIN])
    assert 0 < effect.p < 1e-6
    assert effect.evidence() == ", p < 0.0001"
    assert statistics.format_p(0.00123) == "= 0.0012" and statistics.format_p(1.0) == "= 1"


def test_differences_that_are_all_one_number_have_no_test():
    """All ten runs learned the task, the baseline never varies: of what else may come there is no word."""
    (effect,) = assess_effects([[9.5] * 10])
    assert not effect.is_significant and "all one number" in effect.why_not()


def test_one_seed_that_stands_out_is_no_effect():
    """All signs agree, but the interval reaches beyond 0."""
    (effect,) = assess_effects([[1.0] * 10 + [30.0]])
    assert effect.difference.low < 0 and not effect.is_significant


def allowed(reports):
    """5 % and three standard deviations of what so many reports show of it."""
    return 0.05 + 3 * math.sqrt(0.05 * 0.95 / reports)


@pytest.mark.parametrize("draw", simulation.NO_EFFECT.values(), ids=simulation.NO_EFFECT)
def test_without_a_true_effect_at_most_one_report_in_twenty_calls_one(draw):
    for arms, reports in ((1, 1000), (simulation.SEVERAL, 300)):
        anything, _ = simulation.significant_shares(draw, seeds=NEEDED, arms=arms, reports=reports)
        assert anything <= allowed(reports)


def test_what_the_rule_is_for():
    """The control: signs alone, and p values that are not corrected, err more often than that on the same reports."""
    draw = simulation.two_valued(0.75)
    seen = draw(np.random.default_rng(1), (2000, 6))
    assert np.mean((seen > 0).all(axis=1)) > 0.15  # of which a test of signs says p = 0.03
    several = simulation.spreads(5, 5)(np.random.default_rng(1), (300, simulation.SEVERAL, NEEDED))
    assert np.mean([any(mean_p(row) <= 0.05 for row in report) for report in several]) > 0.12
    assert simulation.one_run_taken_for_many(reports=500) > 0.5


def test_a_true_effect_is_called():
    power = [
        simulation.significant_shares(simulation.spreads(5, 5), seeds=NEEDED, arms=1, reports=400, shift=5.0 * size)[1]
        for size in (1, 2, 3)
    ]
    assert power == [pytest.approx(0.49, abs=0.09), pytest.approx(0.97, abs=0.03), pytest.approx(1, abs=0.01)]

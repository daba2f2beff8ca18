"""What may be said of a few seeds: against scipy, hand cases, and simulations in which nothing is true."""

from __future__ import annotations

import doctest
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from pause_jax.reporting import statistics
from pause_jax.reporting.statistics import call_effects, estimate, holm, seeds_needed, sign_flip_p

# ../shared/TOY_TASK.md: 24 pauses minus none, and minus none at equal FLOPs, by seed
TOY = [-0.027, 0.061, 0.235, 0.309, 0.338, 0.195]
TOY_EQUAL_FLOPS = [-0.095, -0.014, 0.165, 0.116, 0.146, 0.041]

differences = st.lists(st.floats(-100, 100).map(lambda x: round(x, 3)), min_size=2, max_size=9)


def test_docstrings_are_true():
    assert doctest.testmod(statistics).failed == 0


def test_the_toy_tasks_hand_case():
    first, second = call_effects([TOY, TOY_EQUAL_FLOPS])
    assert first.difference.mean == pytest.approx(0.185, abs=5e-4)
    half = 2.5706 * 0.143 / math.sqrt(6)  # t of 5 degrees of freedom; the file's standard deviation
    assert first.difference.high - first.difference.mean == pytest.approx(half, abs=1e-3)
    assert (first.p, second.p) == (0.0625, 0.1875)
    assert (first.corrected_p, second.corrected_p) == (0.125, 0.1875)
    assert second.difference.mean == pytest.approx(0.060, abs=5e-4)
    assert not first.found and not second.found


@given(differences)
def test_intervals_are_scipys(values):
    wanted = stats.ttest_1samp(values, 0).confidence_interval(0.95) if np.ptp(values) else (values[0], values[0])
    mine = estimate(values)
    assert mine.mean == pytest.approx(np.mean(values), abs=1e-9)
    assert (mine.low, mine.high) == pytest.approx(tuple(wanted), rel=1e-9, abs=1e-9)


@given(differences)
def test_p_values_are_scipys(values):
    def mean(x, axis):
        return np.mean(x, axis=axis)

    wanted = stats.permutation_test((values,), mean, permutation_type="samples", n_resamples=math.inf)
    assert sign_flip_p(values) == pytest.approx(wanted.pvalue, abs=1e-12)


@given(differences, st.floats(0.5, 2))
def test_p_values_know_neither_order_nor_direction_nor_scale(values, scale):
    p = sign_flip_p(values)
    assert 2.0 ** (1 - len(values)) <= p <= 1
    assert sign_flip_p(values[::-1]) == pytest.approx(p)
    assert sign_flip_p([-x for x in values]) == p
    assert sign_flip_p([x * scale for x in values]) == pytest.approx(p)


def test_many_seeds_are_drawn_at_random_and_alike_each_time():
    values = list(np.random.default_rng(1).normal(0.35, 1, size=30))
    wanted = stats.ttest_1samp(values, 0).pvalue
    assert sign_flip_p(values) == sign_flip_p(values) == pytest.approx(wanted, rel=0.15)
    assert sign_flip_p([1.0] * 30) == pytest.approx(1 / 100_001)  # never 0


def test_holm_by_hand():
    assert holm([]) == []
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.9]) == [1.0, 1.0]


def test_one_seed_has_no_interval_and_no_effect():
    (effect,) = call_effects([[40.0]])
    assert (effect.difference.mean, effect.difference.n, effect.p) == (40.0, 1, 1.0)
    assert math.isnan(effect.difference.low) and not effect.found


@pytest.mark.parametrize("values", [[], [1.0, math.nan], [math.inf]])
def test_values_must_be_finite_numbers(values):
    for function in (estimate, sign_flip_p):
        with pytest.raises(ValueError, match="one or more finite numbers"):
            function(values)


def test_few_seeds_never_call_and_do_not_count_against_others():
    plain = [5.0, 6.0, 5.5, 6.5, 5.2, 6.1]
    assert [effect.found for effect in call_effects([plain, plain[:5], plain[:3]])] == [True, False, False]
    assert not any(effect.found for effect in call_effects([plain, plain]))  # two take 7 seeds


def test_one_seed_that_stands_out_is_no_effect():
    """All signs agree, so p is small; but the interval reaches beyond 0."""
    (effect,) = call_effects([[1.0] * 8 + [30.0]])
    assert effect.p == effect.corrected_p == 2 / 2**9
    assert effect.difference.low < 0 and not effect.found


@pytest.mark.parametrize("comparisons", [1, 2, 3, 10])
def test_seeds_needed_is_the_fewest(comparisons):
    needed = seeds_needed(comparisons)
    for seeds, found in ((needed, True), (needed - 1, False)):
        none = [[1.0 + i, -1.0 - i] * (seeds // 2) + [0.5] * (seeds % 2) for i in range(comparisons - 1)]
        effect, *_ = call_effects([[5.0 + 0.1 * s for s in range(seeds)], *none])
        assert effect.found is found


# Accuracies of runs in which pauses change nothing; like the toy task's, they need not be normal.
NULLS = {
    "normal": lambda rng, shape: rng.normal(70, 5, shape),
    "two-valued": lambda rng, shape: np.where(rng.random(shape) < 0.3, 100.0, 75 + rng.normal(0, 0.1, shape)),
    "skewed": lambda rng, shape: 100 - rng.exponential(5, shape),
    "seeds differ": lambda rng, shape: rng.normal(70, 10, (*shape[:2], 1)) + rng.standard_t(2, shape),
}
REPORTS = 1500
# 5 % and three standard deviations of what so many reports show of it
AT_MOST = 0.05 + 3 * math.sqrt(0.05 * 0.95 / REPORTS)


def simulate(null, *, arms, seeds):
    """[report, arm, seed]: differences from one base, which all arms of a report share."""
    values = NULLS[null](np.random.default_rng(7), (REPORTS, seeds, arms + 1))
    return np.moveaxis(values[..., 1:] - values[..., :1], 2, 1)


@pytest.mark.parametrize("null", NULLS)
@pytest.mark.parametrize(("arms", "seeds"), [(1, 6), (1, 9), (4, 9)])
def test_without_a_true_effect_at_most_one_report_in_twenty_calls_one(null, arms, seeds):
    reports = simulate(null, arms=arms, seeds=seeds)
    called = np.mean([any(effect.found for effect in call_effects(report)) for report in reports])
    assert called <= AT_MOST
    # the control: called one by one, without correction, four comparisons err more often than that
    naive = np.mean([any(sign_flip_p(differences) <= 0.05 for differences in report) for report in reports])
    assert (naive > AT_MOST) == (arms == 4)


def test_a_large_true_effect_is_called():
    reports = simulate("normal", arms=4, seeds=9)[:200] + np.array([15.0, 0, 0, 0])[:, None]
    found = np.mean([call_effects(report)[0].found for report in reports])
    assert found > 0.8

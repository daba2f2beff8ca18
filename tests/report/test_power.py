"""How many seeds a verdict takes: against tables, exact sums and simulated reports."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from pause_jax.report import power as powers
from pause_jax.report.power import MOST, Plan, plan, power
from pause_jax.report.statistics import NEEDED, assess_effects, gaffke_p, mean_p

SHAPE = np.array([-1.3, -0.9, -0.2, 0.1, 0.8, 1.5])


def seen(mean, deviation=1.0, shape=SHAPE):
    """Differences of exactly this mean and deviation."""
    return list(mean + deviation * (shape - shape.mean()) / shape.std(ddof=1))


def test_student_alone_is_what_tables_of_power_say():
    """A difference of one standard deviation is found by ten in 80.3 % (noncentral t); the report's rule finds less."""
    n, shift = 10, math.sqrt(10)
    table = stats.nct.sf(stats.t.ppf(0.975, n - 1), n - 1, shift)
    assert table == pytest.approx(0.803, abs=5e-4)
    normal, _ = powers._repetitions(seen(1.0))
    student = (powers._student_p(normal[:, :n]) <= 0.05).mean()
    assert student == pytest.approx(table, abs=3 * math.sqrt(0.8 * 0.2 / powers.DRAWS))
    assert power(seen(1.0), n) < student


def test_two_values_are_an_exact_sum():
    """Of ten, each +10 with probability 0.8 and else -20: how many losses the rule takes, and how often there are more.

    Seen as 8 of 10; stretched about their mean of 4 by the root of 10/9, so that the deviation is unbiased.
    """
    stretch = math.sqrt(10 / 9)
    high, low = 4 + 6 * stretch, 4 - 24 * stretch
    exact = 0.0
    for losses in range(1, 20):
        row = [low] * losses + [high] * (20 - losses)
        if np.mean(row) > 0 and mean_p(row) <= 0.05:
            exact += stats.binom.pmf(losses, 20, 0.2)
    draws = powers._repetitions([10.0] * 8 + [-20.0] * 2)
    assert 0.1 < exact < 0.6
    error = 3 * math.sqrt(exact * (1 - exact) / powers.DRAWS)
    assert powers._power(draws[1:], 20, 0.05) == pytest.approx(exact, abs=error)


@pytest.mark.parametrize(("mean", "units", "comparisons"), [(1.0, 10, 1), (0.6, 24, 1), (1.0, 18, 8)])
def test_power_is_how_often_simulated_reports_find_it(mean, units, comparisons):
    """Reports of normal differences, of which only the first has a true mean: Holm takes 0.05 over all for it."""
    rng, reports = np.random.default_rng(7), 400
    rows = rng.normal(size=(reports, comparisons, units))
    rows[:, 0] += mean
    found = np.mean([assess_effects(list(report))[0].is_significant for report in rows])
    wanted = powers._power(powers._repetitions(seen(mean))[:1], units, 0.05 / comparisons)
    assert wanted == pytest.approx(found, abs=3 * math.sqrt(0.25 / reports + 0.25 / powers.DRAWS))
    assert power(seen(mean), units, comparisons) <= wanted


def test_a_plan_is_the_first_number_of_units_that_is_enough():
    for mean, comparisons in ((1.0, 1), (0.7, 1), (1.0, 8)):
        found = plan(seen(mean), comparisons)
        assert NEEDED < found.units < MOST
        assert power(seen(mean), found.units, comparisons) == found.power >= powers.WANTED
        assert power(seen(mean), found.units - 1, comparisons) < powers.WANTED
    assert plan(seen(3.0)).units == NEEDED and power(seen(3.0), NEEDED - 1) == 0
    hopeless = plan(seen(0.1))
    assert hopeless.units is None and math.isnan(hopeless.power)


def test_more_comparisons_and_more_spread_take_more_units_and_sign_and_scale_none():
    units = [plan(seen(1.0), comparisons).units for comparisons in (1, 2, 4, 8)]
    assert units == sorted(units) and units[0] < units[-1]
    assert plan(seen(1.0, 1.3)).units > plan(seen(1.0)).units
    assert plan([-x for x in seen(1.0)]) == plan(seen(1.0))
    assert plan([100 * x for x in seen(1.0)]).units == plan(seen(1.0)).units


@pytest.mark.parametrize("differences", [[3.0], [2.0, 2.0, 2.0], [1.0, -1.0], [0.0, 0.0]])
def test_without_a_mean_and_a_spread_there_is_no_plan(differences):
    assert plan(differences) is None and math.isnan(power(differences, 10))


def test_many_units_at_once_are_a_mistake():
    with pytest.raises(ValueError, match="up to 50 units, not 51"):
        power(seen(1.0), MOST + 1)


def test_gaffkes_p_of_many_rows_is_that_of_each():
    rng = np.random.default_rng(3)
    rows = np.concatenate([rng.normal(0.4, 1, (40, 11)), rng.choice([-2.0, 0.0, 1.0], (40, 11))])
    rows = rows[(rows > 0).any(axis=1) & (rows.mean(axis=1) > 0)]
    each = [min(1.0, 2 * _one_sided(row)) for row in rows]
    assert powers._gaffke_p(rows) == pytest.approx(each, abs=1e-12)
    called = [p <= 0.05 for p in each]
    assert 5 < sum(called) < len(rows) and called == [gaffke_p(row) <= 0.05 for row in rows]


def _one_sided(row):
    from pause_jax.report.statistics import _at_most_zero

    return _at_most_zero(np.asarray(row))


def test_the_plan_of_a_sweep_by_hand():
    """Six seeds that all gained about 43 points: ten seeds, the fewest that may be called, find it every time."""
    assert plan([42.21, 43.09, 43.33, 43.6, 43.92, 43.92], 4) == Plan(NEEDED, 1.0)

"""How many seeds a difference takes to be significant by the report's own rule (statistics.py): its power.

What is planned by are the differences of the seeds that are there: their mean stands for the true difference, their
standard deviation for the spread of seeds. From a few seeds neither is known well, so a plan says what it takes if the
true difference is the one seen, and no more. Repetitions are drawn in two ways, and the smaller power counts:

1. from the normal distribution of that mean and deviation, and
2. from the differences themselves, spread about their mean so that they have that deviation, as accuracies are often
   close to two-valued.

Several comparisons are corrected as strictly as Holm's method ever is: p must be at most 0.05 over their number.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Sequence

import numpy as np

from pause_jax.report.statistics import LEVEL, NEEDED, ends_first

WANTED = 0.8  # the power that a plan gives, as is usual
MOST = 50  # units up to which a plan is looked for: beyond, time grows with their cube
DRAWS = 1000  # repetitions: a power of 0.8 is known to 0.013


@dataclasses.dataclass(frozen=True)
class Plan:
    """The fewest units with which a difference like the one seen is found often enough."""

    units: int | None  # in all, those that are there included; None: more than `MOST`
    power: float  # with so many; nan where units is None


def plan(differences: Sequence[float], comparisons: int = 1) -> Plan | None:
    """The fewest units, `NEEDED` or more, that find the mean difference with a power of `WANTED`.

    Args:
      differences: of the units that are there, all finite, in the unit of the metric.
      comparisons: how many the report corrects for.

    Returns:
      None where there is nothing to plan by: fewer than two units, a mean of 0, or differences that are all one number.
    """
    return _plan(tuple(differences), comparisons)


@functools.cache  # a page and its print ask for the same, and it can take a second
def _plan(differences: tuple[float, ...], comparisons: int) -> Plan | None:
    draws = _repetitions(differences)
    if draws is None:
        return None
    level = (1 - LEVEL) / comparisons
    # Student's test alone is quick, and needs no more units than the larger of both p values.
    least = _fewest(lambda n: min(float((_student_p(x[:, :n]) <= level).mean()) for x in draws), NEEDED)
    units = None if least is None else _fewest(lambda n: _power(draws, n, level), least)
    return Plan(units, _power(draws, units, level) if units else math.nan)


def power(differences: Sequence[float], units: int, comparisons: int = 1) -> float:
    """The probability of finding a difference of this mean and spread, with its sign, with so many units.

    0 for fewer units than `NEEDED`, which find nothing; nan where there is nothing to compute it by (see `plan`).

    Args:
      differences: of the units that are there, all finite.
      units: in all, at most `MOST`.
      comparisons: how many the report corrects for.

    Raises:
      ValueError: more units than `MOST`.
    """
    if units > MOST:
        raise ValueError(f"power is computed for up to {MOST} units, not {units}")
    draws = _repetitions(differences)
    return math.nan if draws is None else _power(draws, units, (1 - LEVEL) / comparisons)


def _repetitions(differences: Sequence[float]) -> list[np.ndarray] | None:
    """Made-up differences, repetitions × `MOST` units, drawn in both ways; their true mean is positive."""
    x = np.asarray(differences, np.float64)
    if len(x) < 2 or float(np.ptp(x)) <= 1e-9 * float(np.abs(x).max()) or not x.mean():
        return None
    x = x * math.copysign(1 / float(np.abs(x).max()), x.mean())
    deviation, rng = x.std(ddof=1), np.random.default_rng(0)  # the same draws for any number of units: power then rises
    seen = x.mean() + (x - x.mean()) * math.sqrt(len(x) / (len(x) - 1))
    return [rng.normal(x.mean(), deviation, (DRAWS, MOST)), seen[rng.integers(len(seen), size=(DRAWS, MOST))]]


def _power(draws: Sequence[np.ndarray], units: int, level: float) -> float:
    if units < NEEDED:
        return 0.0
    shares = []
    for draw in draws:
        x = draw[:, :units]
        x = x[_student_p(x) <= level]  # the others are not significant, whatever Gaffke's says
        shares.append(float((_gaffke_p(x) <= level).sum()) / len(draw))
    return min(shares)


def _student_p(x: np.ndarray) -> np.ndarray:
    """Of each row the two-sided p value of a positive mean; 1 where the mean is not, or the row is all one number."""
    from scipy import special

    mean, deviation, n = x.mean(axis=1), x.std(axis=1, ddof=1), x.shape[1]
    is_tested = (mean > 0) & (np.ptp(x, axis=1) > 1e-9 * np.abs(x).max(axis=1))
    t = mean[is_tested] * math.sqrt(n) / deviation[is_tested]
    p = np.ones(len(x))
    p[is_tested] = 2 * special.stdtr(n - 1, -t)
    return p


def _gaffke_p(x: np.ndarray) -> np.ndarray:
    """Of each row Gaffke's two-sided p value of a positive mean, as `statistics.gaffke_p` has it."""
    x = np.sort(x, axis=1)
    p = np.zeros(len(x))  # where no difference is negative
    counts = np.stack([(x < 0).sum(axis=1), (x > 0).sum(axis=1)], axis=1)
    for losses, gains in np.unique(counts, axis=0).tolist():
        if losses:
            rows = (counts == (losses, gains)).all(axis=1)
            columns = list(x[rows].T)
            lost = [-column for column in (*columns[:losses], columns[0])]
            p[rows] = np.minimum(1.0, 2 * ends_first(columns[len(columns) - gains :], lost))
    return p


def _fewest(power_of: Callable[[int], float], least: int) -> int | None:
    """The fewest units, from `least` to `MOST`, of a power of `WANTED`, which rises with units; None: none has it."""
    step, low = 1, least - 1  # too few
    while (high := min(low + step, MOST)) < MOST and power_of(high) < WANTED:
        low, step = high, 2 * step
    if high == MOST and (low == MOST or power_of(MOST) < WANTED):
        return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if power_of(middle) >= WANTED else (middle, high)
    return high

"""What a few seeds allow to be said: intervals, paired differences, and when an effect may be called one.

The rule (`call_effects`): an effect is called where, over the seeds that both arms have,

1. the exact sign-flip p value, corrected by Holm's method for all comparisons of the report, is at most 0.05, and
2. the 95 % t interval of the mean difference leaves out 0.

If pauses change nothing, the two runs of a seed could be swapped, so the sign of their difference is a fair coin,
whatever the distribution: accuracies that are close to two-valued, as the toy task's, break a t test and not this one.
p is at least 2^(1 - n), so fewer than 6 seeds can never call an effect (5 give 0.0625); such comparisons are therefore
left out of the correction too.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Sequence

import numpy as np

LEVEL = 0.95  # of intervals; an effect is called falsely in at most 1 - LEVEL of reports
_EXACT_SEEDS = 20  # up to here every one of the 2^n sign patterns is looked at
_RANDOM_PATTERNS = 100_000


@dataclasses.dataclass(frozen=True)
class Estimate:
    """A mean over seeds and its t interval; `low` and `high` are nan where a single seed gives no interval."""

    mean: float
    low: float
    high: float
    n: int


@dataclasses.dataclass(frozen=True)
class Effect:
    """A paired difference and what may be said of it."""

    difference: Estimate
    p: float  # exact, two-sided, of this comparison alone
    corrected_p: float  # by Holm, for all comparisons of the report; 1 where there are too few seeds
    found: bool


def estimate(values: Sequence[float]) -> Estimate:
    """Mean and 95 % t interval of independent values, one or more, all finite.

    >>> e = estimate([1.0, 2.0, 3.0])
    >>> round(e.mean, 3), round(e.low, 3), round(e.high, 3), e.n
    (2.0, -0.484, 4.484, 3)
    """
    x = _finite(values)
    mean, n = float(x.mean()), len(x)
    if n == 1:
        return Estimate(mean, math.nan, math.nan, 1)
    half = _t_quantile(n - 1) * float(x.std(ddof=1)) / math.sqrt(n)
    return Estimate(mean, mean - half, mean + half, n)


def sign_flip_p(differences: Sequence[float]) -> float:
    """Two-sided p value: the share of sign patterns whose mean is as far from 0 as the observed one, or farther.

    Exact up to 20 differences; beyond, of 100,000 random patterns (always the same ones), the observed one included.

    >>> sign_flip_p([1.0, 2.0, 3.0])  # of +++ ++- +-+ +-- and their opposites, +++ and ---
    0.25
    """
    x = np.abs(_finite(differences))
    observed = abs(float(np.sum(differences)))
    if len(x) <= _EXACT_SEEDS:
        sums = x[:1]  # the first sign may stay: turning all of them round changes nothing
        for value in x[1:]:
            sums = np.concatenate([sums + value, sums - value])
    else:
        signs = np.random.default_rng(0).choice([-1.0, 1.0], size=(_RANDOM_PATTERNS, len(x)))
        sums = np.append(signs @ x, observed)
    as_far = np.abs(sums) >= observed - 1e-9 * float(x.sum())  # equal sums, added in another order, count as equal
    return float(np.mean(as_far))


def holm(p_values: Sequence[float]) -> list[float]:
    """p values corrected for being several: calling those of at most a, errs with probability a or less.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    corrected, largest = [0.0] * len(p_values), 0.0
    for rank, i in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[i]))
        corrected[i] = largest
    return corrected


def call_effects(comparisons: Sequence[Sequence[float]]) -> list[Effect]:
    """Decide for all comparisons of one report together; the module's docstring has the rule.

    Args:
      comparisons: for each, the differences by seed, one or more, all finite.
    """
    p = [sign_flip_p(differences) for differences in comparisons]
    callable_ = [i for i, differences in enumerate(comparisons) if len(differences) >= seeds_needed(1)]
    corrected = dict(zip(callable_, holm([p[i] for i in callable_]), strict=True))
    effects = []
    for i, differences in enumerate(comparisons):
        difference, corrected_p = estimate(differences), corrected.get(i, 1.0)
        without_zero = difference.low > 0 or difference.high < 0
        found = corrected_p <= 1 - LEVEL + 1e-12 and without_zero
        effects.append(Effect(difference=difference, p=p[i], corrected_p=corrected_p, found=found))
    return effects


def format_p(p: float) -> str:
    """`0.062`, `1`: two digits, never 0."""
    return f"{p:.2g}"


def seeds_needed(comparisons: int) -> int:
    """The fewest seeds with which one of so many comparisons could be called an effect.

    >>> seeds_needed(1), seeds_needed(3)
    (6, 7)
    """
    return math.ceil(1 + math.log2(comparisons / (1 - LEVEL)) - 1e-9)


def _finite(values: Sequence[float]) -> np.ndarray:
    x = np.asarray(values, dtype=np.float64)
    if x.ndim != 1 or len(x) == 0 or not np.isfinite(x).all():
        raise ValueError(f"one or more finite numbers are wanted, not {values!r}")
    return x


@functools.cache
def _t_quantile(degrees_of_freedom: int) -> float:
    from scipy import stats  # half a second to import

    return float(stats.t.ppf((1 + LEVEL) / 2, degrees_of_freedom))

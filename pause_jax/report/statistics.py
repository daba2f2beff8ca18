"""Statistics of a few seeds: intervals, paired differences, and when an effect is significant.

The rule (`assess_effects`): an effect is significant where there are `NEEDED` seeds or more (pairs.py says when
pretraining runs take their place), their differences are not all the same number, and the p value, corrected by Holm's
method for all comparisons of the report, is at most 0.05. The p value is the larger of two, both of the hypothesis that
the mean is 0:

1. Student's t test, which holds for differences that are normal, and
2. Gaffke's test, which for two-valued differences is the exact binomial one (`gaffke_p`), and holds where they are
   skew.

Accuracies are often close to two-valued: a run learns the task or does not. A sign test does not test the mean then:
of arms with equal means it finds one in eight significant (docs/statistics.md has the simulation). No test of means
holds against an outcome that no seed has shown: what one run in four does stays unseen in ten seeds with probability
0.06.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Sequence

import numpy as np

LEVEL = 0.95  # of intervals; an effect is falsely significant in at most 1 - LEVEL of reports
NEEDED = 10  # seeds, or pretraining runs, that both arms must have; with fewer no effect is claimed
PERCENT = (0.0, 100.0)


@dataclasses.dataclass(frozen=True)
class Estimate:
    """A mean over units and its t interval; `low` and `high` are nan where a single unit gives no interval."""

    mean: float
    low: float
    high: float
    n: int
    unit: str = "seed"  # what there are n of


@dataclasses.dataclass(frozen=True)
class Effect:
    """A paired difference, its p values, and whether it is significant."""

    difference: Estimate
    p: float  # two-sided, of this comparison alone; nan where it was not tested
    corrected_p: float  # by Holm, for all comparisons of the report that were tested
    is_significant: bool

    def evidence(self) -> str:
        """`, p = 0.002 (0.0039 corrected)`; "" where nothing was tested."""
        if math.isnan(self.p):
            return ""
        corrected = (
            f" ({format_p(self.corrected_p).removeprefix('= ')} corrected)" if self.corrected_p != self.p else ""
        )
        return f", p {format_p(self.p)}{corrected}"

    def why_not(self) -> str:
        """Why it is not significant."""
        if self.difference.n == 1:
            return f"no interval, no effect can be claimed from fewer than {NEEDED}"
        if self.difference.n < NEEDED:
            return f"no effect can be claimed from fewer than {NEEDED}"
        if math.isnan(self.p):
            return "no effect can be claimed of differences that are all one number, which leaves nothing to test by"
        return "no effect can be claimed"


def estimate(values: Sequence[float], bounds: tuple[float, float] | None = None, unit: str = "seed") -> Estimate:
    """Mean and 95 % t interval of independent values, one or more, all finite.

    Args:
      bounds: the least and greatest possible mean: the interval ends there.

    >>> e = estimate([1.0, 2.0, 3.0])
    >>> round(e.mean, 3), round(e.low, 3), round(e.high, 3), e.n
    (2.0, -0.484, 4.484, 3)
    """
    x = _finite(values)
    mean, n = float(x.mean()), len(x)
    if n == 1:
        return Estimate(mean, math.nan, math.nan, 1, unit)
    half = _t_quantile(n - 1) * float(x.std(ddof=1)) / math.sqrt(n)
    low, high = mean - half, mean + half
    if bounds is not None:
        low, high = max(low, bounds[0]), min(high, bounds[1])
    return Estimate(mean, low, high, n, unit)


def mean_p(differences: Sequence[float]) -> float:
    """Two-sided p value of the hypothesis that the mean is 0: the larger of Student's and Gaffke's.

    nan where it cannot be tested: for a single difference, or differences that are all the same number.

    >>> round(mean_p([1.0, 2.0, 3.0]), 3), mean_p([2.0, 2.0])
    (0.074, nan)
    """
    x = _finite(differences)
    scale = float(np.abs(x).max())
    if len(x) < 2 or float(np.ptp(x)) <= 1e-9 * scale:
        return math.nan
    from scipy import special

    x = x / scale
    t = float(x.mean()) * math.sqrt(len(x)) / float(x.std(ddof=1))
    return max(2 * float(special.stdtr(len(x) - 1, -abs(t))), gaffke_p(differences))


def gaffke_p(differences: Sequence[float]) -> float:
    """Two-sided p value of Gaffke's test of a mean of 0, bounded by the lowest and the highest observed difference.

    Against "0 or less" it is the probability that a weighted mean of the differences, and of one more that equals the
    lowest, is 0 or less, for weights drawn uniformly from all that sum to 1 (Gaffke, 2005; Learned-Miller & Thomas,
    2019). For two values it is the binomial test:

    >>> from scipy import stats
    >>> gains = [9.5] * 11 + [-28.5]  # 100 % in eleven of twelve runs and 62 % in one, against 90.5 %
    >>> math.isclose(gaffke_p(gains), 2 * stats.binomtest(11, 12, 0.75, "greater").pvalue)
    True
    """
    x = _finite(differences)
    return min(1.0, 2 * min(_at_most_zero(x), _at_most_zero(-x)))


def holm(p_values: Sequence[float]) -> list[float]:
    """p values corrected by Holm's method: those of at most a contain a false positive with probability at most a.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    corrected, largest = [0.0] * len(p_values), 0.0
    for rank, i in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[i]))
        corrected[i] = largest
    return corrected


def assess_effects(comparisons: Sequence[Sequence[float]], units: Sequence[str] | None = None) -> list[Effect]:
    """Decide for all comparisons of one report together; the module's docstring has the rule.

    Args:
      comparisons: for each, the differences by unit, one or more, all finite.
      units: of each comparison, in words; None: seeds.
    """
    units = units or ["seed"] * len(comparisons)
    p = [mean_p(differences) if len(differences) >= NEEDED else math.nan for differences in comparisons]
    tested = [i for i, value in enumerate(p) if not math.isnan(value)]
    corrected = dict(zip(tested, holm([p[i] for i in tested]), strict=True))
    effects = []
    for i, (differences, unit) in enumerate(zip(comparisons, units, strict=True)):
        corrected_p = corrected.get(i, math.nan)
        significant = corrected_p <= 1 - LEVEL + 1e-12
        effects.append(
            Effect(estimate(differences, unit=unit), p=p[i], corrected_p=corrected_p, is_significant=significant)
        )
    return effects


def counted(estimate: Estimate) -> str:
    """`10 seeds`, `1 pretraining run`."""
    return f"{estimate.n} {estimate.unit}{'s' * (estimate.n > 1)}"


def format_p(p: float) -> str:
    """`= 0.062`, `= 1`, `< 0.0001`: two digits, never 0.

    >>> format_p(0.0617), format_p(0.0)
    ('= 0.062', '< 0.0001')
    """
    return "< 0.0001" if p < 1e-4 else f"= {p:.2g}"


def _at_most_zero(x: np.ndarray) -> float:
    """Gaffke's p value against "0 or less".

    Uniform weights are exponential waiting times over their sum. So the weighted mean is 0 or less where the positive
    differences, each times its own waiting time, sum to no more than the negative ones. Picture both sums as stretches
    of time, one after the other, that start together: the positive sum must end first. A stretch of mean a ends before
    one of mean b with probability b / (a + b), and the rest of b is then distributed like b.
    """
    values = [*x.tolist(), float(x.min())]
    return ends_first([value for value in values if value > 0], [-value for value in values if value < 0])


def ends_first[T: (float, np.ndarray)](gains: Sequence[T], losses: Sequence[T]) -> T | float:
    """The probability that one sum of exponential waiting times is no more than another one.

    Args:
      gains: means of the times in the one sum, all positive; numbers, or arrays of one shape for several cases at once.
      losses: those of the other sum.

    >>> ends_first([1.0], [3.0]), ends_first([], [3.0]), ends_first([1.0], [])
    (0.75, 1.0, 0.0)
    """
    now: list[T | float] = [1.0] * (len(losses) + 1)  # no gain left: that sum has ended
    for gain in gains:
        after: list[T | float] = [0.0] * (len(losses) + 1)  # no loss left: the other has
        for j, loss in reversed(list(enumerate(losses))):
            after[j] = (loss * now[j] + gain * after[j + 1]) / (gain + loss)
        now = after
    return now[0]


def _finite(values: Sequence[float]) -> np.ndarray:
    x = np.asarray(values, dtype=np.float64)
    if x.ndim != 1 or len(x) == 0 or not np.isfinite(x).all():
        raise ValueError(f"one or more finite numbers are wanted, not {values!r}")
    return x


@functools.cache
def _t_quantile(degrees_of_freedom: int) -> float:
    from scipy import special  # scipy.stats takes half a second to import

    return float(special.stdtrit(degrees_of_freedom, (1 + LEVEL) / 2))

"""How often an effect is significant by the report's rule, where there is none and where there is one.

docs/statistics.md has this:

    python -m tests.report.simulation

Each row is so many made-up reports. Values are accuracies of runs in percent; all comparisons of a report are decided
together, as `assess_effects` does for a report.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator

import numpy as np

from pause_jax.report.pairs import averages
from pause_jax.report.statistics import NEEDED, assess_effects

REPORTS = 2000
SEEDS = (NEEDED, 16)
SEVERAL = 8
LOW, HIGH = 62.0, 100.0  # of a task that is learned or not

Draw = Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]


def two_valued(p: float, noise: float = 0.0) -> Draw:
    """Differences of an arm that learns the task with probability p from a baseline that always has the arm's mean."""

    def draw(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        values = np.where(rng.random(shape) < p, HIGH, LOW) - (LOW + (HIGH - LOW) * p)
        return values + noise * rng.normal(size=shape)

    return draw


def spreads(baseline: float, arm: float) -> Draw:
    """Differences of normal runs; of several arms each has the same baseline."""

    def draw(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        reports, _, seeds = shape
        return arm * rng.normal(size=shape) - baseline * rng.normal(size=(reports, 1, seeds))

    return draw


def nested(finetunings: int, pretraining: float = 2.0, finetuning: float = 1.0) -> Draw:
    """Means over the finetunings of each pretraining run: arms differ by luck in pretraining and in finetuning."""

    def draw(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        def arm() -> np.ndarray:
            luck = pretraining * rng.normal(size=(*shape, 1))
            return np.asarray(luck + finetuning * rng.normal(size=(*shape, finetunings)))

        return np.asarray((arm() - arm()).mean(axis=-1))

    return draw


NO_EFFECT: dict[str, Draw] = {
    "normal, equal spreads": spreads(5, 5),
    "normal, spreads of 1 and 10": spreads(1, 10),
    "pretraining luck of 2, finetuning noise of 1, 1 finetuning a run": nested(1),
    "the same, 4 finetunings a run": nested(4),
    **{f"62 or 100 (probability {p:g}) against its mean": two_valued(p) for p in (0.5, 0.6, 0.67, 0.7, 0.75, 0.8, 0.9)},
}
BEYOND_ANY_TEST: dict[str, Draw] = {
    f"62 or 100 (probability {p:g}) against its mean, each run ± 0.7": two_valued(p, 0.7) for p in (0.6, 0.75, 0.9)
}


def significant_shares(
    draw: Draw, *, seeds: int, arms: int, reports: int = REPORTS, shift: float = 0.0
) -> tuple[float, float]:
    """Of so many reports, the share with a significant effect, and the share where the first arm's is.

    Args:
      shift: a true effect of the first arm.
    """
    differences = draw(np.random.default_rng(1), (reports, arms, seeds))
    differences[:, 0] += shift
    found = np.array([[effect.is_significant for effect in assess_effects(report)] for report in differences])
    return float(found.any(axis=1).mean()), float(found[:, 0].mean())


def one_run_taken_for_many(seeds: int = 8, reports: int = REPORTS) -> float:
    """The share of significant effects if the finetunings of one pretraining run an arm were taken for independent."""
    rng = np.random.default_rng(2)
    luck = 2 * np.diff(rng.normal(size=(reports, 2)), axis=1)
    differences = luck + np.sqrt(2) * rng.normal(size=(reports, seeds))
    half = 2.365 * differences.std(axis=1, ddof=1) / np.sqrt(seeds)  # t of 7 degrees of freedom
    as_one = [averages([frozenset(["run"])] * seeds, list(row)) for row in differences]
    assert not any(effect.is_significant for row in as_one for effect in assess_effects([row]))
    return float(np.mean(np.abs(differences.mean(axis=1)) > half))


def table() -> Iterator[str]:
    """Lines of Markdown."""
    columns = [f"{seeds} seeds, {arms} comparison{'s' * (arms > 1)}" for seeds in SEEDS for arms in (1, SEVERAL)]
    settings = [(seeds, arms) for seeds in SEEDS for arms in (1, SEVERAL)]
    for title, draws in (("no true effect", NO_EFFECT), ("no true effect, but no test can hold", BEYOND_ANY_TEST)):
        yield f"| {title} | {' | '.join(columns)} |"
        yield f"|---{'|---' * len(columns)}|"
        for name, draw in draws.items():
            shares = [significant_shares(draw, seeds=seeds, arms=arms)[0] for seeds, arms in settings]
            yield f"| {name} | {' | '.join(f'{100 * share:.1f}' for share in shares)} |"
        yield ""
    yield f"| true effect, in standard deviations of a run | {' | '.join(columns)} |"
    yield f"|---{'|---' * len(columns)}|"
    for size in (1, 2, 3):
        shares = [
            significant_shares(spreads(5, 5), seeds=seeds, arms=arms, shift=5.0 * size)[1] for seeds, arms in settings
        ]
        yield f"| {size} | {' | '.join(f'{100 * share:.0f}' for share in shares)} |"
    yield ""
    share = one_run_taken_for_many()
    yield f"One pretraining run an arm, eight finetunings taken for independent: {100 * share:.0f} % of reports err."


if __name__ == "__main__":
    sys.stdout.writelines(f"{line}\n" for line in table())

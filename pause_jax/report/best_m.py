"""The best number of pauses: chosen on the validation split, reported on test, with how stable the selection is.

candidates  the arms of a panel that differ only in M (finetuned with it and evaluated at it), no pauses among them
selection   the M whose mean on the validation split is highest; of equals the smallest

The runs that are chosen by validation are those that are tested, so a run that is good by chance is good on both. So
the chosen M's effect is significant only by a p value that is corrected for every M that could have been chosen.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence

import numpy as np

from pause_jax.report.panels import Arm, Cell, Panel, families, family_title
from pause_jax.report.statistics import Effect, Estimate, counted, format_p

DRAWS = 2000  # of the bootstrap


@dataclasses.dataclass(frozen=True)
class Candidates:
    """The cells to choose among, by their M: those of the test panel and of its validation panel."""

    panel: Panel  # the test split's
    title: str  # what the arms have in common
    test: Mapping[int, Cell]
    validation: Mapping[int, Cell]  # empty where there is no validation split

    def pairs(self) -> list[tuple[Panel, Cell, Cell]]:
        """Every M that could be chosen, paired with no pauses, where both have at least one seed in common."""
        if not self.validation or 0 not in self.test:
            return []
        baseline = self.test[0]
        tested = [cell for m, cell in self.test.items() if m and m in self.validation]
        return [(self.panel, cell, baseline) for cell in tested if cell.by_seed.keys() & baseline.by_seed.keys()]


@dataclasses.dataclass(frozen=True)
class Selection:
    """The M that was chosen; None where the validation split gives nothing to choose by."""

    candidates: Candidates
    chosen: int | None = None
    seeds: int = 0  # how many the selection is based on
    bootstrap: Mapping[int, float] = dataclasses.field(default_factory=dict)  # M → share of draws that choose it
    left_out: Mapping[int, int] = dataclasses.field(default_factory=dict)  # M → selections with one seed left out
    effect: Effect | None = None  # the chosen M minus no pauses, on test

    @property
    def test_estimate(self) -> Estimate | None:
        if self.chosen is None or self.chosen not in self.candidates.test:
            return None
        return self.candidates.test[self.chosen].estimate

    def sentence(self) -> str:
        """The sentence on the best M, which claims no more than the data allow."""
        title = self.candidates.title
        if not self.candidates.validation:
            return (
                "The best M is not chosen where there are no results on the validation split: a selection on the "
                f"{self.candidates.panel.split} split would flatter it."
            )
        if self.chosen is None:
            return f"{title}: the best M is not chosen: no seed has every M on the validation split."
        return f"{title}: best M = {self.chosen} by validation, {self._stability()}; {self._on_test()}."

    def _stability(self) -> str:
        if self.seeds == 1:
            return "from 1 seed, so that it may be chance"
        assert self.chosen is not None
        return (
            f"chosen in {self.bootstrap[self.chosen]:.0%} of bootstrap draws of {self.seeds} seeds and "
            f"{self.left_out[self.chosen]} of {self.seeds} times with a seed left out"
        )

    def _on_test(self) -> str:
        split = f"on the {self.candidates.panel.split} split"
        found = self.test_estimate
        if found is None:
            return f"not evaluated {split}"
        value = f"{split} {found.mean:.1f}"
        if self.chosen == 0:
            return f"{value}: no number of pauses was better than none"
        if self.effect is None:
            return f"{value}, with no model without pauses on the same seeds to compare with"
        difference = self.effect.difference
        minus = f"{value}, minus no pauses {difference.mean:+.1f} points"
        verdict = self.effect.why_not()
        if self.effect.is_significant:
            verdict = f"{'a gain' if difference.mean > 0 else 'a loss'} beyond the chance of seeds and of choosing"
        interval = f", 95 % interval [{difference.low:+.1f}, {difference.high:+.1f}]" if difference.n > 1 else ""
        p = "" if math.isnan(self.effect.p) else f", corrected p {format_p(self.effect.corrected_p)}"
        return f"{minus}{interval}, {counted(difference)}{p}: {verdict}"


def find_candidates(panels: Sequence[Panel]) -> list[Candidates]:
    """The candidates of all panels but those of validation splits and errors: families with several values of M."""
    validation = {(panel.model, panel.task, panel.metric): panel for panel in panels if panel.is_validation}
    candidate_sets = []
    for panel in panels:
        if panel.is_validation or panel.lower_is_better:
            continue
        beside = validation.get((panel.model, panel.task, panel.metric))
        chosen_by = _by_m(beside) if beside is not None else {}
        tested = _by_m(panel)
        for family, cells in tested.items():
            if len(cells) > 1:
                candidate_sets.append(Candidates(panel, family_title(family, tested), cells, chosen_by.get(family, {})))
    return candidate_sets


def choose(candidates: Candidates, effects: Mapping[tuple[int, int], Effect]) -> Selection:
    """Choose one of the candidates.

    Args:
      effects: of pairs of cells, by the `id`s of both; decided for all comparisons of a report together.
    """
    numbers = sorted(candidates.validation)
    seeds = sorted(set.intersection(*(set(cell.by_seed) for cell in candidates.validation.values()))) if numbers else []
    if not seeds or len(numbers) < 2:
        return Selection(candidates)
    values_MxS = np.array([[candidates.validation[m].by_seed[s].value for s in seeds] for m in numbers])
    chosen = numbers[_best(values_MxS.mean(axis=1)[:, None])[0]]
    draws_DxS = np.random.default_rng(0).integers(len(seeds), size=(DRAWS, len(seeds)))
    drawn = _best(values_MxS[:, draws_DxS].mean(axis=2))
    left_out = _best((values_MxS.sum(axis=1, keepdims=True) - values_MxS) / max(1, len(seeds) - 1))
    return Selection(
        candidates,
        chosen=chosen,
        seeds=len(seeds),
        bootstrap={m: float(np.mean(drawn == i)) for i, m in enumerate(numbers)},
        left_out={m: int(np.sum(left_out == i)) for i, m in enumerate(numbers)},
        effect=effects.get((id(candidates.test.get(chosen)), id(candidates.test.get(0)))),
    )


def _best(means_MxN: np.ndarray) -> np.ndarray:
    """The index of the highest value of each column; the first of those that are equal up to rounding."""
    return np.argmax(means_MxN >= means_MxN.max(axis=0) - 1e-9, axis=0)


def _by_m(panel: Panel) -> dict[Arm, dict[int, Cell]]:
    """For each family its cells at M_inf = M_ft, by ascending M."""
    cells = {
        family: {cell.m_inf: cell for arm in arms for cell in panel.of_arm(arm) if str(cell.m_inf) == arm.m_ft}
        for family, arms in families(panel).items()
    }
    return {family: dict(sorted(by_m.items())) for family, by_m in cells.items()}

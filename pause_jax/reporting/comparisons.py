"""Paired comparisons of arms with bases, and all that a report says of them."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

from pause_jax.reporting import best_m, statistics
from pause_jax.reporting.panels import (
    EQUAL_FLOPS,
    HUGE,
    Arm,
    Cell,
    Panel,
    are_equal_flops,
    flops_ratio,
    is_cost,
    make_panels,
    missing_cells,
    paired_differences,
)
from pause_jax.reporting.results import Result
from pause_jax.reporting.statistics import Effect, format_p

Pair = tuple[Panel, Cell, Cell]  # what is compared: a cell and a base of one panel


@dataclasses.dataclass(frozen=True)
class Comparison:
    """A home cell and a base on the seeds that both have."""

    panel: Panel
    cell: Cell
    base: Cell
    effect: Effect

    @property
    def flops_ratio(self) -> float:
        """Training FLOPs of the cell over those of the base; nan where either are not known."""
        return flops_ratio(self.cell, self.base)

    @property
    def inference_flops_ratio(self) -> float:
        """FLOPs of an example of the cell over those of the base; nan where either are not known."""
        answer, base_answer = self.cell.inference_flops, self.base.inference_flops
        return answer / base_answer if is_cost(answer) and is_cost(base_answer) else math.nan

    @property
    def has_equal_flops(self) -> bool:
        return are_equal_flops(self.cell, self.base)

    def sentence(self) -> str:
        """What may be said, and no more."""
        difference, p, spec = self.effect.difference, format_p(self.effect.p), self.panel.spec
        what = (
            f"{self.panel.label(self.cell)} minus {self.panel.label(self.base)}: {difference.mean:+{spec}} "
            f"{self.panel.unit}"
        )
        if difference.n == 1:
            return f"{what}, 1 seed: no interval, no effect can be claimed; {self.cost()}."
        is_gain = (difference.mean > 0) != self.panel.counts_errors
        found = f"{'a gain' if is_gain else 'a loss'} beyond the chance of seeds"
        if self.effect.corrected_p != self.effect.p and difference.n >= statistics.seeds_needed(1):
            p += f" ({format_p(self.effect.corrected_p)} corrected)"
        verdict = found if self.effect.found else "no effect can be claimed"
        interval = f"95 % interval [{difference.low:+{spec}}, {difference.high:+{spec}}]"
        return f"{what}, {interval}, {difference.n} seeds, p = {p}: {verdict}; {self.cost()}."

    def cost(self) -> str:
        """FLOPs against the base's: of training, and of one answer where they differ."""
        if math.isnan(self.flops_ratio):
            return "training FLOPs unknown"
        words = "at equal training FLOPs" if self.has_equal_flops else f"at {self.flops_ratio:.2f} × its training FLOPs"
        if abs(self.inference_flops_ratio - 1) > EQUAL_FLOPS:
            words += f" and {self.inference_flops_ratio:.2f} × its inference FLOPs"
        return words


@dataclasses.dataclass(frozen=True)
class Failure:
    """Something that is missing from the results, and why."""

    job: str
    error: str


@dataclasses.dataclass(frozen=True)
class Report:
    """All that a report shows, decided; printing, drawing and writing only look."""

    title: str
    panels: tuple[Panel, ...]
    comparisons: tuple[Comparison, ...]
    failures: tuple[Failure, ...]
    choices: tuple[best_m.Choice, ...] = ()
    missing: tuple[str, ...] = ()  # cells of the grid

    @classmethod
    def of(cls, rows: Sequence[Result], *, title: str = "Results", failures: Sequence[Failure] = ()) -> Report:
        """Group the rows, compare and choose; a value that is not finite counts as a failure. Raises as `make_panels`.

        Nothing is claimed from validation splits. All comparisons with a base, and of every M that could have been
        chosen with no pauses, are decided on together: choosing alone makes no effect.
        """
        lost = [
            Failure(row.checkpoint, f"{row.metric} on {row.task} at M_inf {row.m_inf} is {row.value}: left out below")
            for row in rows
            if not abs(row.value) < HUGE
        ]
        panels = make_panels([row for row in rows if abs(row.value) < HUGE])
        compared = find_pairs([panel for panel in panels if not panel.is_for_choosing])
        elections = best_m.find_elections(panels)
        candidates = [pair for election in elections for pair in election.pairs() if pair not in compared]
        decided = decide([*compared, *candidates])
        effects = {(id(c.cell), id(c.base)): c.effect for c in decided}
        choices = [best_m.choose(election, effects) for election in elections]
        missing = [sentence for panel in panels for sentence in missing_cells(panel)]
        return cls(title, tuple(panels), tuple(decided[: len(compared)]), (*failures, *lost), tuple(choices),
                   tuple(missing))  # fmt: skip

    def choices_of(self, panel: Panel) -> list[best_m.Choice]:
        return [choice for choice in self.choices if choice.election.panel is panel]

    def summary_of(self, panel: Panel) -> str:
        """One line for the table of contents."""
        comparisons = self.of_panel(panel)
        found = sum(comparison.effect.found for comparison in comparisons)
        if panel.is_for_choosing:
            return "for choosing, nothing is claimed from it"
        if not comparisons:
            return "nothing to compare"
        return f"{found} of {len(comparisons)} differences beyond the chance of seeds"

    def rows(self) -> list[Result]:
        """All that is shown."""
        return [row for panel in self.panels for cell in panel.cells for row in cell.by_seed.values()]

    def sentences(self, panel: Panel) -> list[str]:
        """All that is said of a panel."""
        differences = [comparison.sentence() for comparison in self.of_panel(panel)]
        choices = [choice.sentence() for choice in self.choices_of(panel)]
        return list(dict.fromkeys([*differences, *choices, *self.remarks(panel)]))

    def of_panel(self, panel: Panel) -> list[Comparison]:
        return [comparison for comparison in self.comparisons if comparison.panel is panel]

    def summary(self) -> str:
        """What all comparisons together come to, in one or two sentences."""
        count, found = len(self.comparisons), sum(comparison.effect.found for comparison in self.comparisons)
        if not count:
            return "There is nothing to compare: no arm with pauses has a base without them on the same seeds."
        compared = f"{count} comparison{'s' * (count > 1)} with a base without pauses: "
        if found:
            rest = f"; of the other {count - found} no effect can be claimed" if count > found else ""
            return f"{compared}{found} beyond the chance of seeds{rest}."
        seeds = [comparison.effect.difference.n for comparison in self.comparisons]
        enough_for_one = sum(n >= statistics.seeds_needed(1) for n in seeds)
        most, needed = max(seeds), statistics.seeds_needed(enough_for_one or count)
        few = f" With {most} seed{'s' * (most > 1)} none could be: it takes {needed} or more." if most < needed else ""
        return f"{compared}of none can an effect be claimed.{few}"

    def remarks(self, panel: Panel) -> list[str]:
        """What a reader of the panel must know besides the comparisons."""
        if panel.is_for_choosing:
            return ["M and checkpoints are chosen on this split: nothing is claimed from it."]
        comparisons = self.of_panel(panel)
        compared = {comparison.cell.arm for comparison in comparisons}
        remarks = [
            f"{panel.label(panel.home(arm))}: no base without pauses on the same seeds, not compared."
            for arm in panel.arms
            if not arm.is_base and arm not in compared
        ]
        equal = {comparison.cell.arm for comparison in comparisons if comparison.has_equal_flops}
        if unequal := [panel.label(panel.home(arm)) for arm in panel.arms if arm in compared - equal]:
            remarks.append(
                f"{'; '.join(unequal)}: no base was trained with as many FLOPs (within {EQUAL_FLOPS:.0%}), so these "
                "figures do not tell pauses from more or less training."
            )
        return remarks


def find_pairs(panels: Sequence[Panel]) -> list[Pair]:
    """Every arm with pauses and its bases.

    An arm is compared with the base of as many steps, of pretraining too where there is one, and with the one that is
    nearest in training FLOPs where that is another. A base was trained in the same stages, with the same attention, on
    seeds of which one at least is the arm's.
    """
    return [
        (panel, panel.home(arm), base)
        for panel in panels
        for arm in panel.arms
        if not arm.is_base
        for base in _bases(panel, panel.home(arm))
    ]


def decide(pairs: Sequence[Pair]) -> list[Comparison]:
    """Decide on all together: the more pairs, the more each must show."""
    effects = statistics.call_effects([paired_differences(cell, base) for _, cell, base in pairs])
    return [Comparison(*pair, effect=effect) for pair, effect in zip(pairs, effects, strict=True)]


def _bases(panel: Panel, cell: Cell) -> list[Cell]:
    arm = cell.arm

    def fits(base: Arm) -> bool:
        from_scratch = (base.pretrain == "none") == (arm.pretrain == "none")
        zero_shot = (base.finetune == "none") == (arm.finetune == "none")
        return base.is_base and from_scratch and zero_shot and base.attention == arm.attention

    bases = [panel.home(base) for base in panel.arms if fits(base)]
    bases = [base for base in bases if paired_differences(cell, base)]
    bases.sort(key=lambda base: abs(base.training_flops - cell.training_flops))
    alike = [base for base in bases if base.arm.pretrain_steps == arm.pretrain_steps] or bases
    nearest = bases[:1] if bases and are_equal_flops(cell, bases[0]) else alike[:1]
    chosen = [base for base in alike if base.arm.steps == arm.steps][:1] + nearest
    return chosen[:1] if len(chosen) == 2 and chosen[0].arm == chosen[1].arm else chosen

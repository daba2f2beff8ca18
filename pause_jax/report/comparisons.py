"""Paired comparisons of arms with baselines, and the sentences of a report about them."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

from pause_jax.report import best_m, pairs, statistics
from pause_jax.report.panels import (
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
from pause_jax.report.results import Result
from pause_jax.report.statistics import NEEDED, Effect, counted
from pause_jax.report.tables import interval

MOST_IN_HEADLINE = 3  # significant differences that a summary lists
Pair = tuple[Panel, Cell, Cell]  # what is compared: a cell and a baseline of one panel


@dataclasses.dataclass(frozen=True)
class Comparison:
    """An arm's matched cell and a baseline on the seeds that both have."""

    panel: Panel
    cell: Cell
    baseline: Cell
    effect: Effect
    is_known: bool = True  # of `pairs.Paired`
    shared_runs: int = 0

    @property
    def flops_ratio(self) -> float:
        """Training FLOPs of the cell over those of the baseline; nan where either are not known."""
        return flops_ratio(self.cell, self.baseline)

    @property
    def inference_flops_ratio(self) -> float:
        """Inference FLOPs per example of the cell over those of the baseline; nan where either are not known."""
        answer, baseline_answer = self.cell.inference_flops, self.baseline.inference_flops
        return answer / baseline_answer if is_cost(answer) and is_cost(baseline_answer) else math.nan

    @property
    def has_equal_flops(self) -> bool:
        return are_equal_flops(self.cell, self.baseline)

    @property
    def is_better(self) -> bool:
        """Whether the cell's mean is the better one; of an error or a loss the lower one."""
        return (self.effect.difference.mean > 0) != self.panel.lower_is_better

    def sentence(self) -> str:
        """The sentence on this comparison, which claims no more than the data allow."""
        what = (
            f"{self.panel.label(self.cell)} minus {self.panel.label(self.baseline)}: "
            f"{self.size()}{counted(self.effect.difference)}"
        )
        return f"{what}{self.effect.evidence()}: {self.verdict()}; {self.cost()}."

    def size(self) -> str:
        """`+42.5 points, 95 % interval [+39.4, +45.6], `."""
        difference, spec = self.effect.difference, self.panel.spec
        interval = f", 95 % interval [{difference.low:+{spec}}, {difference.high:+{spec}}]"
        return f"{difference.mean:+{spec}} {self.panel.unit}{interval if difference.n > 1 else ''}, "

    def verdict(self) -> str:
        """`a gain beyond the chance of seeds`, or why none can be claimed."""
        if not self.is_known:
            return (
                "no effect can be claimed, as these arms were pretrained differently and the results do not say in "
                f"which runs (each arm's are taken to be one; it takes {NEEDED})"
            )
        if not self.effect.is_significant:
            return self.effect.why_not()
        only = ""
        if self.shared_runs:
            only = (
                f", of what starts from {'this pretraining run' if self.shared_runs == 1 else 'these pretraining runs'}"
            )
        return f"{'a gain' if self.is_better else 'a loss'} beyond the chance of seeds{only}"

    def headline(self) -> str:
        """`+42.5 [+39.4, +45.6] points of accuracy on late_parity_6, 13 pauses minus none, at equal training FLOPs`."""
        difference, spec = self.effect.difference, self.panel.spec
        return (
            f"{difference.mean:+{spec}} {interval(difference, '+' + spec)} {self.panel.unit} of {self.panel.metric} on "
            f"{self.panel.task}, model {self.panel.model}: {self.panel.label(self.cell)} minus "
            f"{self.panel.label(self.baseline)}, {self.cost()}"
        )

    def cost(self) -> str:
        """FLOPs against the baseline's: of training, and of one answer where they differ."""
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
    """All that a report shows, with every decision made; printing, drawing and writing only read it."""

    title: str
    panels: tuple[Panel, ...]
    comparisons: tuple[Comparison, ...]
    failures: tuple[Failure, ...]
    selections: tuple[best_m.Selection, ...] = ()
    missing: tuple[str, ...] = ()  # sentences on cells that the grid lacks
    # comparisons that p values are corrected for once each has enough units, those of choices included
    decided: int = 0

    @classmethod
    def of(cls, rows: Sequence[Result], *, title: str = "Results", failures: Sequence[Failure] = ()) -> Report:
        """Group the rows, compare and choose; a value that is not finite counts as a failure. Raises as `make_panels`.

        Nothing is claimed from validation splits. All comparisons with a baseline, and of every M that could have been
        chosen with no pauses, are decided on together: choosing alone makes no effect.
        """
        lost = [
            Failure(row.checkpoint, f"{row.metric} on {row.task} at M_inf {row.m_inf} is {row.value}: left out below")
            for row in rows
            if not abs(row.value) < HUGE
        ]
        panels = make_panels([row for row in rows if abs(row.value) < HUGE])
        compared = find_pairs([panel for panel in panels if not panel.is_validation])
        candidate_sets = best_m.find_candidates(panels)
        of_selections = [pair for candidates in candidate_sets for pair in candidates.pairs() if pair not in compared]
        decided = decide([*compared, *of_selections])
        effects = {(id(c.cell), id(c.baseline)): c.effect for c in decided}
        selections = [best_m.choose(candidates, effects) for candidates in candidate_sets]
        missing = [sentence for panel in panels for sentence in missing_cells(panel)]
        return cls(
            title,
            tuple(panels),
            tuple(decided[: len(compared)]),
            (*failures, *lost),
            tuple(selections),
            tuple(missing),
            len(decided),
        )

    def selections_of(self, panel: Panel) -> list[best_m.Selection]:
        return [selection for selection in self.selections if selection.candidates.panel is panel]

    def summary_of(self, panel: Panel) -> str:
        """One line for the table of contents."""
        comparisons = self.of_panel(panel)
        found = [comparison for comparison in comparisons if comparison.effect.is_significant]
        if panel.is_validation:
            return "for choosing, nothing is claimed from it"
        if not comparisons:
            return "nothing to compare"
        said = f"{len(found)} of {len(comparisons)} differences beyond the chance of seeds"
        sizes = "; ".join(
            f"{c.effect.difference.mean:+{panel.spec}} {panel.unit} {c.cost()}" for c in found[:MOST_IN_HEADLINE]
        )
        return f"{said}: {sizes}{'; …' * (len(found) > MOST_IN_HEADLINE)}" if found else said

    def rows(self) -> list[Result]:
        """The rows of all panels."""
        return [row for panel in self.panels for cell in panel.cells for row in cell.by_seed.values()]

    def names_of_runs(self) -> dict[str, str]:
        """By a run's name that of its arm; not of pretraining runs where others go on from them."""
        placed = [(panel, cell) for panel in self.panels for cell in panel.cells]
        is_finetuned = any(cell.arm.finetune != "none" for _, cell in placed)
        names: dict[str, str] = {}
        for panel, cell in placed:
            if cell.arm.finetune != "none" or not is_finetuned:
                for row in cell.by_seed.values():
                    names.setdefault(row.checkpoint.partition("/")[0], panel.name(cell.arm))
        return names

    def sentences(self, panel: Panel) -> list[str]:
        """All sentences on a panel."""
        differences = [comparison.sentence() for comparison in self.of_panel(panel)]
        selections = [selection.sentence() for selection in self.selections_of(panel)]
        return list(dict.fromkeys([*differences, *selections, *self.remarks(panel)]))

    def of_panel(self, panel: Panel) -> list[Comparison]:
        return [comparison for comparison in self.comparisons if comparison.panel is panel]

    def summary(self) -> str:
        """A summary of all comparisons: how many, and sign, size and cost of the significant ones."""
        found = [comparison for comparison in self.comparisons if comparison.effect.is_significant]
        count = len(self.comparisons)
        if not count:
            return "There is nothing to compare: no arm with pauses has a baseline without them on the same seeds."
        compared = f"{count} comparison{'s' * (count > 1)} with a baseline without pauses: "
        if found:
            rest = f" Of the other {count - len(found)} no effect can be claimed." if count > len(found) else ""
            said = "; ".join(comparison.headline() for comparison in found[:MOST_IN_HEADLINE])
            more = f"; and {len(found) - MOST_IN_HEADLINE} more below" if len(found) > MOST_IN_HEADLINE else ""
            return f"{compared}{len(found)} beyond the chance of seeds. {said}{more}.{rest}"
        most = max((c.effect.difference for c in self.comparisons), key=lambda difference: difference.n)
        too_few = f" With {counted(most)} none could be: it takes {NEEDED}." if most.n < NEEDED else ""
        return f"{compared}of none can an effect be claimed.{too_few}"

    def remarks(self, panel: Panel) -> list[str]:
        """Sentences that a reader of the panel needs besides the comparisons."""
        if panel.is_validation:
            return ["M and checkpoints are chosen on this split: nothing is claimed from it."]
        comparisons = self.of_panel(panel)
        compared = {comparison.cell.arm for comparison in comparisons}
        remarks = _on_pretraining(panel) + [
            f"{panel.label(panel.matched_cell(arm))}: no baseline without pauses on the same seeds, not compared."
            for arm in panel.arms
            if not arm.is_baseline and arm not in compared
        ]
        equal = {comparison.cell.arm for comparison in comparisons if comparison.has_equal_flops}
        if unequal := [panel.label(panel.matched_cell(arm)) for arm in panel.arms if arm in compared - equal]:
            remarks.append(
                f"{'; '.join(unequal)}: no baseline was trained with as many FLOPs (within {EQUAL_FLOPS:.0%}), so "
                "these figures do not tell pauses from more or less training."
            )
        if untrained := [cell for cell in panel.cells if cell.is_untrained]:
            labels = list(dict.fromkeys(panel.name(cell.arm) for cell in untrained))
            remarks.append(
                f"{'; '.join(labels)}: trained without any pause, so that answers after pauses at inference mean "
                "nothing; they are not drawn."
            )
        return remarks


def _on_pretraining(panel: Panel) -> list[str]:
    """A remark on the unit of a panel's intervals, where it is not the seed."""
    units = [panel.matched_cell(arm).estimate.unit for arm in panel.arms]
    if pairs.PRETRAINING not in units:
        of_one = "Intervals and verdicts tell of other finetunings of one pretraining run, not of other such runs."
        return [of_one] if any(_starts_from_one(cell) for cell in panel.cells) else []
    remark = (
        "Arms differ in how they were pretrained, so intervals and verdicts are over pretraining runs, and finetunings "
        f"of one run are averaged. A verdict takes {NEEDED} pretraining runs an arm."
    )
    if not all(cell.runs_known for cell in panel.cells):
        remark += (
            " Rows that do not name theirs (columns pretrain_run and pretrain_seed) are taken to be of one; "
            "launch.evaluate names it of each run that it is asked about again."
        )
    return [remark]


def _starts_from_one(cell: Cell) -> bool:
    """Whether several seeds of a cell were finetuned from the same pretraining run, as far as is known."""
    runs = {pairs.pretraining_of(row) for row in cell.by_seed.values()}
    return len(cell.by_seed) > 1 and len(runs) == 1 and bool(runs.pop()) and cell.arm.finetune != "none"


def find_pairs(panels: Sequence[Panel]) -> list[Pair]:
    """Every arm with pauses and its baselines.

    An arm is compared with the baseline that has as many steps (of pretraining too, where there is such a baseline),
    and with the one nearest in training FLOPs where that is another one. A baseline has the same stages and attention,
    at least one seed in common with the arm, and where possible the same settings.
    """
    return [
        (panel, panel.matched_cell(arm), baseline)
        for panel in panels
        for arm in panel.arms
        if not arm.is_baseline
        for baseline in _baselines(panel, panel.matched_cell(arm))
    ]


def decide(compared: Sequence[Pair]) -> list[Comparison]:
    """Decide on all pairs together: p values are corrected for their number."""
    paired = [paired_differences(cell, baseline) for _, cell, baseline in compared]
    effects = statistics.assess_effects([one.values for one in paired], [one.unit for one in paired])
    return [
        Comparison(*pair, effect=effect, is_known=one.is_known, shared_runs=one.shared_runs)
        for pair, effect, one in zip(compared, effects, paired, strict=True)
    ]


def _baselines(panel: Panel, cell: Cell) -> list[Cell]:
    arm = cell.arm

    def fits(baseline: Arm) -> bool:
        from_scratch = (baseline.pretrain == "none") == (arm.pretrain == "none")
        zero_shot = (baseline.finetune == "none") == (arm.finetune == "none")
        return baseline.is_baseline and from_scratch and zero_shot and baseline.attention == arm.attention

    baselines = [panel.matched_cell(baseline) for baseline in panel.arms if fits(baseline)]
    baselines = [
        baseline for baseline in baselines if paired_differences(cell, baseline).values and not baseline.is_untrained
    ]
    baselines = [baseline for baseline in baselines if baseline.arm.settings == arm.settings] or baselines
    baselines.sort(key=lambda baseline: abs(baseline.training_flops - cell.training_flops))
    alike = [baseline for baseline in baselines if baseline.arm.pretrain_steps == arm.pretrain_steps] or baselines
    nearest = baselines[:1] if baselines and are_equal_flops(cell, baselines[0]) else alike[:1]
    chosen = [baseline for baseline in alike if baseline.arm.steps == arm.steps][:1] + nearest
    return chosen[:1] if len(chosen) == 2 and chosen[0].arm == chosen[1].arm else chosen

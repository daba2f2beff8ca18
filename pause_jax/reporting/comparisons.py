"""From rows of results.csv to what a report shows: panels, arms, their seeds, and paired comparisons.

panel   one model, task, metric and split: what may stand in one table
arm     one way to train: everything that tells runs apart but the seed
cell    an arm at one number of pauses at inference; it holds a result for each seed
home    of an arm: its cell at the M_inf that it was finetuned with (of a list the largest), or the nearest evaluated
base    an arm without any pauses, with which others are compared
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence

from pause_jax.errors import UserError
from pause_jax.reporting import statistics
from pause_jax.reporting.results import Result
from pause_jax.reporting.statistics import Effect, Estimate

EQUAL_FLOPS = 0.05  # relative difference up to which two trainings count as equally costly


@dataclasses.dataclass(frozen=True)
class Arm:
    """One way to train."""

    pretrain: str
    pretrain_rate: float
    finetune: str
    m_ft: str
    placement: str  # "none" where finetuning had no pauses and inference appends them
    policy: str
    n_pauses: int
    attention: str
    steps: int
    pretrain_steps: str

    @classmethod
    def of(cls, row: Result) -> Arm:
        fields = {field.name: getattr(row, field.name) for field in dataclasses.fields(cls)}
        if row.m_ft == "0" and row.placement == "append":
            fields["placement"] = "none"  # placement tells of inference then: rows with and without pauses are one arm
        return cls(**fields)

    @property
    def m_ft_largest(self) -> int:
        return max(int(m) for m in self.m_ft.split("|"))

    @property
    def is_base(self) -> bool:
        return self.pretrain != "pause" and self.m_ft_largest == 0 and self.placement == "none"


@dataclasses.dataclass(frozen=True)
class Cell:
    """An arm at one M_inf: its result for each seed, in order of the seeds."""

    arm: Arm
    m_inf: int
    by_seed: Mapping[int, Result]

    @property
    def values(self) -> list[float]:
        return [row.value for row in self.by_seed.values()]

    @property
    def estimate(self) -> Estimate:
        return statistics.estimate(self.values)

    @property
    def training_flops(self) -> float:
        """Of all stages, mean over seeds."""
        return sum(row.model_flops for row in self.by_seed.values()) / len(self.by_seed)

    @property
    def inference_flops(self) -> float:
        """Of one example, mean over seeds."""
        return sum(row.inference_flops for row in self.by_seed.values()) / len(self.by_seed)


@dataclasses.dataclass(frozen=True)
class Panel:
    """What one table shows."""

    model: str
    task: str
    metric: str
    split: str
    cells: tuple[Cell, ...]  # every arm at every M_inf

    @property
    def title(self) -> str:
        return f"{self.task}, {self.metric}, {self.split} split, model {self.model}"

    @property
    def arms(self) -> list[Arm]:
        return list(dict.fromkeys(cell.arm for cell in self.cells))

    @property
    def varies_m_inf(self) -> bool:
        """Whether an arm was evaluated at several M_inf."""
        return any(len(self.of_arm(arm)) > 1 for arm in self.arms)

    @property
    def varies_flops(self) -> bool:
        """Whether arms differ in what their training cost by more than counts as equal."""
        flops = [self.home(arm).training_flops for arm in self.arms]
        return max(flops) > (1 + EQUAL_FLOPS) * min(flops)

    def of_arm(self, arm: Arm) -> list[Cell]:
        """The arm's cells by ascending M_inf."""
        return sorted((cell for cell in self.cells if cell.arm == arm), key=lambda cell: cell.m_inf)

    def home(self, arm: Arm) -> Cell:
        return min(self.of_arm(arm), key=lambda cell: (abs(cell.m_inf - arm.m_ft_largest), cell.m_inf))

    def label(self, cell: Cell) -> str:
        """The arm in words, as short as tells it from the panel's others."""
        arm, arms = cell.arm, self.arms
        parts = [_finetuning(arm)]
        if arm.pretrain == "pause":
            parts.insert(0, f"{100 * arm.pretrain_rate:g} % pauses in pretraining")
        elif any(other.pretrain != "none" for other in arms):
            parts.insert(0, "standard pretraining" if arm.pretrain == "std" else "no pretraining")
        if len({other.steps for other in arms}) > 1:
            parts.append(f"{arm.steps:,} steps")
        if len({other.pretrain_steps for other in arms if other.pretrain == arm.pretrain}) > 1:
            parts.append(f"{arm.pretrain_steps.replace('|', ' + ')} steps of pretraining")
        if len({other.attention for other in arms}) > 1:
            parts.append(f"attention {arm.attention}")
        if len({other.policy for other in arms if other.pretrain == "pause"}) > 1 and arm.pretrain == "pause":
            parts.append(f"policy {arm.policy}")
        if len({other.n_pauses for other in arms if other.n_pauses}) > 1 and arm.n_pauses:
            parts.append(f"{arm.n_pauses} distinct")
        if cell.m_inf != arm.m_ft_largest:
            parts.append(f"{cell.m_inf} at inference")
        return ", ".join(parts)


@dataclasses.dataclass(frozen=True)
class Comparison:
    """A home cell and a base on the seeds that both have."""

    panel: Panel
    cell: Cell
    base: Cell
    effect: Effect

    @property
    def flops_ratio(self) -> float:
        """Training FLOPs of the cell over those of the base; nan where the base's are not known."""
        return self.cell.training_flops / self.base.training_flops if self.base.training_flops else math.nan

    @property
    def has_equal_flops(self) -> bool:
        return abs(self.flops_ratio - 1) <= EQUAL_FLOPS

    def sentence(self) -> str:
        """What may be said, and no more."""
        difference, p = self.effect.difference, format_p(self.effect.p)
        what = f"{self.panel.label(self.cell)} minus {self.panel.label(self.base)}: {difference.mean:+.1f} points"
        if difference.n == 1:
            return f"{what}, 1 seed: no interval, no effect can be claimed; {self.cost()}."
        found = f"{'a gain' if difference.mean > 0 else 'a loss'} beyond the chance of seeds"
        if self.effect.corrected_p != self.effect.p and difference.n >= statistics.seeds_needed(1):
            p += f" ({format_p(self.effect.corrected_p)} corrected)"
        verdict = found if self.effect.found else "no effect can be claimed"
        interval = f"95 % interval [{difference.low:+.1f}, {difference.high:+.1f}]"
        return f"{what}, {interval}, {difference.n} seeds, p = {p}: {verdict}; {self.cost()}."

    def cost(self) -> str:
        """FLOPs against the base's: of training, and of one answer where they differ."""
        if math.isnan(self.flops_ratio):
            return "training FLOPs unknown"
        words = "at equal training FLOPs" if self.has_equal_flops else f"at {self.flops_ratio:.2f} × its training FLOPs"
        answer, base_answer = self.cell.inference_flops, self.base.inference_flops
        if base_answer and abs(answer / base_answer - 1) > EQUAL_FLOPS:
            words += f" and {answer / base_answer:.2f} × its inference FLOPs"
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

    @classmethod
    def of(cls, rows: Sequence[Result], *, title: str = "Results", failures: Sequence[Failure] = ()) -> Report:
        """Group the rows and compare; a value that is not finite counts as a failure. Raises as `make_panels`."""
        lost = [
            Failure(row.checkpoint, f"{row.metric} on {row.task} at M_inf {row.m_inf} is {row.value}: left out below")
            for row in rows
            if not math.isfinite(row.value)
        ]
        panels = make_panels([row for row in rows if math.isfinite(row.value)])
        return cls(title, tuple(panels), tuple(compare(panels)), (*failures, *lost))

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
        comparisons = self.of_panel(panel)
        compared = {comparison.cell.arm for comparison in comparisons}
        remarks = [
            f"{panel.label(panel.home(arm))}: no base without pauses on the same seeds, not compared."
            for arm in panel.arms
            if not arm.is_base and arm not in compared
        ]
        for arm in panel.arms:
            mine = [comparison for comparison in comparisons if comparison.cell.arm == arm]
            if mine and not any(comparison.has_equal_flops for comparison in mine):
                remarks.append(
                    f"{panel.label(panel.home(arm))}: no base was trained with as many FLOPs (within "
                    f"{EQUAL_FLOPS:.0%}), so these figures do not tell pauses from more or less training."
                )
        return remarks


def make_panels(rows: Sequence[Result]) -> list[Panel]:
    """Group rows; panels, and in them arms, stand in the order in which the rows first name them, bases first.

    Raises:
      UserError: two rows differ in nothing but checkpoint, so that they can't be told apart, or M_ft is no number.
    """
    groups: dict[tuple[str, str, str, str], dict[tuple[Arm, int], dict[int, Result]]] = {}
    for row in rows:
        _check_m_ft(row)
        panel = groups.setdefault((row.model, row.task, row.metric, row.split), {})
        by_seed = panel.setdefault((Arm.of(row), row.m_inf), {})
        if row.seed in by_seed:
            raise UserError(
                f"two results of {row.task}, {row.metric}, seed {row.seed}, M_inf {row.m_inf} differ in nothing but "
                f"their checkpoints, {by_seed[row.seed].checkpoint} and {row.checkpoint}: remove one of the rows, or "
                "give their runs different names in the column model"
            )
        by_seed[row.seed] = row
    panels = []
    for key, group in groups.items():
        cells = [Cell(arm, m_inf, dict(sorted(by_seed.items()))) for (arm, m_inf), by_seed in group.items()]
        panels.append(Panel(*key, cells=tuple(sorted(cells, key=_order))))
    return panels


def compare(panels: Sequence[Panel]) -> list[Comparison]:
    """Every arm with pauses against its bases, decided on together.

    An arm is compared with the base of as many steps and, where that is another, with the one that is nearest in
    training FLOPs. A base was trained in the same stages, with the same attention, on seeds of which one at least is
    the arm's.
    """
    pairs = [
        (panel, panel.home(arm), base)
        for panel in panels
        for arm in panel.arms
        if not arm.is_base
        for base in _bases(panel, panel.home(arm))
    ]
    effects = statistics.call_effects([paired_differences(cell, base) for _, cell, base in pairs])
    return [Comparison(*pair, effect=effect) for pair, effect in zip(pairs, effects, strict=True)]


def paired_differences(cell: Cell, base: Cell) -> list[float]:
    """Cell minus base for each seed that both have, in order of the seeds."""
    return [row.value - base.by_seed[seed].value for seed, row in cell.by_seed.items() if seed in base.by_seed]


def format_p(p: float) -> str:
    """`0.062`, `1`: two digits, never 0."""
    return f"{p:.2g}"


def _bases(panel: Panel, cell: Cell) -> list[Cell]:
    arm = cell.arm

    def fits(base: Arm) -> bool:
        from_scratch = (base.pretrain == "none") == (arm.pretrain == "none")
        zero_shot = (base.finetune == "none") == (arm.finetune == "none")
        return base.is_base and from_scratch and zero_shot and base.attention == arm.attention

    bases = [panel.home(base) for base in panel.arms if fits(base)]
    bases = [base for base in bases if paired_differences(cell, base)]
    bases.sort(key=lambda base: abs(base.training_flops - cell.training_flops))
    chosen = [base for base in bases if base.arm.steps == arm.steps][:1] + bases[:1]
    return chosen[:1] if len(chosen) == 2 and chosen[0].arm == chosen[1].arm else chosen


def _finetuning(arm: Arm) -> str:
    if arm.m_ft_largest == 0:
        words = "no pauses" if arm.placement == "none" else f"{arm.placement} at inference only"
    else:
        numbers = arm.m_ft.replace("|", " or ")
        words = numbers + {"filler": " fillers", "prepend": " pauses in front"}.get(arm.placement, " pauses")
    return "zero-shot" if arm.finetune == "none" else words


def _order(cell: Cell) -> tuple[bool, bool, bool]:
    """Zero-shot last, bases first, pretraining without pauses before with them; else as they came (stable)."""
    return cell.arm.finetune == "none", not cell.arm.is_base, cell.arm.pretrain == "pause"


def _check_m_ft(row: Result) -> None:
    if not all(m.isdecimal() for m in row.m_ft.split("|")):
        raise UserError(
            f"m_ft of {row.checkpoint} is {row.m_ft!r}, but must be a whole number, or several as 0|10: correct it in "
            "the results file"
        )

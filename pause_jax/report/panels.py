"""Groups rows of results.csv into panels, arms, cells and seeds.

panel         one model, task, metric and split: what may stand in one table
arm           one way to train: all that tells runs apart but the seed, by columns and where needed by `settings`
cell          an arm at one number of pauses at inference, with a result for each seed (pairs.py: what is independent)
matched_cell  an arm's cell at the M_inf it was finetuned with (of several the largest), or at the nearest evaluated
baseline      an arm without any pauses, with which others are compared
family        finetuned arms of a panel that differ in M_ft only
"""

from __future__ import annotations

import dataclasses
import functools
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from pause_jax import config as configs
from pause_jax.errors import UserError
from pause_jax.report import pairs, statistics
from pause_jax.report.pairs import Paired, Seed
from pause_jax.report.results import LOSSES, Result, settings_of
from pause_jax.report.statistics import Estimate

ERRORS = ("no_choice", *LOSSES)  # metrics that are better when lower
HUGE = 1e100  # no result is larger; sums and squares of smaller ones are finite
_DEFAULT = {"default": True}  # stands for a setting that a row lacks; no setting has such a value
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
    num_pause_tokens: int
    attention: str
    steps: int
    pretrain_steps: str
    hints: str
    settings: tuple[tuple[str, str], ...] = ()  # (name, value as text) of the settings that tell it from other arms

    @classmethod
    def of(cls, row: Result, telling: Sequence[str] = ()) -> Arm:
        """The arm of a row: its columns, and the settings that are needed to tell arms apart (`telling_settings`)."""
        fields = {field.name: getattr(row, field.name) for field in dataclasses.fields(cls)}
        fields["settings"] = tuple((name, _setting(row, name)) for name in telling) if row.settings else ()
        if row.m_ft == "0" and row.placement == "append":
            fields["placement"] = "none"  # it is about inference then: rows with and without pauses are one arm
        return cls(**fields)

    @property
    def m_ft_largest(self) -> int:
        return max(int(m) for m in self.m_ft.split("|"))

    @property
    def pretraining(self) -> str:
        """How the arm was pretrained, in words."""
        words = {"std": "standard pretraining", "none": "no pretraining", "unknown": "unknown pretraining"}
        return words.get(self.pretrain, f"{100 * self.pretrain_rate:g} % pauses in pretraining")

    @property
    def is_baseline(self) -> bool:
        return self.pretrain not in ("pause", "unknown") and self.m_ft_largest == 0 and self.placement == "none"


@dataclasses.dataclass(frozen=True)
class Cell:
    """An arm at one M_inf: its result for each seed, in order of the seeds."""

    arm: Arm
    m_inf: int
    by_seed: Mapping[Seed, Result]
    is_nested: bool = False  # the panel's arms were pretrained differently: the unit is the pretraining run
    bounds: tuple[float, float] | None = None  # of its values, if they are percentages

    @property
    def values(self) -> list[float]:
        return [row.value for row in self.by_seed.values()]

    @property
    def is_untrained(self) -> bool:
        """Whether it has pauses that no stage of its training had, so that they mean nothing."""
        return any(row.has_untrained_pauses for row in self.by_seed.values())

    @property
    def runs_known(self) -> bool:
        return all(pairs.pretraining_of(row) is not None for row in self.by_seed.values())

    @property
    def estimate(self) -> Estimate:
        """The mean over seeds or, where the panel's arms were pretrained differently, over pretraining runs."""
        if not self.is_nested or self.arm.finetune == "none" or self.arm.pretrain == "none":
            return statistics.estimate(self.values, self.bounds)
        if not self.runs_known:
            means = [sum(self.values) / len(self.values)]
        else:
            names = [frozenset((pairs.pretraining_of(row) or ())[-1:]) for row in self.by_seed.values()]
            means = pairs.averages(names, self.values)
        unit = pairs.SEED if len(means) == len(self.values) and self.runs_known else pairs.PRETRAINING
        return statistics.estimate(means, self.bounds, unit)

    @property
    def training_flops(self) -> float:
        """Training FLOPs of all stages, mean over seeds."""
        return sum(row.model_flops for row in self.by_seed.values()) / len(self.by_seed)

    @property
    def inference_flops(self) -> float:
        """Inference FLOPs of one example, mean over seeds."""
        return sum(row.inference_flops for row in self.by_seed.values()) / len(self.by_seed)

    def flops(self, of: Literal["training", "inference"]) -> float:
        return self.training_flops if of == "training" else self.inference_flops


@dataclasses.dataclass(frozen=True)
class Panel:
    """One model, task, metric and split: what one table shows."""

    model: str
    task: str
    metric: str
    split: str
    cells: tuple[Cell, ...]  # every arm at every M_inf
    named_among: tuple[Arm, ...] = ()  # arms that an arm's name tells it from: those of all panels that share arms
    looks: Mapping[Arm, int] = dataclasses.field(default_factory=dict)  # the number of each arm's colour and marker

    @property
    def title(self) -> str:
        return f"{self.task}, {self.metric}, {self.split} split, model {self.model}"

    @property
    def arms(self) -> list[Arm]:
        return list(dict.fromkeys(cell.arm for cell in self.cells))

    @property
    def varies_m_inf(self) -> bool:
        """Whether an arm was evaluated at several M_inf that mean something."""
        return any(len(self.trained(arm)) > 1 for arm in self.arms)

    @property
    def varies_flops(self) -> bool:
        """Whether arms differ in what their training cost by more than counts as equal."""
        return vary([self.matched_cell(arm).training_flops for arm in self.arms])

    @property
    def varies_inference_flops(self) -> bool:
        """Whether one answer costs more in some cells than in others, by more than counts as equal."""
        return vary([cell.inference_flops for cell in self.cells if not cell.is_untrained])

    @property
    def is_validation(self) -> bool:
        """Whether M and checkpoints are chosen on it, so that nothing may be claimed from it."""
        return self.split == "validation"

    @property
    def lower_is_better(self) -> bool:
        """Whether the metric is an error or a loss."""
        return self.metric in ERRORS

    @property
    def spec(self) -> str:
        """The format of a value."""
        return ".3f" if self.metric in LOSSES else ".1f"

    @property
    def is_nested(self) -> bool:
        """Whether finetuned arms differ in how they were pretrained, so that the unit is the pretraining run."""
        return any(cell.is_nested for cell in self.cells)

    @property
    def unit(self) -> str:
        """The unit of differences."""
        return "nats" if self.metric in LOSSES else "points"

    def of_arm(self, arm: Arm) -> list[Cell]:
        """The arm's cells by ascending M_inf."""
        return sorted((cell for cell in self.cells if cell.arm == arm), key=lambda cell: cell.m_inf)

    def trained(self, arm: Arm) -> list[Cell]:
        """The arm's cells by ascending M_inf, but for those with pauses that were never trained."""
        return [cell for cell in self.of_arm(arm) if not cell.is_untrained]

    def matched_cell(self, arm: Arm) -> Cell:
        return min(self.of_arm(arm), key=lambda cell: (abs(cell.m_inf - arm.m_ft_largest), cell.m_inf))

    def name(self, arm: Arm) -> str:
        """The arm in words, as short as distinguishes it from others, and the same in all panels that share arms."""
        return describe(arm, self.named_among or self.arms)

    def label(self, cell: Cell) -> str:
        """The name of the cell's arm and, where it is not the arm's own, the number of pauses at inference."""
        elsewhere = f", {cell.m_inf} at inference" if cell.m_inf != cell.arm.m_ft_largest else ""
        return self.name(cell.arm) + elsewhere + " (never trained)" * cell.is_untrained

    @property
    def quantity(self) -> str:
        """The metric with its unit, for an axis."""
        if self.metric in LOSSES:
            return f"{self.metric} (nats per text token)"
        return f"{self.metric} (%)" if all(cell.bounds for cell in self.cells) else self.metric

    @property
    def counts(self) -> str:
        """`6 seeds of each arm, 4,096 examples each`: how much data the panel shows."""
        seeds = _range([len(cell.by_seed) for cell in self.cells])
        examples = _range([row.n_examples for cell in self.cells for row in cell.by_seed.values()])
        units = {cell.estimate.unit for cell in self.cells} - {pairs.SEED}
        over = " (intervals are over pretraining runs)" if units else ""
        return (
            f"{seeds} seed{'s' * (seeds != '1')} of each arm{over}"
            f"{f', {examples} examples each' if examples != '0' else ''}"
        )


def describe(arm: Arm, arms: Sequence[Arm]) -> str:
    """An arm in words, as short as distinguishes it from the others."""
    parts = [_finetuning(arm)] if any(other.finetune != "none" or other.m_ft != "0" for other in arms) else []
    if arm.pretrain == "pause" or any(other.pretrain != "none" for other in arms):
        parts.insert(0, arm.pretraining)
    if len({other.steps for other in arms}) > 1 and arm.finetune != "none":  # else they are those of pretraining
        parts.append(f"{arm.steps:,} steps")
    if len({other.pretrain_steps for other in arms if other.pretrain == arm.pretrain}) > 1:
        parts.append(f"{arm.pretrain_steps.replace('|', ' + ')} steps of pretraining")
    if len({other.attention for other in arms}) > 1:
        parts.append(f"attention {arm.attention}")
    if arm.hints != "none":
        parts.append(f"hints on the {arm.hints}")
    if len({other.policy for other in arms if other.pretrain == "pause"}) > 1 and arm.pretrain == "pause":
        parts.append(f"policy {arm.policy}")
    if len({other.num_pause_tokens for other in arms if other.num_pause_tokens}) > 1 and arm.num_pause_tokens:
        parts.append(f"{arm.num_pause_tokens} distinct")
    parts += [f"{name}={value}" for name, value in arm.settings if _varies(name, arms)]
    return ", ".join(parts)


def telling_settings(rows: Iterable[Result]) -> list[str]:
    """Names of the settings, seeds aside, in which rows differ that the columns alone would make one arm."""
    alike: dict[Arm, list[dict[str, Any]]] = {}
    for row in rows:
        if row.settings:
            alike.setdefault(Arm.of(row), []).append(settings_of(row))
    found: set[str] = set()
    for group in alike.values():
        names = {name for settings in group for name in settings if name.rpartition(".")[2] != "seed"}
        found |= {name for name in names if len({json.dumps(one.get(name, _DEFAULT)) for one in group}) > 1}
    return sorted(found)


def _setting(row: Result, name: str) -> str:
    """A setting as text: the row's value, or the field's default."""
    field = re.sub(r"^stage\d+\.", "", name)
    value = settings_of(row).get(name, _defaults().get(field))
    return value if isinstance(value, str) else json.dumps(value)


@functools.cache
def _defaults() -> dict[str, Any]:
    return configs.flatten(configs.to_dict(configs.Config()))


def _varies(name: str, arms: Sequence[Arm]) -> bool:
    return len({dict(arm.settings).get(name) for arm in arms}) > 1


def make_panels(rows: Sequence[Result]) -> list[Panel]:
    """Group rows; panels, and in them arms, stand in the order in which the rows first name them, baselines first.

    Raises:
      UserError: two rows differ in nothing but checkpoint, so that they can't be told apart, or M_ft is not a number.
    """
    groups: dict[tuple[str, str, str, str], list[Result]] = {}
    for row in rows:
        _check_m_ft(row)
        groups.setdefault((row.model, row.task, row.metric, row.split), []).append(row)
    panels = [Panel(*key, cells=tuple(sorted(_cells(group), key=_order))) for key, group in groups.items()]
    named = [dataclasses.replace(panel, named_among=_named_among(panel, panels)) for panel in panels]
    names = list(dict.fromkeys(panel.name(arm) for panel in named for arm in panel.arms))
    return [
        dataclasses.replace(panel, looks={arm: names.index(panel.name(arm)) for arm in panel.arms}) for panel in named
    ]


def _named_among(panel: Panel, panels: Sequence[Panel]) -> tuple[Arm, ...]:
    """The arms of all panels of this model and task, of those that share arms with them, and so on."""
    found: dict[Arm, None] = dict.fromkeys(panel.arms)
    arms_of = [
        dict.fromkeys(arm for one in panels if (one.model, one.task) == key for arm in one.arms)
        for key in dict.fromkeys((one.model, one.task) for one in panels)
    ]
    while more := [arms for arms in arms_of if found.keys() & arms.keys() and arms.keys() - found.keys()]:
        for arms in more:
            found |= arms
    return tuple(found)


def _range(numbers: Sequence[int]) -> str:
    low, high = min(numbers), max(numbers)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def _cells(rows: Sequence[Result]) -> list[Cell]:
    """The cells of a panel. Runs are told apart by seed and, where that is not enough, by the seed of pretraining."""
    found: dict[tuple[Arm, int], list[Result]] = {}
    telling = telling_settings(rows)
    for row in rows:
        found.setdefault((Arm.of(row, telling), row.m_inf), []).append(row)
    is_crossed = any(len({row.seed for row in mine}) < len(mine) for mine in found.values())
    is_nested = not pairs.is_pretrained_alike(r for r in rows if r.finetune != "none" and r.pretrain != "none")
    is_percentage = rows[0].metric not in LOSSES and all(0 <= row.value <= 100 for row in rows)
    cells = []
    for (arm, m_inf), mine in found.items():
        by_seed: dict[Seed, Result] = {}
        for row in mine:
            seed = Seed(row.seed, row.pretrain_seed if is_crossed else "")
            if seed in by_seed:
                raise UserError(
                    f"two results of {row.task}, {row.metric}, seed {seed}, M_inf {row.m_inf} differ in nothing but "
                    f"their checkpoints, {by_seed[seed].checkpoint} and {row.checkpoint}: remove one of the rows, or "
                    "give their runs different names in the column model"
                )
            by_seed[seed] = row
        bounds = statistics.PERCENT if is_percentage else None
        cells.append(Cell(arm, m_inf, dict(sorted(by_seed.items())), is_nested, bounds))
    return cells


def missing_cells(panel: Panel) -> list[str]:
    """Sentences on M_inf and seeds that other arms of the panel have and an arm lacks.

    An M_inf is missing only where another arm with pauses was evaluated there away from its own M_ft: without one the
    panel does not vary M_inf.
    """
    seeds = sorted({seed for cell in panel.cells for seed in cell.by_seed})
    paused = [arm for arm in panel.arms if arm.m_ft_largest]
    crossed = {cell.m_inf for arm in paused for cell in panel.of_arm(arm) if cell.m_inf != arm.m_ft_largest}
    sentences = []
    for arm in panel.arms:
        lacking: dict[tuple[Seed, ...], list[int]] = {}
        for cell in panel.of_arm(arm):
            if absent := tuple(seed for seed in seeds if seed not in cell.by_seed):
                lacking.setdefault(absent, []).append(cell.m_inf)
        if arm in paused and (unseen := crossed - {cell.m_inf for cell in panel.of_arm(arm)}):
            lacking.setdefault(tuple(seeds), []).extend(sorted(unseen))
        label = panel.label(panel.matched_cell(arm))
        for absent, m_infs in lacking.items():
            whose = "all seeds" if len(absent) == len(seeds) else f"seed{'s' * (len(absent) > 1)} {_listed(absent)}"
            sentences.append(f"{panel.title}: {label}, at M_inf {_listed(sorted(m_infs))}: {whose}")
    return sentences


def families(panel: Panel) -> dict[Arm, list[Arm]]:
    """Families by what their arms share (an Arm without M_ft); arms without pauses belong to one of each placement."""
    finetuned = [arm for arm in panel.arms if arm.finetune != "none"]
    found: dict[Arm, list[Arm]] = {}
    for arm in finetuned:
        if arm.placement != "none":
            found.setdefault(_without_m(arm), []).append(arm)
    for key, arms in found.items():
        for arm in finetuned:
            # without pauses in pretraining an arm has seen none, however many distinct ones its model has
            seen = arm.num_pause_tokens if arm.pretrain == "pause" else key.num_pause_tokens
            alike = dataclasses.replace(_without_m(arm), placement=key.placement, num_pause_tokens=seen)
            if arm.placement == "none" and alike == key:
                arms.append(arm)
    return found


def family_title(family: Arm, families: Iterable[Arm]) -> str:
    """The family in words, as short as distinguishes it from the others."""
    alike = [other for other in families if other.pretrain == family.pretrain]
    words = {
        "placement": family.placement,
        "steps": f"{family.steps:,} steps",
        "pretrain_steps": f"{family.pretrain_steps.replace('|', ' + ')} steps of pretraining",
        "attention": f"attention {family.attention}",
        "policy": f"policy {family.policy}",
        "num_pause_tokens": f"{family.num_pause_tokens} distinct",
        "hints": "no hints" if family.hints == "none" else f"hints on the {family.hints}",
    }
    varying = [text for name, text in words.items() if len({getattr(other, name) for other in alike}) > 1]
    varying += [f"{name}={value}" for name, value in family.settings if _varies(name, alike)]
    return ", ".join([family.pretraining, *varying])


def is_cost(flops: float) -> bool:
    """Whether FLOPs are known: at least one, and less than `HUGE`, so that sums are finite."""
    return 1 <= flops < HUGE


def flops_ratio(cell: Cell, baseline: Cell) -> float:
    """Training FLOPs of one over those of the other; nan where either are not known."""
    if not (is_cost(cell.training_flops) and is_cost(baseline.training_flops)):
        return math.nan
    return cell.training_flops / baseline.training_flops


def are_equal_flops(cell: Cell, baseline: Cell) -> bool:
    return abs(flops_ratio(cell, baseline) - 1) <= EQUAL_FLOPS


def paired_differences(cell: Cell, baseline: Cell) -> Paired:
    """Cell minus baseline for each seed that both have, in order of the seeds, averaged within each unit."""
    return pairs.pair(cell.by_seed, baseline.by_seed)


def _without_m(arm: Arm) -> Arm:
    return dataclasses.replace(arm, finetune="", m_ft="")


def _listed(numbers: Sequence[object]) -> str:
    return ", ".join(map(str, numbers))


def vary(flops: Sequence[float]) -> bool:
    """Whether costs differ by more than counts as equal, as far as they are known."""
    known = [value for value in flops if is_cost(value)]
    return bool(known) and max(known) > (1 + EQUAL_FLOPS) * min(known)


def _finetuning(arm: Arm) -> str:
    if arm.m_ft_largest == 0:
        words = "no pauses" if arm.placement == "none" else f"{arm.placement} at inference only"
    else:
        numbers = arm.m_ft.replace("|", " or ")
        words = numbers + {"filler": " fillers", "prepend": " pauses in front"}.get(arm.placement, " pauses")
    return "zero-shot" if arm.finetune == "none" else words


def _order(cell: Cell) -> tuple[bool, bool, bool]:
    """Sort key: baselines first, zero-shot last, pretraining without pauses before with; else stable."""
    return cell.arm.finetune == "none", not cell.arm.is_baseline, cell.arm.pretrain == "pause"


def _check_m_ft(row: Result) -> None:
    if not all(m.isdecimal() for m in row.m_ft.split("|")):
        raise UserError(
            f"m_ft of {row.checkpoint} is {row.m_ft!r}, but must be a whole number, or several as 0|10: correct it in "
            "the results file"
        )

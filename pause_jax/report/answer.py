"""The box at the top of a report: do pauses help here, by how much, at what cost, how sure, and what to run next.

Nothing is decided here: verdicts are those of comparisons.py, which are picked and put into sentences. The question is
asked at equal training FLOPs where a baseline was trained with as many.
"""

from __future__ import annotations

import dataclasses
import math
import textwrap
from collections.abc import Callable, Sequence

from pause_jax.report import pairs, power
from pause_jax.report.comparisons import Comparison, Report
from pause_jax.report.panels import Arm, Cell, are_equal_flops, flops_ratio, is_cost, paired_differences
from pause_jax.report.run_comparison import Compared
from pause_jax.report.statistics import NEEDED, counted, estimate
from pause_jax.report.tables import interval

QUESTION = "Do pauses help here?"
SHOWN = 3  # comparisons that the box tells of
LETTERS = "ABC"  # their names in it
WIDTH = 100  # characters of a line on the terminal
AT_EQUAL_FLOPS = "at equal training FLOPs"


@dataclasses.dataclass(frozen=True)
class Point:
    """A heading of the box and what stands beside it."""

    heading: str
    sentences: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Answer:
    """The box in words; the page and the terminal only lay it out."""

    verdict: str
    points: tuple[Point, ...] = ()
    question: str = QUESTION

    def text(self) -> str:
        """The box for a terminal, between two rules."""
        rule, room = "─" * WIDTH, 1 + max((len(point.heading) for point in self.points), default=0)
        lines = [rule, *textwrap.wrap(f"{self.question} {self.verdict}", WIDTH)]
        for point in self.points:
            for i, sentence in enumerate(point.sentences):
                first = f"  {point.heading if i == 0 else '':{room}} "
                lines += textwrap.wrap(sentence, WIDTH, initial_indent=first, subsequent_indent=" " * len(first))
        return "\n".join([*lines, rule])


def make_answer(report: Report, compared: Sequence[Compared] = ()) -> Answer:
    """The answer of a report; `compared` are the training runs that it puts beside each other."""
    if not report.comparisons:
        return _without_comparisons(report, compared)
    leads = _leads(report)
    found = [
        Point("By how much", _tagged(leads, lambda one: _how_much(one, report))),
        Point("At what cost", _tagged(leads, _cost)),
        Point("How sure", _tagged(leads, _how_sure)),
        Point("What to run next", _tagged(leads, lambda one: _next(one, report))),
        Point("Without pauses", _tagged(leads, _control)),
        Point("Also", _also(report, leads)),
    ]
    return Answer(_verdict(report), tuple(point for point in found if point.sentences))


def _asked(report: Report) -> list[Comparison]:
    """The comparisons that answer: at equal training FLOPs or, where there are none, each arm's nearest to that."""
    if equal := [one for one in report.comparisons if one.has_equal_flops]:
        return equal
    nearest: dict[int, Comparison] = {}
    for one in report.comparisons:
        before = nearest.setdefault(id(one.cell), one)
        if _distance(one) < _distance(before):
            nearest[id(one.cell)] = one
    return list(nearest.values())


def _distance(one: Comparison) -> float:
    return math.inf if math.isnan(one.flops_ratio) else abs(math.log(one.flops_ratio))


def _leads(report: Report) -> list[Comparison]:
    """The comparisons that the box tells of: the significant ones, then those of the M chosen by validation, the rest.

    Of the metrics of one task the first counts, unless another one's difference is significant.
    """
    chosen = [
        (selection.candidates.panel, selection.chosen)
        for selection in report.selections
        if selection.chosen is not None and selection.chosen > 0
    ]

    def rank(one: Comparison) -> tuple[bool, float, bool]:
        p = one.effect.corrected_p if one.effect.is_significant else 0.0
        return not one.effect.is_significant, p, (one.panel, one.cell.m_inf) not in chosen

    told: dict[tuple[str, str, str, Arm, Arm], Comparison] = {}
    for one in sorted(_asked(report), key=rank):
        panel = one.panel
        told.setdefault((panel.task, panel.model, panel.split, one.cell.arm, one.baseline.arm), one)
    return list(told.values())[:SHOWN]


def _verdict(report: Report) -> str:
    asked = _asked(report)
    if not asked[0].has_equal_flops:
        return _verdict_at_other_costs(asked)
    found = [one for one in asked if one.effect.is_significant]
    gains = sum(one.is_better for one in found)
    losses, count = len(found) - gains, len(asked)
    if gains and losses:
        return f"It depends: they help in {gains} and do harm in {losses} of {count} comparisons {AT_EQUAL_FLOPS}."
    rest = f", in {len(found)} of {count} comparisons; of the rest no effect can be claimed"
    if found:
        answer = "Yes" if gains else "No, they do harm"
        answer += ", for what starts from the pretraining runs of these arms" * all(one.shared_runs for one in found)
        return f"{answer}, {AT_EQUAL_FLOPS}{rest if count > len(found) else ''}."
    if not any(one.is_known for one in asked):
        return "Not known: the results do not say from which pretraining runs the arms start."
    most = max((one.effect.difference for one in asked), key=lambda difference: difference.n)
    if most.n < NEEDED:
        are = "is" if most.n == 1 else "are"
        return f"Not known yet: a verdict takes {NEEDED} {most.unit}s of both arms, and there {are} {most.n}."
    return f"No effect was found: from {counted(most)} none can be claimed {AT_EQUAL_FLOPS}."


def _verdict_at_other_costs(asked: Sequence[Comparison]) -> str:
    if all(math.isnan(one.flops_ratio) for one in asked):
        return f"Not known {AT_EQUAL_FLOPS}: the results do not say what training cost."
    why = f"Not known {AT_EQUAL_FLOPS}: no arm without pauses was trained with as many."
    found = [one for one in asked if one.effect.is_significant]
    gains = sum(one.is_better for one in found)
    parts = [f"{what} in {count}" for count, what in ((gains, "a gain"), (len(found) - gains, "a loss")) if count]
    return f"{why} At other costs: {' and '.join(parts)} of {len(asked)} comparisons." if found else why


def _how_much(one: Comparison, report: Report) -> str:
    """`+42.5 [+39.4, +45.6] points of accuracy on late_parity_6 (98.9 against 56.5): 13 pauses minus no pauses.`"""
    panel, difference = one.panel, one.effect.difference
    where = f"{panel.metric} on {panel.task}" + f", model {panel.model}" * (len({p.model for p in report.panels}) > 1)
    if panel.lower_is_better:
        where += ", where less is better"
    if one.cell.by_seed.keys() == one.baseline.by_seed.keys():  # else the means are of other seeds than the difference
        where += f" ({one.cell.estimate.mean:{panel.spec}} against {one.baseline.estimate.mean:{panel.spec}})"
    return (
        f"{difference.mean:+{panel.spec}} {interval(difference, '+' + panel.spec)} {panel.unit} of {where}: "
        f"{panel.label(one.cell)} minus {panel.label(one.baseline)}."
    )


def _cost(one: Comparison) -> str:
    """What the pauses' arm costs, in FLOPs of the other one."""
    if math.isnan(one.flops_ratio):
        training = "Training FLOPs are not known"
    elif one.has_equal_flops:
        training = "As many training FLOPs as without pauses"
    else:
        training = f"{one.flops_ratio:.2f} × the training FLOPs of the arm without pauses"
    ratio = one.inference_flops_ratio
    if math.isnan(ratio):
        return f"{training}."
    return f"{training}; an answer costs {'as many too' if abs(ratio - 1) < 0.005 else f'{ratio:.2f} × as many'}."


def _how_sure(one: Comparison) -> str:
    brackets = " (in brackets the 95 % interval)" * (one.effect.difference.n > 1)
    return f"{counted(one.effect.difference)}{brackets}{one.effect.evidence()}: {one.verdict()}."


def _next(one: Comparison, report: Report) -> str:
    """What would decide the comparison, or what is missing for it."""
    if not one.is_known:
        return (
            "Ask launch.evaluate about the runs again, so that their rows name their pretraining runs; a verdict takes "
            f"{NEEDED} of each arm."
        )
    if not one.has_equal_flops:
        return _equal_flops_arm(one)
    if one.effect.is_significant:
        return "Nothing more is needed for this verdict."
    difference = one.effect.difference
    values = paired_differences(one.cell, one.baseline).values
    plan = power.plan(values, report.decided)
    if difference.n < NEEDED:
        return _more_units(one, plan, report.decided)
    spec, unit = "+" + one.panel.spec, difference.unit
    sides = [f"above {difference.high:{spec}}"] * (difference.high > 0)
    sides += [f"below {difference.low:{spec}}"] * (difference.low < 0)
    excluded = f"Differences {' and '.join(sides)} are excluded, as far as this one interval goes. "
    if plan is None:
        if difference.low < difference.high:
            return f"{excluded}No difference was seen that more {unit}s could be planned by."
        return f"More {unit}s like these decide nothing, as all differences are one number: another task may."
    if plan.units is None:
        return f"{excluded}To find one as small as the mean would take more than {power.MOST} {unit}s."
    return (
        f"{excluded}If the mean is the true difference, {max(plan.units, difference.n + 1)} fresh {unit}s find it in "
        f"{_percent(plan.power)} of repetitions; added to these they would be a second look, for which p makes no "
        "allowance."
    )


def _more_units(one: Comparison, plan: power.Plan | None, comparisons: int) -> str:
    """How many more there must be, where there are too few."""
    n, unit = one.effect.difference.n, one.effect.difference.unit
    total = NEEDED if plan is None or plan.units is None else plan.units
    run = f"Run {total - n} more {unit}{'s' * (total - n > 1)} of both arms, {total} in all"
    if plan is None:
        verb = "leaves" if n == 1 else "leave"
        return f"{run}, the fewest for a verdict: {counted(one.effect.difference)} {verb} nothing to plan by."
    if plan.units is None:
        return (
            f"{run}, for a verdict; to find a difference as small as this one, if it is the true one, takes more than "
            f"{power.MOST}."
        )
    corrected = f", p corrected for {comparisons} comparisons" * (comparisons > 1)
    return (
        f"{run}: if the difference seen is the true one, that many find it in {_percent(plan.power)} of repetitions"
        f"{corrected}."
    )


def _percent(share: float) -> str:
    return "over 99 %" if share > 0.99 else f"{100 * share:.0f} %"


def _equal_flops_arm(one: Comparison) -> str:
    """Which arm without pauses is missing."""
    arm, label, baseline = one.baseline.arm, one.panel.label(one.baseline), one.panel.label(one.cell)
    ratio = one.flops_ratio
    if math.isnan(ratio):
        return (
            "Evaluate runs whose records say what training cost: without FLOPs pauses are not told from more training."
        )
    # only the steps of a single stage are in proportion to the FLOPs of all
    is_one_stage = arm.pretrain == "none" or (arm.finetune == "none" and "|" not in arm.pretrain_steps)
    if is_one_stage and arm.steps:
        much = f"for {ratio:.2f} × its steps ({ratio * arm.steps:,.0f} in place of {arm.steps:,})"
    else:
        much = f"with {ratio:.2f} × its training FLOPs, all stages together"
    return f"Train “{label}” {much}: as many FLOPs as “{baseline}”; {NEEDED} {one.effect.difference.unit}s of both."


def _control(one: Comparison) -> str:
    """An arm without pauses, for no more FLOPs, that does as well as the arm with pauses; "" where there is none.

    It is not among the comparisons that p values are corrected for, so nothing is claimed: only its mean and interval
    are told.
    """
    if not one.is_better:  # then the baseline does as well already
        return ""
    panel, cell = one.panel, one.cell
    sign = -1 if panel.lower_is_better else 1
    found: list[tuple[float, str]] = []
    for control in (panel.matched_cell(arm) for arm in panel.arms if _is_control(arm, one)):
        paired = paired_differences(cell, control)
        is_dearer = not flops_ratio(control, cell) < 1 and not are_equal_flops(control, cell)
        if not paired.values or control.is_untrained or is_dearer or not is_cost(control.training_flops):
            continue
        minus = estimate(paired.values, unit=paired.unit)
        is_as_good = sign * minus.mean <= 0
        if not is_as_good and not minus.low <= 0 <= minus.high:  # false too where there is no interval
            continue
        spec = panel.spec
        verdict = "by its mean it does as well or better" if is_as_good else "nothing tells the two apart"
        found.append(
            (
                sign * minus.mean,
                f"“{panel.label(control)}” has {control.estimate.mean:{spec}} {_cost_words(control, cell)}; pauses "
                f"minus it: {minus.mean:+{spec}} {interval(minus, '+' + spec)}, {counted(minus)}: {verdict}.",
            )
        )
    return min(found)[1] if found else ""


def _is_control(arm: Arm, one: Comparison) -> bool:
    is_alike = (arm.finetune == "none") == (one.cell.arm.finetune == "none")
    return arm.is_baseline and is_alike and arm != one.baseline.arm


def _cost_words(control: Cell, cell: Cell) -> str:
    if are_equal_flops(control, cell):
        return AT_EQUAL_FLOPS
    return f"at {flops_ratio(control, cell):.2f} × the training FLOPs"


def _also(report: Report, leads: Sequence[Comparison]) -> tuple[str, ...]:
    """What the box leaves out."""
    sentences = []
    if more := len(report.comparisons) - len(leads):
        sentences.append(f"{more} more comparison{'s' * (more > 1)} below.")
    return (*sentences, *_missing(report))


def _missing(report: Report) -> tuple[str, ...]:
    counts = ((len(report.failures), "failure"), (len(report.missing), "missing result"))
    parts = [f"{count} {what}{'s' * (count > 1)}" for count, what in counts if count]
    return (f"{' and '.join(parts)}: the answer is of what is there.",) if parts else ()


def _tagged(leads: Sequence[Comparison], say: Callable[[Comparison], str]) -> tuple[str, ...]:
    """What is to be said of each comparison, begun with its letter; once for those of which it is the same."""
    letters: dict[str, list[str]] = {}
    for letter, one in zip(LETTERS, leads, strict=False):
        letters.setdefault(say(one), []).append(letter)
    letters.pop("", None)
    return tuple(text if len(of) == len(leads) else f"{' and '.join(of)}: {text}" for text, of in letters.items())


def _without_comparisons(report: Report, compared: Sequence[Compared]) -> Answer:
    verdict, run = _why_nothing(report, compared)
    missing = _missing(report)
    return Answer(verdict, (Point("What to run next", (run,)), *([Point("Also", missing)] if missing else [])))


def _why_nothing(report: Report, compared: Sequence[Compared]) -> tuple[str, str]:
    """The verdict and what to run next where no arm has a baseline."""
    if not report.panels and compared:
        return (
            "Not answered: these are losses of training runs, and nothing is claimed from them.",
            f"{NEEDED} seeds of each arm, then python -m launch.evaluate --run=RUN --tasks=TASK --out=results.csv of "
            "each run, and the report of that file.",
        )
    if not report.panels:
        return "Not answered: nothing was measured.", "The same command again, once the failures are seen to."
    panels = [panel for panel in report.panels if not panel.is_validation]
    if not panels:
        return (
            "Not answered: all results are of the validation split, on which M and checkpoints are chosen.",
            "launch.evaluate of the same runs with --split=validation,test.",
        )
    arms = [arm for panel in panels for arm in panel.arms]
    if all(arm.is_baseline for arm in arms):
        return (
            "Not answered: no arm has pauses.",
            "An arm with pauses: config.pauses.rate puts them into pretraining, config.finetune.m_ft into finetuning.",
        )
    unit = pairs.PRETRAINING if any(panel.is_nested for panel in panels) else pairs.SEED
    if not any(arm.is_baseline for arm in arms):
        return (
            "Not answered: every arm has pauses.",
            f"The same without pauses, trained with as many FLOPs (more steps), on the same seeds; {NEEDED} {unit}s of "
            "both for a verdict.",
        )
    return (
        "Not answered: no arm with pauses has a baseline without them on the same seeds.",
        "Both arms with the same seeds, stages of training and attention, on the same task, metric and split; "
        f"{NEEDED} {unit}s of both for a verdict.",
    )

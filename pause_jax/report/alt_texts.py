"""What pictures show, in words and numbers, for readers who do not see them: a function for each kind of picture."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pause_jax.report import result_plots, run_curves
from pause_jax.report.across_sizes import Overview
from pause_jax.report.panels import Arm, Cell, Panel, is_cost
from pause_jax.report.run_curves import Curves
from pause_jax.report.tables import human_flops, interval


def of_seeds(panel: Panel) -> str:
    return _listed("A dot for each seed, with the mean and its interval", (_arm(panel, arm) for arm in panel.arms))


def of_m_inf(panel: Panel, arms: Sequence[Arm]) -> str:
    """By arm the mean at each number of pauses at inference."""
    lines = []
    for arm in arms:
        means = ", ".join(f"{_mean(panel, cell)} after {cell.m_inf}" for cell in panel.trained(arm))
        if means:
            lines.append(f"{panel.name(arm)}: {means}")
    return _listed("Means by pauses at inference", lines)


def of_cost(panel: Panel, cost: result_plots.Cost) -> str:
    cells = [panel.matched_cell(arm) for arm in panel.arms]
    return _listed(
        f"Means against {cost} FLOPs",
        (f"{_arm(panel, cell.arm)} at {human_flops(cell.flops(cost))}" for cell in cells if is_cost(cell.flops(cost))),
    )


def of_heat_map(panel: Panel, family: Arm, arms: Sequence[Arm]) -> str:
    """By pauses in finetuning the mean at each number of pauses at inference."""
    rows = []
    for arm in arms:
        cells = result_plots.heat_cells(panel, family, arm)
        means = ", ".join(f"{_mean(panel, cell)} after {cell.m_inf}" for cell in cells)
        rows.append(f"{arm.m_ft.replace('|', ' or ')} in finetuning: {means}")
    return _listed("A map of means by pauses in finetuning and at inference", rows)


def of_differences(overview: Overview, words: Sequence[str]) -> str:
    """By comparison the difference at each model size."""
    spec = "+" + overview.panels[0].spec
    lines = []
    for line in words:
        differences = ((model, one.effect.difference) for model, one in overview.lines[line].items())
        told = ", ".join(f"model {model} {of.mean:{spec}} {interval(of, spec)}" for model, of in differences)
        lines.append(f"{line}: {told}")
    return _listed("Differences by model size", lines)


def of_sizes(overview: Overview, cost: result_plots.Cost) -> str:
    texts = (f"model {panel.model}: {_arm(panel, arm)}" for panel in overview.panels for arm in panel.arms)
    return _listed(f"Means of all model sizes against {cost} FLOPs", texts)


def of_losses(curves: Curves, labels: Sequence[str], metric: str | None = None) -> str:
    """By arm the last value of a loss; None: of validation where it was measured, else of training."""
    metric = metric or (run_curves.VALIDATION if curves.have(run_curves.VALIDATION) else run_curves.TRAINING)
    lasts = ((label, run_curves.last(curves.runs[label], metric)) for label in labels)
    texts = (f"{label}: {last.mean:.3f}" for label, last in lasts if last is not None)
    return _listed(f"Losses that end ({run_curves.NAMES[metric]}) at", texts)


def _arm(panel: Panel, arm: Arm) -> str:
    cell = panel.matched_cell(arm)
    return f"{panel.label(cell)}: {_mean(panel, cell)} {interval(cell.estimate, panel.spec)}"


def _mean(panel: Panel, cell: Cell) -> str:
    return f"{cell.estimate.mean:{panel.spec}}"


def _listed(what: str, texts: Iterable[str]) -> str:
    return f"{what}. {'; '.join(texts)}."

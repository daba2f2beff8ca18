"""Effects of pauses at each model size: one task, metric and split over two models or more."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pause_jax.report import figures, result_plots
from pause_jax.report.best_m import Selection
from pause_jax.report.comparisons import Comparison, Report
from pause_jax.report.panels import Arm, Panel, describe, is_cost
from pause_jax.report.plots import COLORS
from pause_jax.report.tables import Column, Table

_UNITS = {"": 1.0, "K": 1e3, "M": 1e6, "B": 1e9, "T": 1e12}


@dataclasses.dataclass(frozen=True)
class Overview:
    """The panels of one task, metric and split, smallest model first, and each comparison over them."""

    panels: tuple[Panel, ...]
    lines: Mapping[str, Mapping[str, Comparison]]  # the compared arm, in words → model → comparison
    selections: tuple[tuple[Panel, Selection], ...]

    @property
    def title(self) -> str:
        first = self.panels[0]
        return f"{first.task}, {first.metric}, {first.split} split, over {len(self.panels)} model sizes"

    @property
    def models(self) -> list[str]:
        return [panel.model for panel in self.panels]

    def sentences(self) -> list[str]:
        """At which sizes an effect was significant. Nothing is said of a trend over sizes, as none is tested."""
        sentences = []
        for words, by_model in self.lines.items():
            significant = [model for model, comparison in by_model.items() if comparison.effect.is_significant]
            at = f"at {', '.join(significant)}" if significant else "at no size"
            sentences.append(f"{words}: a difference beyond the chance of seeds {at}, of {len(by_model)} compared.")
        return [*sentences, "Whether a difference grows with size is not tested here."]

    def differences(self) -> Table:
        rows = tuple(
            (
                words,
                model,
                comparison.effect.difference,
                comparison.effect.corrected_p,
                "yes" if comparison.effect.is_significant else "no",
            )
            for words, by_model in self.lines.items()
            for model, comparison in by_model.items()
        )
        columns = (
            Column("compared"),
            Column("model"),
            Column("difference", signed=True),
            Column("corrected p", "p"),
            Column("significant"),
        )
        return Table("sizes", "Differences by model size", columns, rows)

    def best_m(self) -> Table | None:
        """A table of the M that was chosen by validation at each size; None where none could be chosen."""
        rows = tuple(
            (
                panel.model,
                selection.candidates.title,
                selection.chosen,
                100 * selection.bootstrap[selection.chosen],
                selection.test_estimate,
                selection.effect.difference if selection.effect else None,
                "yes" if selection.effect and selection.effect.is_significant else "no",
            )
            for panel, selection in self.selections
            if selection.chosen is not None
        )
        columns = (
            Column("model"),
            Column("training"),
            Column("best M by validation"),
            Column("% of bootstrap draws", ".0f"),
            Column(self.panels[0].split),
            Column("minus no pauses", signed=True),
            Column("significant"),
        )
        return Table("best_m_by_size", "Best M by model size", columns, rows) if rows else None


def find(report: Report) -> list[Overview]:
    """Overviews of comparisons and selections at two sizes or more; there are none of validation splits."""
    groups: dict[tuple[str, str, str], list[Panel]] = {}
    for panel in report.panels:
        if not panel.is_validation:
            groups.setdefault((panel.task, panel.metric, panel.split), []).append(panel)
    overviews = []
    for panels in groups.values():
        ordered = tuple(sorted(panels, key=_size))
        lines = {words: line for words, line in _lines(report, ordered).items() if len(line) > 1}
        selections = tuple((panel, selection) for panel in ordered for selection in report.selections_of(panel))
        if len(ordered) > 1 and (lines or selections):
            overviews.append(Overview(ordered, lines, selections))
    return overviews


def parameters(model: str) -> float | None:
    """How many parameters a model's name says it has; None where it does not.

    >>> parameters("826.5k"), parameters("130m"), parameters("tiny")
    (826500.0, 130000000.0, None)
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([KMBT]?)", model.upper())
    return float(found[1]) * _UNITS[found[2]] if found else None


def plot_differences(overview: Overview, words: Sequence[str], out: Path) -> None:
    """Each comparison's difference and 95 % interval against model size; hollow where it is not significant.

    Args:
      words: keys of `overview.lines`, the comparisons to draw.
    """
    figure, axes = figures.new(height=3.2 + 0.25 * len(words))
    xs = _positions(axes, overview.models)
    axes.axhline(0, color="#444444", linewidth=1)
    marks = _marks(overview)
    drawn: list[tuple[list[float], list[tuple[float, float]], str]] = []
    for i, line in enumerate(words):
        by_model, mark = overview.lines[line], marks[line]
        effects = [comparison.effect for comparison in by_model.values()]
        at = [xs[model] + 0.06 * (i - (len(words) - 1) / 2) for model in by_model]
        widths = [e.difference.high - e.difference.mean for e in effects]
        means = [e.difference.mean for e in effects]
        finite = [width if math.isfinite(width) else 0.0 for width in widths]
        drawn.append((at, [(m - w, m + w) for m, w in zip(means, finite, strict=True)], mark["color"]))
        axes.errorbar(
            at,
            means,
            yerr=finite,
            **mark,
            **figures.joined(len(at)),
            elinewidth=0.9,
            capsize=2,
            markersize=6,
            markerfacecolor="white",
            label=figures.fold(line),
        )
        found = [(x, mean) for x, mean, effect in zip(at, means, effects, strict=True) if effect.is_significant]
        axes.plot([x for x, _ in found], [y for _, y in found], **(mark | {"linewidth": 0}), markersize=6, zorder=4)
    axes.set_xlabel("model (parameters)" if _are_named_by_size(overview.models) else "model, by cost of inference")
    first = overview.panels[0]
    least = result_plots.LEAST_LOSS if first.unit == "nats" else result_plots.LEAST_PERCENT
    ends = [end for _, of_line, _ in drawn for end in of_line]
    shown = [0.0, *((low + high) / 2 for low, high in ends)]
    axes.set_ylim(figures.at_least(figures.view(axes.get_ylim(), shown, ends), least))
    for at, of_line, color in drawn:
        figures.arrows(axes, at, of_line, color)
    axes.set_ylabel(figures.plain(f"{first.unit} of {first.metric}{' per text token' * (first.unit == 'nats')}"))
    figures.legend(figure, title="filled: beyond the chance of seeds; hollow: not significant")
    figures.save(figure, out)


def plot_cost(overview: Overview, cost: result_plots.Cost, out: Path) -> None:
    """All sizes in one picture against FLOPs: colour and marker are the arm's, larger where the model is."""
    cells = [(i, panel, panel.matched_cell(arm)) for i, panel in enumerate(overview.panels) for arm in panel.arms]
    known = [(i, panel, cell) for i, panel, cell in cells if is_cost(cell.flops(cost))]
    kinds = {panel.label(cell): result_plots.look(panel, cell.arm) for _, panel, cell in known}
    figure, axes = figures.new(height=3.4 + 0.2 * (len(kinds) + len(overview.panels)))
    for i, panel, cell in known:
        mark = {name: kinds[panel.label(cell)][name] for name in ("color", "marker")}
        width = result_plots.bars([cell])
        axes.errorbar(
            [cell.flops(cost)],
            [cell.estimate.mean],
            yerr=width,
            **mark,
            capsize=2,
            elinewidth=0.8,
            markersize=_mark_size(i),
            linestyle="none",
        )
    front = result_plots.draw_front(axes, [cell for _, _, cell in known], cost)
    axes.set_xscale("log")
    axes.set_ylim(result_plots.limits(overview.panels[0], [cell for _, _, cell in known], axes.get_ylim()))
    for _, panel, cell in known:
        figures.arrows(axes, [cell.flops(cost)], result_plots.ends([cell]), kinds[panel.label(cell)]["color"])
    axes.set_xlabel(result_plots.COST_LABELS[cost])
    axes.set_ylabel(figures.plain(overview.panels[0].quantity))
    figures.legend(figure, handles=[*_explain(overview.models, kinds), *([front] if front else [])])
    figures.save(figure, out)


def known_costs(overview: Overview) -> list[result_plots.Cost]:
    costs: tuple[result_plots.Cost, ...] = ("training", "inference")
    if overview.panels[0].lower_is_better:
        return []
    matched_cells = [panel.matched_cell(arm) for panel in overview.panels for arm in panel.arms]
    return [cost for cost in costs if any(is_cost(cell.flops(cost)) for cell in matched_cells)]


def _lines(report: Report, panels: Sequence[Panel]) -> dict[str, dict[str, Comparison]]:
    """Comparisons by what they compare, in words that leave out how many steps each size was trained for."""
    blank = {(panel.model, arm): _blank(panel, arm) for panel in panels for arm in panel.arms}
    among = list(dict.fromkeys(arm for arm, _ in blank.values()))
    lines: dict[str, dict[str, Comparison]] = {}
    for panel in panels:
        compared = report.of_panel(panel)
        for comparison in compared:
            arm, budget = blank[panel.model, comparison.cell.arm]
            words = f"{describe(arm, among)}{budget} minus no pauses"
            if sum(other.cell is comparison.cell for other in compared) > 1:
                words += " at equal training FLOPs" if comparison.has_equal_flops else " at equal steps"
            lines.setdefault(words, {}).setdefault(panel.model, comparison)
    return lines


def _blank(panel: Panel, arm: Arm) -> tuple[Arm, str]:
    """The arm without its steps, and in words which of the panel's training budgets it has, where there are several."""
    budgets = sorted({(a.steps, a.pretrain_steps) for a in panel.arms if _without_steps(a) == _without_steps(arm)})
    which = budgets.index((arm.steps, arm.pretrain_steps)) + 1
    return _without_steps(arm), f", training budget {which} of {len(budgets)}" if len(budgets) > 1 else ""


def _without_steps(arm: Arm) -> Arm:
    return dataclasses.replace(arm, steps=0, pretrain_steps="")


def _size(panel: Panel) -> tuple[float, float, str]:
    costs = [cell.inference_flops for cell in panel.cells if is_cost(cell.inference_flops)]
    return parameters(panel.model) or 0.0, min(costs, default=0.0), panel.model


def _are_named_by_size(models: Sequence[str]) -> bool:
    return all(parameters(model) for model in models)


def _positions(axes: Any, models: Sequence[str]) -> dict[str, float]:
    """Evenly spaced positions of models, with their names as ticks, which on an axis to scale would overlap."""
    axes.set_xticks(range(len(models)), [figures.plain(model) for model in models])
    axes.set_xlim(-0.5, len(models) - 0.5)
    return {model: float(i) for i, model in enumerate(models)}


def _marks(overview: Overview) -> dict[str, dict[str, Any]]:
    """Colour and marker of each line: those of its arm. Another comparison of the same arm has another marker."""
    marks: dict[str, dict[str, Any]] = {}
    seen: dict[int, int] = {}
    for words, by_model in overview.lines.items():
        first = next(iter(by_model.values()))
        number = first.panel.looks.get(first.cell.arm, 0)
        marks[words] = figures.mark(number + len(COLORS) * seen.get(number, 0))
        seen[number] = seen.get(number, 0) + 1
    return marks


def _mark_size(model: int) -> float:
    """Of the marks of a model, the smallest model first, in points."""
    return 5.0 + 2.5 * min(model, 4)


def _explain(models: Sequence[str], kinds: Mapping[str, Mapping[str, Any]]) -> list[Any]:
    from matplotlib.lines import Line2D

    grey: dict[str, Any] = {"color": "#777777", "linestyle": "none", "marker": "o"}
    sizes = [
        Line2D([], [], **grey, markersize=_mark_size(i), label=figures.plain(f"model {model}"))
        for i, model in enumerate(models)
    ]
    marks = [
        Line2D([], [], color=mark["color"], marker=mark["marker"], linestyle="none", label=figures.fold(kind))
        for kind, mark in kinds.items()
    ]
    return [*sizes, *marks]

"""Plots of results, one panel a picture, narrow enough to be read on a telephone."""

from __future__ import annotations

import math
import os
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pause_jax.reporting.comparisons import Cell, Panel
from pause_jax.reporting.plots import COLORS, MARKERS

WIDTH = 5.2  # inches; at 150 dots an inch 780 pixels
LABEL_CHARACTERS = 58  # in a line of a legend


def plot_seeds(panel: Panel, out: Path) -> None:
    """Each arm at its own M_inf: every seed a dot, the mean and its 95 % interval over seeds."""
    cells = [panel.home(arm) for arm in panel.arms]
    figure, axes = _new(height=0.9 + 0.62 * len(cells))
    for i, cell in enumerate(cells):
        color = COLORS[i % len(COLORS)]
        axes.scatter(cell.values, [i + 0.16] * len(cell.values), color=color, alpha=0.35, s=28, linewidths=0)
        axes.errorbar([cell.estimate.mean], [i], xerr=_half_width([cell]), **_mark(i), capsize=4, markersize=7)
        axes.annotate(_plain(panel.label(cell)), (0, i), (0, 9), xycoords=("axes fraction", "data"),
                      textcoords="offset points", fontsize=9)  # fmt: skip
    axes.set_ylim(len(cells) - 0.5, -0.75)
    axes.set_xlim(_percentages(cells, axes.get_xlim()))
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.set_xlabel(_plain(f"{panel.metric}, {panel.task}"))
    _save(figure, out)


def plot_m_inf(panel: Panel, out: Path) -> None:
    """The metric against pauses at inference, a line an arm; M_inf evenly spaced, as 0, 2, 5, 10, 50 could not be."""
    values = sorted({cell.m_inf for cell in panel.cells})
    arms = panel.arms
    figure, axes = _new(height=3.4 + 0.2 * len(arms))
    for i, arm in enumerate(arms):
        cells = panel.of_arm(arm)
        beside = 0.05 * (i - (len(arms) - 1) / 2)  # so that intervals do not hide each other
        xs = [values.index(cell.m_inf) + beside for cell in cells]
        axes.errorbar(xs, [cell.estimate.mean for cell in cells], yerr=_half_width(cells), **_mark(i),
                      elinewidth=0.8, capsize=2, markersize=5, label=_fold(panel.label(panel.home(arm))))  # fmt: skip
    axes.set_xticks(range(len(values)), [str(value) for value in values])
    axes.set_ylim(_percentages(panel.cells, axes.get_ylim()))
    axes.set_xlabel("pauses at inference")
    axes.set_ylabel(_plain(panel.metric))
    _legend(figure)
    _save(figure, out)


def plot_flops(panel: Panel, out: Path) -> None:
    """The metric against the FLOPs of training, all stages: arms above each other cost the same."""
    cells = [panel.home(arm) for arm in panel.arms]
    figure, axes = _new(height=3.4 + 0.2 * len(cells))
    for i, cell in enumerate(cells):
        axes.errorbar([cell.training_flops], [cell.estimate.mean], yerr=_half_width([cell]), **_mark(i),
                      capsize=3, markersize=7, linestyle="none", label=_fold(panel.label(cell)))  # fmt: skip
    axes.set_xlim(left=0, right=1.1 * max(cell.training_flops for cell in cells))
    axes.set_ylim(_percentages(cells, axes.get_ylim()))
    axes.set_xlabel("model FLOPs of training, all stages")
    axes.set_ylabel(_plain(panel.metric))
    _legend(figure)
    _save(figure, out)


def _new(*, height: float) -> tuple[Any, Any]:
    from matplotlib.figure import Figure  # without pyplot there is no display and nothing global

    figure = Figure(figsize=(WIDTH, height), dpi=150, layout="constrained")
    axes = figure.subplots()
    axes.grid(color="#DDDDDD", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _mark(i: int) -> dict[str, Any]:
    """Colour and marker of arm i; the eighth has the first's colour, but another marker."""
    marker = MARKERS[(i + i // len(COLORS)) % len(MARKERS)]
    return {"color": COLORS[i % len(COLORS)], "marker": marker, "linewidth": 1.6}


def _half_width(cells: Sequence[Cell]) -> list[float]:
    """Of the intervals; a single seed has none and is drawn as a bare mark."""
    widths = [cell.estimate.high - cell.estimate.mean for cell in cells]
    return [0.0 if math.isnan(width) else width for width in widths]


def _percentages(cells: Sequence[Cell], limits: tuple[float, float]) -> tuple[float, float]:
    """Limits that leave out what no percentage can be: intervals of two seeds may reach far beyond."""
    if not all(0 <= value <= 100 for cell in cells for value in cell.values):
        return limits
    low, high = sorted(limits)
    return max(low, -3.0), min(high, 103.0)


def _fold(label: str) -> str:
    return _plain(textwrap.fill(label, LABEL_CHARACTERS))


def _plain(text: str) -> str:
    return text.replace("$", r"\$")  # a dollar would begin mathematics


def _legend(figure: Any) -> None:
    figure.legend(loc="outside lower left", frameon=False, alignment="left", fontsize=9)


def _save(figure: Any, out: Path) -> None:
    """Written as a whole, or not at all."""
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.with_name(out.name + ".partial")
    figure.savefig(partial, format="png")
    os.replace(partial, out)

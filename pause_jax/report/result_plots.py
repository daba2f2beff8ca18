"""Plots of results, one panel a picture, narrow enough to be read on a telephone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pause_jax.report import figures, pareto
from pause_jax.report.panels import Arm, Cell, Panel, families, is_cost
from pause_jax.report.results import LOSSES

Cost = Literal["training", "inference"]
LEAST_PERCENT, LEAST_LOSS = 5.0, 0.02  # the least that an axis spans: less would magnify rounding
FRONT = "on the Pareto front of the means"
COST_LABELS = {
    "training": "model FLOPs of training, all stages",
    "inference": "model FLOPs of one example at inference",
}


def plot_seeds(panel: Panel, out: Path) -> None:
    """Plot each arm at its own M_inf: every seed as a dot, the mean and its 95 % interval over seeds."""
    cells = [panel.matched_cell(arm) for arm in panel.arms]
    figure, axes = figures.new(height=0.9 + 0.62 * len(cells))
    for i, cell in enumerate(cells):
        xs = [i + 0.16] * len(cell.values)
        mark = look(panel, cell.arm)
        axes.scatter(cell.values, xs, color=mark["color"], alpha=0.35, s=28, linewidths=0)
        axes.errorbar([cell.estimate.mean], [i], xerr=bars([cell]), **mark, capsize=4, markersize=7)
        axes.annotate(
            figures.plain(panel.label(cell)),
            (0, i),
            (0, 9),
            xycoords=("axes fraction", "data"),
            textcoords="offset points",
            fontsize=9,
        )
    axes.set_ylim(len(cells) - 0.5, -0.75)
    axes.set_xlim(limits(panel, cells, axes.get_xlim()))
    for i, cell in enumerate(cells):
        figures.arrows(axes, [i], ends([cell]), look(panel, cell.arm)["color"], across=True)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.set_xlabel(figures.plain(f"{panel.quantity}, {panel.task}"))
    figures.save(figure, out)


def plot_m_inf(panel: Panel, arms: Sequence[Arm], out: Path) -> None:
    """Plot the metric against pauses at inference, a line for each arm; M_inf (0, 2, 5, 10, 50) are spaced evenly."""
    cells = [cell for arm in arms for cell in panel.trained(arm)]
    values = sorted({cell.m_inf for cell in cells})
    figure, axes = figures.new(height=3.4 + 0.2 * len(arms))
    drawn: list[tuple[list[float], list[Cell]]] = []
    for i, arm in enumerate(arms):
        line = panel.trained(arm)
        beside = 0.05 * (i - (len(arms) - 1) / 2)  # so that intervals do not hide each other
        xs = [values.index(cell.m_inf) + beside for cell in line]
        label = figures.fold(panel.label(panel.matched_cell(arm)))
        drawn.append((xs, line))
        axes.errorbar(
            xs,
            [cell.estimate.mean for cell in line],
            yerr=bars(line),
            **look(panel, arm),
            **figures.joined(len(line)),
            elinewidth=0.8,
            capsize=2,
            markersize=5,
            label=label,
        )
    axes.set_xticks(range(len(values)), [str(value) for value in values])
    axes.set_ylim(limits(panel, cells, axes.get_ylim()))
    for xs, line in drawn:
        if line:
            figures.arrows(axes, xs, ends(line), look(panel, line[0].arm)["color"])
    axes.set_xlabel("pauses at inference")
    axes.set_ylabel(figures.plain(panel.quantity))
    figures.legend(figure)
    figures.save(figure, out)


def plot_cost(panel: Panel, cost: Cost, out: Path) -> None:
    """Plot the metric against FLOPs of training (all stages) or of inference, with the Pareto front of the means.

    Arms above each other cost the same. For training each arm stands at its own M_inf; for inference small marks
    without intervals are its other M_inf.
    """
    at_matched_cell = cost == "training"
    lines = [[panel.matched_cell(arm)] if at_matched_cell else panel.trained(arm) for arm in panel.arms]
    lines = [known for line in lines if (known := [cell for cell in line if is_cost(cell.flops(cost))])]
    cells = [cell for line in lines for cell in line]
    figure, axes = figures.new(height=3.4 + 0.2 * len(lines))
    for line in lines:
        matched_cell, mark = panel.matched_cell(line[0].arm), look(panel, line[0].arm)
        others = [cell for cell in line if cell != matched_cell]
        axes.scatter(
            [cell.flops(cost) for cell in others],
            [cell.estimate.mean for cell in others],
            color=mark["color"],
            marker=mark["marker"],
            s=14,
            alpha=0.6,
        )
        if matched_cell in line:
            axes.errorbar(
                [matched_cell.flops(cost)],
                [matched_cell.estimate.mean],
                yerr=bars([matched_cell]),
                **mark,
                elinewidth=0.8,
                capsize=2,
                markersize=7,
                linestyle="none",
                label=figures.fold(panel.label(matched_cell)),
            )
    draw_front(axes, cells, cost)
    if at_matched_cell:
        axes.set_xlim(left=0, right=1.1 * max(cell.flops(cost) for cell in cells))
    axes.set_ylim(limits(panel, cells, axes.get_ylim()))
    for cell in (panel.matched_cell(line[0].arm) for line in lines):
        figures.arrows(axes, [cell.flops(cost)], ends([cell]), look(panel, cell.arm)["color"])
    axes.ticklabel_format(axis="x", style="sci", scilimits=(0, 0))
    axes.set_xlabel(COST_LABELS[cost])
    axes.set_ylabel(figures.plain(panel.quantity))
    figures.legend(figure)
    figures.save(figure, out)


def heat_maps(panel: Panel) -> list[tuple[Arm, list[Arm]]]:
    """Families that fill a map of M_ft and M_inf, each with its arms by ascending M_ft.

    At least two arms have pauses, and one was evaluated at several M_inf: otherwise a line plot shows it all.
    """
    maps = []
    for family, arms in families(panel).items():
        places = [len(heat_cells(panel, family, arm)) for arm in arms]
        paused = sum(bool(arm.m_ft_largest) or count > 1 for arm, count in zip(arms, places, strict=True))
        if max(places) > 1 and paused > 1:
            maps.append((family, sorted(arms, key=lambda arm: (arm.m_ft_largest, arm.m_ft))))
    return maps


def heat_cells(panel: Panel, family: Arm, arm: Arm) -> list[Cell]:
    """An arm's cells in its family's map; pauses at inference alone belong to the placement "append" only."""
    has_place = family.placement in ("append", arm.placement)
    return [cell for cell in panel.trained(arm) if has_place or not cell.m_inf]


def plot_heat_map(panel: Panel, family: Arm, arms: Sequence[Arm], out: Path) -> None:
    """Plot a map, M_ft down, M_inf across: each place holds the mean, and the number of seeds below it."""
    rows = [{cell.m_inf: cell for cell in heat_cells(panel, family, arm)} for arm in arms]
    m_inf = sorted({m for row in rows for m in row})
    means = [[row[m].estimate.mean if m in row else math.nan for m in m_inf] for row in rows]
    figure, axes = figures.new(height=1.3 + 0.52 * len(arms))
    axes.grid(False)
    # of the whole panel, so that a colour means the same value in all of its maps
    shown = [cell.estimate.mean for cell in panel.cells if not cell.is_untrained]
    image = axes.imshow(means, cmap="viridis", aspect="auto", vmin=min(shown), vmax=max(shown))
    for i, row in enumerate(rows):
        for j, m in enumerate(m_inf):
            if m in row:
                _write_in_place(axes, image, i, j, row[m])
    axes.set_xticks(range(len(m_inf)), [str(m) for m in m_inf])
    axes.set_yticks(range(len(arms)), [arm.m_ft.replace("|", " or ") for arm in arms])
    axes.set_xlabel("pauses at inference")
    axes.set_ylabel("pauses in finetuning")
    figures.save(figure, out)


def draw_front(axes: Any, cells: Sequence[Cell], cost: Cost) -> Any:
    """Ring the points of the Pareto front, and return what a legend shows of it; None where it is a single point.

    They are not joined: a line between two arms would look like a course that was measured.
    """
    means = [cell.estimate.mean for cell in cells]
    on_front = pareto.front([cell.flops(cost) for cell in cells], means)
    if len({cells[i].flops(cost) for i in on_front}) < 2:
        return None
    return axes.scatter(
        [cells[i].flops(cost) for i in on_front],
        [means[i] for i in on_front],
        s=170,
        facecolors="none",
        edgecolors="#555555",
        linewidths=1.0,
        zorder=4,
        label=FRONT,
    )


def bars(cells: Sequence[Cell]) -> list[list[float]]:
    """Lengths of error bars, [down, up] from each mean; 0 for a single seed, which has no interval."""
    estimates = [cell.estimate for cell in cells]
    down, up = ([e.mean - e.low for e in estimates], [e.high - e.mean for e in estimates])
    return [[length if math.isfinite(length) else 0.0 for length in side] for side in (down, up)]


def ends(cells: Sequence[Cell]) -> list[tuple[float, float]]:
    """Where intervals end, which is at the mean for a single seed."""
    return [(e.low, e.high) if math.isfinite(e.low) else (e.mean, e.mean) for e in (cell.estimate for cell in cells)]


def look(panel: Panel, arm: Arm) -> dict[str, Any]:
    """Colour and marker of an arm, the same in all pictures of a report."""
    return figures.mark(panel.looks.get(arm, 0))


def limits(panel: Panel, cells: Sequence[Cell], given: tuple[float, float]) -> tuple[float, float]:
    """Limits of an axis of values: no narrower than a meaningful difference, no wider than percentages go.

    An interval that is much longer than most leaves the axis, so that the others can be read.
    """
    least = LEAST_LOSS if panel.metric in LOSSES else LEAST_PERCENT
    values = [value for cell in cells for value in cell.values]
    return percentages(cells, figures.at_least(figures.view(given, values, ends(cells)), least))


def percentages(cells: Sequence[Cell], limits: tuple[float, float]) -> tuple[float, float]:
    """`limits`, cut to about 0 to 100 where all cells are percentages."""
    if not all(cell.bounds for cell in cells):
        return limits
    low, high = sorted(limits)
    return max(low, -3.0), min(high, 103.0)


def _write_in_place(axes: Any, image: Any, row: int, column: int, cell: Cell) -> None:
    red, green, blue, _ = image.cmap(image.norm(cell.estimate.mean))
    is_dark = 0.299 * red + 0.587 * green + 0.114 * blue < 0.5
    text, ink = f"{cell.estimate.mean:.1f}", "white" if is_dark else "black"
    axes.annotate(
        text, (column, row), (0, 1), textcoords="offset points", ha="center", va="bottom", color=ink, fontsize=9
    )
    seeds = f"{len(cell.by_seed)} seed{'s' * (len(cell.by_seed) > 1)}"
    axes.annotate(
        seeds, (column, row), (0, -1), textcoords="offset points", ha="center", va="top", color=ink, fontsize=6.5
    )

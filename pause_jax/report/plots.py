"""Plots of runs, drawn from the records of metrics.jsonl."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

Record = Mapping[str, float]

# Okabe and Ito's colours, which colour-blind people can tell apart; markers differ too, for print.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
DASHED = (0, (4, 2))


def plot_losses(
    runs: Mapping[str, Sequence[Record]], out: Path, *, title: str = "Loss while training", flops_panel: bool = False
) -> None:
    """Draw the losses of runs against steps, and the clean validation loss against model FLOPs too, as a PNG.

    Args:
      runs: label → records with `step`, `loss` and, at some steps, `validation/loss` (clean text) and
        `validation/paused_loss`; `model_flops` (cumulative) for the second panel.
      out: written atomically.
      title: above the picture.
      flops_panel: whether to draw the second panel.
    """
    from matplotlib.figure import Figure  # without pyplot there is no display and nothing global

    panels = 2 if flops_panel else 1
    figure = Figure(figsize=(7.5 * panels, 4.8), dpi=150, layout="constrained")
    axes = figure.subplots(1, panels, squeeze=False)[0]
    _draw_over_steps(axes[0], runs)
    if flops_panel:
        _draw_over_flops(axes[1], runs)
    figure.suptitle(title, fontsize=13)
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.with_name(out.name + ".partial")
    figure.savefig(partial, format="png")
    os.replace(partial, out)


def _draw_over_steps(axes: Any, runs: Mapping[str, Sequence[Record]]) -> None:
    for i, (label, records) in enumerate(runs.items()):
        color = COLORS[i % len(COLORS)]
        axes.plot(*_series(records, "step", "loss"), color=color, linewidth=0.8, alpha=0.35)
        axes.plot(*_series(records, "step", "validation/paused_loss"), color=color, linewidth=1.2, linestyle=DASHED)
        _draw_validation(axes, records, "step", i, label)
    _label(axes, "steps")
    _limit_to_what_is_learned(axes, runs)
    _explain_lines(axes, runs)


def _draw_over_flops(axes: Any, runs: Mapping[str, Sequence[Record]]) -> None:
    for i, (label, records) in enumerate(runs.items()):
        _draw_validation(axes, records, "model_flops", i, label)
    _label(axes, "model FLOPs of training")
    axes.legend(title="clean validation loss (last)", frameon=False)


def _draw_validation(axes: Any, records: Sequence[Record], x: str, i: int, label: str) -> None:
    xs, losses = _series(records, x, "validation/loss")
    if losses:
        label = f"{label} ({losses[-1]:.3f})"
    color, marker = COLORS[i % len(COLORS)], MARKERS[i % len(MARKERS)]
    axes.plot(xs, losses, color=color, linewidth=2.2, marker=marker, markersize=5, label=label, zorder=3)


def _series(records: Sequence[Record], x: str, y: str) -> tuple[list[float], list[float]]:
    """The points that have both; a value that is not finite leaves a gap."""
    both = [record for record in records if x in record and y in record]
    return [record[x] for record in both], [record[y] for record in both]


def _label(axes: Any, x: str) -> None:
    axes.set_xlabel(x)
    axes.set_ylabel("loss (nats per text token)")
    axes.set_xlim(left=0)
    axes.grid(color="#DDDDDD", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _limit_to_what_is_learned(axes: Any, runs: Mapping[str, Sequence[Record]]) -> None:
    """Cut off the first steps' losses at the top, which would flatten all that follows."""
    late, everything = [], []
    for records in runs.values():
        losses = [loss for loss in _series(records, "step", "loss")[1] if math.isfinite(loss)]
        everything += losses
        late += losses[len(losses) // 20 :]
    if late and max(late) > min(everything):
        margin = 0.05 * (max(late) - min(everything))
        axes.set_ylim(top=max(late) + margin)


def _explain_lines(axes: Any, runs: Mapping[str, Sequence[Record]]) -> None:
    """Add two legends: the run of each colour, and the loss of each line style."""
    from matplotlib.lines import Line2D

    grey = "#444444"
    lines = [
        Line2D([], [], color=grey, linewidth=2.2, marker="o", markersize=5, label="validation, clean text"),
        Line2D([], [], color=grey, linewidth=0.8, alpha=0.5, label="training"),
    ]
    if any("validation/paused_loss" in record for records in runs.values() for record in records):
        lines.insert(
            1, Line2D([], [], color=grey, linewidth=1.2, linestyle=DASHED, label="validation, pauses inserted")
        )
    title = "run (last clean validation loss)"
    runs_legend = axes.legend(title=title, loc="upper right", frameon=False, alignment="left")
    axes.add_artist(runs_legend)
    axes.legend(handles=lines, loc="lower left", frameon=False, fontsize="small")

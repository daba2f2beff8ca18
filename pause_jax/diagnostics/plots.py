"""Heat maps of attention and lens, layers upwards, narrow enough to be read on a telephone."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pause_jax.diagnostics.findings import Findings

WIDTH = 5.2  # inches; at 150 dots an inch 780 pixels
NUMBERS_AT_MOST = 64  # cells of a map with their numbers in them
NAMES_AT_MOST = 16  # along an axis


def plot_attention(findings: Findings, out: Path) -> None:
    """Layers × heads: what goes to pauses from the answer position and from pauses, and what a pause receives."""
    measured = findings.measured
    maps = {
        "answer_to_pauses": "from the answer position to pauses",
        "pauses_to_pauses": "from pauses to pauses",
        "received_by_a_pause": "received by a pause from all positions",
    }
    layers, heads = measured.attention_NxH["answer_to_pauses"].shape
    figure, all_axes = _new(len(maps), rows=layers)
    for axes, (name, title) in zip(all_axes, maps.items(), strict=True):
        values = measured.attention_NxH[name]
        most = 1.0 if name != "received_by_a_pause" else max(1.0, float(values.max()))
        _draw(figure, axes, values, low=0.0, high=most)
        _name_axes(axes, range(1, layers + 1), [str(h) for h in range(1, heads + 1)], "head")
        axes.set_title(f"{title} (if even: {measured.even[name]:.2f})", fontsize=10)
    _save(figure, out)


def plot_lens(findings: Findings, out: Path) -> None:
    """Layers × positions: how likely the right answer's first token is, and how often it is the likeliest."""
    measured = findings.measured
    maps = {
        "mean log p of the right first token (nats)": (measured.log_p_N1xL, float(measured.log_p_N1xL.min()), 0.0),
        "share of examples where it is the likeliest": (measured.first_N1xL, 0.0, 1.0),
    }
    layers = len(measured.log_p_N1xL)
    figure, all_axes = _new(len(maps), rows=layers)
    short = [name.removeprefix("pause ") for name in findings.positions]
    for axes, (title, (values, low, high)) in zip(all_axes, maps.items(), strict=True):
        _draw(figure, axes, values, low=low, high=high)
        _name_axes(axes, range(layers), short, "last prompt token, and pauses by number")
        axes.set_title(title, fontsize=10)
    _save(figure, out)


def _new(count: int, *, rows: int) -> tuple[Any, Sequence[Any]]:
    from matplotlib.figure import Figure  # without pyplot there is no display and nothing global

    height = min(0.9 + 0.32 * rows, 4.5)
    figure = Figure(figsize=(WIDTH, count * height), dpi=150, layout="constrained")
    return figure, figure.subplots(count, 1)


def _draw(figure: Any, axes: Any, values: np.ndarray, *, low: float, high: float) -> None:
    image = axes.imshow(values, aspect="auto", origin="lower", cmap="viridis", vmin=low, vmax=high,
                        interpolation="nearest")  # fmt: skip
    figure.colorbar(image, ax=axes, pad=0.02)
    if values.size > NUMBERS_AT_MOST:
        return
    for (row, column), value in np.ndenumerate(values):
        light = value < (low + high) / 2  # dark cells
        axes.text(
            column, row, f"{value:.2f}", ha="center", va="center", fontsize=7, color="white" if light else "black"
        )


def _name_axes(axes: Any, layers: range, columns: Sequence[str], label: str) -> None:
    for names, set_ticks in ((list(map(str, layers)), axes.set_yticks), (columns, axes.set_xticks)):
        shown = range(0, len(names), -(-len(names) // NAMES_AT_MOST))
        set_ticks(list(shown), [names[i] for i in shown], fontsize=8)
    axes.set_xlabel(label, fontsize=9)
    axes.set_ylabel("layer", fontsize=9)


def _save(figure: Any, out: Path) -> None:
    """Written as a whole, or not at all."""
    partial = out.with_name(out.name + ".partial")
    figure.savefig(partial, format="png")
    os.replace(partial, out)

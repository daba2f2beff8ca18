"""Heat maps of attention and lens, layers upwards, narrow enough to be read on a telephone."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pause_jax.diagnostics.findings import Findings

WIDTH = 5.2  # inches; at 150 dots an inch 780 pixels
NUMBERS_ACROSS = 12  # columns of a map with numbers in its cells
SMALLEST_WITH_NUMBERS = 0.1  # a map of smaller values has no numbers: two decimals would say nothing
NAMES_AT_MOST = 16  # along an axis


def plot_attention(findings: Findings, out: Path) -> None:
    """Maps of layers × heads: attention to pauses from the answer position and from pauses; and of layers × pauses."""
    measured = findings.measured
    layers, heads, pauses = measured.to_each_NxHxM.shape
    figure, (answer, among, each) = _new(3, rows=layers)
    for axes, name, title in (
        (answer, "answer_to_pauses", "from the answer position to pauses"),
        (among, "pauses_to_pauses", "from pauses to pauses"),
    ):
        _draw(figure, axes, measured.attention_NxH[name])
        _name_axes(axes, range(1, layers + 1), _numbers(heads), "head")
        axes.set_title(f"{title} (if even: {measured.even[name]:.2f})", fontsize=10)
    by_pause_NxM = measured.to_each_NxHxM.mean(axis=1)
    _draw(figure, each, by_pause_NxM)
    _name_axes(each, range(1, layers + 1), _numbers(pauses), "pause")
    even = measured.even["answer_to_pauses"] / pauses
    each.set_title(f"from the answer position to each pause,\nmean over heads (if even: {even:.3f})", fontsize=10)
    _save(figure, out)


def plot_lens(findings: Findings, out: Path) -> None:
    """Maps of layers × positions: how likely the right answer's first token is, and how often it is the likeliest."""
    measured = findings.measured
    maps = {
        "probability of the right first token, geometric mean": np.exp(measured.log_p_N1xL),
        "share of examples where it is the likeliest": measured.first_N1xL,
    }
    layers = len(measured.log_p_N1xL)
    figure, all_axes = _new(len(maps), rows=layers)
    short = [name.removeprefix("pause ") for name in findings.positions]
    for axes, (title, values) in zip(all_axes, maps.items(), strict=True):
        _draw(figure, axes, values)
        _name_axes(axes, range(layers), short, "last prompt token, pauses by number; the answer is read from the last")
        axes.set_title(title, fontsize=10)
    _save(figure, out)


def _numbers(count: int) -> list[str]:
    return [str(number) for number in range(1, count + 1)]


def _new(count: int, *, rows: int) -> tuple[Any, Sequence[Any]]:
    from matplotlib.figure import Figure  # without pyplot there is no display and nothing global

    height = min(0.9 + 0.32 * rows, 4.5)
    figure = Figure(figsize=(WIDTH, count * height), dpi=150, layout="constrained")
    return figure, figure.subplots(count, 1)


def _draw(figure: Any, axes: Any, values: np.ndarray) -> None:
    """Draw a map from 0 to the largest value, layers upwards, with numbers in its cells where they fit."""
    most = float(values.max())
    image = axes.imshow(
        values, aspect="auto", origin="lower", cmap="viridis", vmin=0.0, vmax=most, interpolation="nearest"
    )
    figure.colorbar(image, ax=axes, pad=0.02).ax.tick_params(labelsize=8)
    if values.shape[1] > NUMBERS_ACROSS or most < SMALLEST_WITH_NUMBERS:
        return
    for (row, column), value in np.ndenumerate(values):
        color = "white" if value < most / 2 else "black"  # dark cells, light cells
        axes.text(column, row, f"{value:.2f}", ha="center", va="center", fontsize=7, color=color)


def _name_axes(axes: Any, layers: range, columns: Sequence[str], label: str) -> None:
    for names, set_ticks in ((list(map(str, layers)), axes.set_yticks), (columns, axes.set_xticks)):
        shown = range(0, len(names), -(-len(names) // NAMES_AT_MOST))
        set_ticks(list(shown), [names[i] for i in shown], fontsize=8)
    axes.set_xlabel(label, fontsize=9)
    axes.set_ylabel("layer", fontsize=9)


def _save(figure: Any, out: Path) -> None:
    """Write the PNG atomically."""
    partial = out.with_name(out.name + ".partial")
    figure.savefig(partial, format="png")
    os.replace(partial, out)

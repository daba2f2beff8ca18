"""Heat maps of attention and lens, layers upwards, narrow enough to be read on a telephone."""

from __future__ import annotations

import math
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
    """Layers × heads: what goes to pauses, from the answer position and from pauses; layers × pauses: to which."""
    measured = findings.measured
    layers, heads, pauses = measured.to_each_NxHxM.shape
    figure, (answer, among, each) = _new(3, rows=layers)
    for axes, name, title in (
        (answer, "answer_to_pauses", "from the answer position to pauses"),
        (among, "pauses_to_pauses", "from pauses to pauses"),
    ):
        _draw(figure, axes, measured.attention_NxH[name], low=0.0, high=1.0)
        _name_axes(axes, range(1, layers + 1), _numbers(heads), "head")
        axes.set_title(f"{title} (if even: {measured.even[name]:.2f})", fontsize=10)
    by_pause_NxM = measured.to_each_NxHxM.mean(axis=1)
    _draw(figure, each, by_pause_NxM, low=0.0, high=float(by_pause_NxM.max()))
    _name_axes(each, range(1, layers + 1), _numbers(pauses), "pause")
    even = measured.even["answer_to_pauses"] / pauses
    each.set_title(f"from the answer position to each pause,\nmean over heads (if even: {even:.3f})", fontsize=10)
    _save(figure, out)


def plot_lens(findings: Findings, out: Path) -> None:
    """Layers × positions: how likely the right answer's first token is, and how often it is the likeliest.

    Log-probabilities below those of a guess among all text tokens have its colour.
    """
    measured = findings.measured
    guess = -math.log(findings.vocab_size)
    maps = {
        "mean log p of the right first token (nats)": (measured.log_p_N1xL, max(guess, measured.log_p_N1xL.min()), 0.0),
        "share of examples where it is the likeliest": (measured.first_N1xL, 0.0, 1.0),
    }
    layers = len(measured.log_p_N1xL)
    figure, all_axes = _new(len(maps), rows=layers)
    short = [name.removeprefix("pause ") for name in findings.positions]
    for axes, (title, (values, low, high)) in zip(all_axes, maps.items(), strict=True):
        _draw(figure, axes, values, low=low, high=high)
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


def _draw(figure: Any, axes: Any, values: np.ndarray, *, low: float, high: float) -> None:
    image = axes.imshow(values, aspect="auto", origin="lower", cmap="viridis", vmin=low, vmax=high,
                        interpolation="nearest")  # fmt: skip
    figure.colorbar(image, ax=axes, pad=0.02, extend="min" if values.min() < low else "neither").ax.tick_params(
        labelsize=8
    )
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

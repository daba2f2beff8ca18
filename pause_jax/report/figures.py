"""What all pictures of a report share: size, marks, legends, and how they are saved."""

from __future__ import annotations

import math
import os
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pause_jax.report.plots import COLORS, MARKERS

WIDTH = 5.2  # inches; at 150 dots an inch 780 pixels, which a telephone shows readably
LABEL_CHARACTERS = 58  # in a line of a legend
MAX_LINES = 8  # in a picture that can be read


def new(*, height: float) -> tuple[Any, Any]:
    """A figure and its axes; height in inches."""
    from matplotlib.figure import Figure  # without pyplot there is no display and nothing global

    figure = Figure(figsize=(WIDTH, height), dpi=150, layout="constrained")
    axes = figure.subplots()
    axes.grid(color="#DDDDDD", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def mark(i: int) -> dict[str, Any]:
    """Colour and marker of arm i; the eighth has the first's colour, but another marker."""
    return {"color": color(i), "marker": MARKERS[(i + i // len(COLORS)) % len(MARKERS)], "linewidth": 1.6}


def color(i: int) -> str:
    return COLORS[i % len(COLORS)]


def joined(points: int) -> dict[str, Any]:
    """The line style for `points` points: no line between two, which would suggest a course that was not measured."""
    return {"linestyle": "-" if points > 2 else "none"}


def view(given: Sequence[float], values: Sequence[float], ends: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Limits of an axis on which values can be told apart: an interval much longer than most leaves it.

    Args:
      given: limits that show everything.
      values: what must be seen, one or more.
      ends: of intervals, each (low, high).

    >>> view((0.0, 100.0), [49.0, 51.0], [(48.0, 50.0), (0.0, 100.0), (50.0, 52.0)])
    (45.0, 55.0)
    """
    lengths = sorted(high - low for low, high in ends if math.isfinite(high - low))
    usual = lengths[(len(lengths) - 1) // 2] if lengths else 0.0
    reach = 2 * max(max(values) - min(values), usual)
    low, high = min(given), max(given)
    return (max(low, min(values) - reach), min(high, max(values) + reach)) if reach else (low, high)


def arrows(
    axes: Any, at: Sequence[float], ends: Sequence[tuple[float, float]], color: str, *, across: bool = False
) -> None:
    """Draw an arrow at the axis' edge where an interval goes on beyond it.

    Args:
      at: where the intervals stand on the other axis.
      across: they are horizontal.
    """
    low, high = sorted(axes.get_xlim() if across else axes.get_ylim())
    marks = ("<", ">") if across else ("v", "^")
    for place, (start, end) in zip(at, ends, strict=True):
        for edge, marker, is_beyond in ((low, marks[0], start < low), (high, marks[1], end > high)):
            if is_beyond:
                x, y = (edge, place) if across else (place, edge)
                axes.plot([x], [y], marker=marker, color=color, markersize=7, linestyle="none", clip_on=False, zorder=5)


def at_least(limits: Sequence[float], span: float) -> tuple[float, float]:
    """Limits of an axis, moved apart to `span` where they are closer.

    >>> at_least((-0.04, 0.04), 5.0)
    (-2.5, 2.5)
    """
    low, high = limits
    more = max(0.0, (span - (high - low)) / 2)
    return low - more, high + more


def plain(text: str) -> str:
    return text.replace("$", r"\$")  # a dollar would begin mathematics


def fold(label: str) -> str:
    """A label for a legend, in several lines where it is long."""
    return plain(textwrap.fill(label, LABEL_CHARACTERS))


def legend(figure: Any, **options: Any) -> None:
    """Put the legend below the picture, where it hides nothing."""
    figure.legend(loc="outside lower left", frameon=False, alignment="left", fontsize=9, **options)


def save(figure: Any, out: Path) -> None:
    """Write a PNG file and an SVG file of the same name beside it, each atomically."""
    import matplotlib

    out.parent.mkdir(parents=True, exist_ok=True)
    for file, metadata in ((out, {}), (out.with_suffix(".svg"), {"Date": None})):
        partial = file.with_name(file.name + ".partial")
        with matplotlib.rc_context({"svg.hashsalt": "pause_jax"}):  # so that the same picture gives the same file
            figure.savefig(partial, format=file.suffix[1:], metadata=metadata)
        figure.set_layout_engine("none")  # reuse the layout for the SVG: computing it takes as long as drawing
        os.replace(partial, file)

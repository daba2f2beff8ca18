"""Tables for the terminal, for pages and as CSV files, and numbers in readable form."""

from __future__ import annotations

import csv
import dataclasses
import io
import math
import re
from collections.abc import Sequence

from pause_jax.report.statistics import Estimate, format_p

Value = str | int | float | Estimate | None

_NUMBER = re.compile(r"[-+]?[\d,]*\.?\d+(e[-+]?\d+)?[kMBT]?( ?%)?|-|")


@dataclasses.dataclass(frozen=True)
class Column:
    """A column's heading, and how a number in it is shown to people."""

    name: str
    spec: str = ".1f"  # format of a float, or of an estimate's mean and interval; "p": a p value
    signed: bool = False

    def show(self, value: Value) -> str:
        """`71.2`, `+3.5 [+1.2, +5.8]`, `50.0 (1 seed)`; `–` where there is none."""
        if self.spec == "p" and isinstance(value, float):
            return "–" if math.isnan(value) else format_p(value).removeprefix("= ")
        spec = f"{'+' if self.signed else ''}{self.spec}"
        if isinstance(value, Estimate):
            return f"{value.mean:{spec}} {interval(value, spec)}"
        if isinstance(value, float):
            return f"{value:{spec}}" if math.isfinite(value) else "–"
        return "–" if value is None else str(value)


@dataclasses.dataclass(frozen=True)
class Table:
    """What a page shows for people and a CSV file holds in full."""

    name: str  # of its CSV file
    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Value, ...], ...]
    note: str = ""

    def shown(self) -> list[list[str]]:
        """The rows as text for people."""
        return [[column.show(value) for column, value in zip(self.columns, row, strict=True)] for row in self.rows]

    def csv(self) -> str:
        """The table as CSV; a column of estimates becomes four: mean, `low`, `high` and `seeds`."""
        wide = [any(isinstance(row[i], Estimate) for row in self.rows) for i in range(len(self.columns))]
        heading: list[str] = []
        for column, is_estimate in zip(self.columns, wide, strict=True):
            heading += [column.name] + [f"{column.name} {part}" for part in ("low", "high", "seeds") if is_estimate]
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(heading)
        for row in self.rows:
            line: list[Value] = []
            for value, is_estimate in zip(row, wide, strict=True):
                line += _parts(value) if is_estimate else [value]
            writer.writerow(line)
        return text.getvalue()


def interval(estimate: Estimate, spec: str = ".1f") -> str:
    """`[71.2, 74.0]`; `(1 seed)` where there is none."""
    return f"(1 {estimate.unit})" if math.isnan(estimate.low) else f"[{estimate.low:{spec}}, {estimate.high:{spec}}]"


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table; columns that hold nothing but numbers are right-aligned ("-" and "" count as missing ones)."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD)
    for i, column in enumerate(columns):
        numbers = all(_NUMBER.fullmatch(row[i]) for row in rows)
        table.add_column(column, justify="right" if numbers else "left")
    for row in rows:
        table.add_row(*row)
    console = Console(markup=False, highlight=False, emoji=False)
    if not console.is_terminal:
        console.width = 1000  # a file has no edge: nothing is folded to fit 80 columns
    console.print(table)


def human_count(count: float) -> str:
    """`999`, `1.5k`, `136.2M`, `1.3B`, `200.0B`."""
    if round(count) < 1000:
        return f"{count:.0f}"
    value = float(count)
    for suffix in "kMB":
        value /= 1000
        if round(value, 1) < 1000:
            return f"{value:.1f}{suffix}"
    return f"{value / 1000:.1f}T"


def human_flops(flops: float) -> str:
    """`1.23e+12`: three digits, so that runs can be compared at a glance."""
    return f"{flops:.2e}"


def _parts(value: Value) -> list[Value]:
    if not isinstance(value, Estimate):
        return [value, None, None, None]
    bounds = [None if math.isnan(bound) else bound for bound in (value.low, value.high)]
    return [value.mean, *bounds, value.n]

"""Tables for the terminal, and numbers for people."""

from __future__ import annotations

import re
from collections.abc import Sequence

_NUMBER = re.compile(r"[-+]?[\d,]*\.?\d+(e[-+]?\d+)?[kMBT]?( ?%)?|-|")


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

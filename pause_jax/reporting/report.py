"""A report of results: on the terminal, as files of tables and pictures, and as one HTML file with all of it inside."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from pause_jax.errors import UserError
from pause_jax.reporting import html_page, panel_tables, run_curves, sections
from pause_jax.reporting.comparisons import Failure, Report
from pause_jax.reporting.tables import Table, print_table
from pause_jax.runs import write_atomically


def read_failures(path: Path) -> list[Failure]:
    """Failures from a JSON list of objects, each with the texts `job` and `error`; none where there is no file.

    Raises:
      UserError: the file is something else.
    """
    if not path.exists():
        return []
    try:
        return [Failure(str(item["job"]), str(item["error"])) for item in json.loads(path.read_text())]
    except (OSError, ValueError, TypeError, KeyError):
        raise UserError(
            f'{path} is no list of failures: restore it, delete it, or write [{{"job": …, "error": …}}, …]'
        ) from None


def print_report(report: Report) -> None:
    """Failures and what is missing first, then for each panel a table and what may be said."""
    for table in sections.top_tables(report):
        _print(table)
    for panel in report.panels:
        arms = panel_tables.arms(panel)
        _print(Table(arms.name, panel.title, arms.columns, arms.rows))
        for sentence in report.sentences(panel):
            print(f"  {sentence}")
        print()
    print(report.summary())


def write_report(report: Report, out: Path, runs: Sequence[Path] = ()) -> Path:
    """Write `report.html`, every picture as PNG and SVG and every table as CSV; return the HTML file.

    Args:
      out: a folder, made where it is missing.
      runs: folders in which the runs lie that the results name; their losses are shown.

    Raises:
      UserError: the folder can't be written.
    """
    curves, remarks = run_curves.collect(report.rows(), runs)
    parts = sections.of_report(report, curves)
    try:
        out.mkdir(parents=True, exist_ok=True)
        for table in sections.top_tables(report):
            write_atomically(out / f"{table.name}.csv", table.csv())
        for part in parts:
            for table in (*part.tables, *part.details):
                write_atomically(out / f"{part.name}-{table.name}.csv", table.csv())
            for picture in part.pictures:
                picture.draw(out / f"{picture.name}.png")
        file = out / "report.html"
        write_atomically(file, html_page.render(report, parts, remarks, out))
    except OSError as error:
        raise UserError(f"the report can't be written to {out} ({error}): give another folder as --out") from None
    return file


def _print(table: Table) -> None:
    print_table(table.title, [column.name for column in table.columns], table.shown())

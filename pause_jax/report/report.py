"""A report of results: on the terminal, as files of tables and pictures, and as one HTML file with all of it inside."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

from pause_jax import extras
from pause_jax.errors import UserError
from pause_jax.report import html, panel_tables, run_comparison, run_curves, sections
from pause_jax.report.answer import make_answer
from pause_jax.report.comparisons import Failure, Report
from pause_jax.report.results import merge_results
from pause_jax.report.run_comparison import Compared
from pause_jax.report.run_curves import Curves
from pause_jax.report.sections import Section
from pause_jax.report.tables import Table, print_table
from pause_jax.system.files import write_atomically


def report_files(results: Sequence[Path], runs: Sequence[Path], out: Path, title: str | None = None) -> Path:
    """Print and write the report of results files and of a comparison of training runs; return its page.

    Args:
      results: CSV files; `runs/` and failures.json beside them are read too.
      runs: folders of training runs to compare.
      title: of the page; None: "Results" or "Runs".

    Raises:
      UserError: a file cannot be read, or all are empty.
    """
    folders = list(dict.fromkeys(path.parent for path in results))
    rows = merge_results(results)
    failures = [failure for folder in folders for failure in read_failures(folder / "failures.json")]
    if results and not rows and not failures:
        raise UserError(
            f"{' and '.join(map(str, results))} {'has' if len(results) == 1 else 'have'} no rows: there is nothing to "
            "report; launch.evaluate adds some"
        )
    compared = run_comparison.collect(runs)
    beside = [folder / "runs" for folder in folders if (folder / "runs").is_dir()]
    rows = run_curves.name_pretraining(rows, beside)
    report = Report.of(rows, title=title or ("Results" if results else "Runs"), failures=failures)
    file = write_report(report, out, beside, compared)
    print_report(report, compared)
    return file


def read_failures(path: Path) -> list[Failure]:
    """Failures from a JSON list of objects, each with the texts `job` and `error`; none where there is no file.

    Raises:
      UserError: the file is something else.
    """
    if not path.exists():
        return []
    try:
        return [Failure(str(item["job"]), str(item["error"])) for item in json.loads(path.read_text(encoding="utf-8"))]
    except (OSError, ValueError, TypeError, KeyError):
        raise UserError(
            f'{path} is no list of failures: restore it, delete it, or write [{{"job": …, "error": …}}, …]'
        ) from None


def print_report(report: Report, compared: Sequence[Compared] = ()) -> None:
    """Print failures and what is missing, the answer, then runs compared, then each panel's table and sentences."""
    for table in sections.top_tables(report):
        _print(table)
    print(f"{make_answer(report, compared).text()}\n")
    for runs in compared:
        equal, settings = runs.at_equal_costs(), runs.settings()
        for table in (dataclasses.replace(equal, title=runs.curves.title), *([settings] if settings else [])):
            _print(table)
        for sentence in runs.sentences()[1:]:  # the first is of pictures
            print(f"  {sentence}")
        print()
    if compared and not report.panels:
        return
    for panel in report.panels:
        arms = panel_tables.arms(panel)
        _print(Table(arms.name, panel.title, arms.columns, arms.rows))
        for sentence in report.sentences(panel):
            print(f"  {sentence}")
        print()
    print(report.summary())


def write_report(report: Report, out: Path, runs: Sequence[Path] = (), compared: Sequence[Compared] = ()) -> Path:
    """Write `report.html`, every picture as PNG and SVG and every table as CSV; return the HTML file.

    A report that is there already, made of the same results by the same code, is left as it is.

    Args:
      out: a folder, made where it is missing.
      runs: folders that hold the runs that the results name; their losses are shown.
      compared: runs that are compared with each other, whatever the results.

    Raises:
      UserError: the folder can't be written, or a package for pages and pictures is missing.
    """
    extras.require("report")
    curves, remarks = run_curves.collect(report.rows(), runs, report.names_of_runs())
    parts = sections.make_sections(report, curves, compared)
    file, fingerprint = out / "report.html", _fingerprint(report, [*curves, *compared], remarks)
    if _stands(file, fingerprint, parts):
        return file
    try:
        out.mkdir(parents=True, exist_ok=True)
        for table in sections.top_tables(report):
            write_atomically(out / f"{table.name}.csv", table.csv())
        for part in parts:
            for name, table in part.tables_by_file().items():
                write_atomically(out / name, table.csv())
            for picture in part.pictures:
                picture.draw(out / f"{picture.name}.png")
        answer = make_answer(report, compared)
        write_atomically(file, html.render(report, answer, parts, remarks, out, fingerprint))
    except OSError as error:
        raise UserError(f"the report can't be written to {out} ({error}): give another folder as --out") from None
    return file


def _fingerprint(report: Report, curves: Sequence[Curves | Compared], remarks: Sequence[str]) -> str:
    """A fingerprint of all that a page is made of, this code and its templates included."""
    code = [file.read_bytes() for file in sorted(Path(__file__).parent.rglob("*.*")) if file.suffix != ".pyc"]
    content = repr((report.title, report.failures, report.rows(), curves, remarks, code))
    return hashlib.sha256(content.encode()).hexdigest()


def _stands(file: Path, fingerprint: str, parts: Sequence[Section]) -> bool:
    """Whether the page, its pictures and its tables are there and whole: drawing takes half a second a picture."""
    tables = [name for part in parts for name in part.tables_by_file()]
    pictures = [picture.name for part in parts for picture in part.pictures]
    names = [*tables, *(f"{name}{ending}" for name in pictures for ending in (".png", ".svg"))]
    try:
        return fingerprint in file.read_text(encoding="utf-8") and all((file.parent / name).is_file() for name in names)
    except (OSError, UnicodeDecodeError):
        return False


def _print(table: Table) -> None:
    print_table(table.title, [column.name for column in table.columns], table.shown())

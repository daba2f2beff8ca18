"""A report of results: tables and sentences on the terminal, plots, and one HTML file with all of it inside."""

from __future__ import annotations

import json
import re
from pathlib import Path

from pause_jax.errors import UserError
from pause_jax.reporting import html_page, result_plots, tables
from pause_jax.reporting.comparisons import Failure, Panel, Report
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
    """Failures first, then for each panel a table and what may be said."""
    if report.failures:
        rows = [[failure.job, failure.error] for failure in report.failures]
        tables.print_table("Failures: what is missing below", ["job", "error"], rows)
    for panel in report.panels:
        _print_panel(panel)
        for comparison in report.of_panel(panel):
            print(f"  {comparison.sentence()}")
        for remark in report.remarks(panel):
            print(f"  {remark}")
        print()
    print(report.summary())


def write_report(report: Report, out: Path) -> Path:
    """Write `report.html` and the pictures as PNG files into a folder, which is made; return the HTML file.

    Raises:
      UserError: the folder can't be written.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        pictures = {i: _draw(panel, out, f"{i + 1:02}") for i, panel in enumerate(report.panels)}
        file = out / "report.html"
        write_atomically(file, html_page.render(report, pictures))
    except OSError as error:
        raise UserError(f"the report can't be written to {out} ({error}): give another folder as --out") from None
    return file


def _print_panel(panel: Panel) -> None:
    columns = ["arm", "M_inf", "seeds", "mean", "95 % interval", "training FLOPs", "inference FLOPs"]
    rows = []
    for arm in panel.arms:
        cell = panel.home(arm)
        estimate = cell.estimate
        rows.append([panel.label(cell), str(cell.m_inf), str(estimate.n), f"{estimate.mean:.1f}",
                     html_page.interval(estimate), tables.human_flops(cell.training_flops),
                     tables.human_flops(cell.inference_flops)])  # fmt: skip
    tables.print_table(panel.title, columns, rows)


def _draw(panel: Panel, out: Path, number: str) -> list[tuple[str, Path]]:
    """The panel's pictures with their captions; only those that have something to show."""
    name = f"{number}-{_file_name(panel.task)}-{_file_name(panel.metric)}"
    kinds = [("seeds", "every seed, mean and 95 % interval", result_plots.plot_seeds)]
    if panel.varies_m_inf:
        kinds.append(("m_inf", "against pauses at inference", result_plots.plot_m_inf))
    if panel.varies_flops:
        kinds.append(("flops", "against training FLOPs", result_plots.plot_flops))
    pictures = []
    for kind, caption, plot in kinds:
        file = out / f"{name}-{kind}.png"
        plot(panel, file)
        pictures.append((f"{panel.task}, {panel.metric}: {caption}", file))
    return pictures


def _file_name(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.]+", "_", text)

"""The report as one HTML file: pictures and style inside, no script, nothing fetched. All text is escaped."""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from html import escape
from pathlib import Path

from pause_jax.report import panel_tables
from pause_jax.report.comparisons import Comparison, Report
from pause_jax.report.panels import Cell, Panel
from pause_jax.report.sections import Section
from pause_jax.report.statistics import NEEDED, Estimate, format_p
from pause_jax.report.tables import Table, interval

_COUNTED = ' class="counted"'  # as a card's heading it needs its column's name
SHOWN_MISSING = 6  # sentences on what is missing that are shown without a click

# Text fits a telephone: below 700 pixels each row of a wide table becomes a card, its column names before the values.
STYLE = """
:root { color-scheme: light dark; --text: #1c1c1c; --page: #fff; --soft: #5a5a5a; --line: #d8d8d8; --card: #f5f5f3;
  --bad: #a40000; --bad-card: #fdecea; }
@media (prefers-color-scheme: dark) { :root { --text: #e8e8e6; --page: #161616; --soft: #a9a9a5; --line: #3a3a3a;
  --card: #222; --bad: #ff8a80; --bad-card: #3a1a18; } }
* { box-sizing: border-box; }
body { margin: 0; color: var(--text); background: var(--page); font: 16px/1.5 system-ui, sans-serif;
  overflow-wrap: break-word; }
main { max-width: 1120px; margin: 0 auto; padding: 1rem; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: .5rem 0; }
h2 { font-size: 1.25rem; margin: 2.5rem 0 .5rem; padding-top: 1rem; border-top: 1px solid var(--line); }
h3 { font-size: 1rem; margin: 1.5rem 0 .5rem; }
.number { white-space: nowrap; }
.soft { color: var(--soft); font-size: .875rem; }
.failures { background: var(--bad-card); border-left: 4px solid var(--bad); padding: .5rem 1rem; }
.failures li { overflow-wrap: anywhere; }
details.failures { margin: .5rem 0; }
summary { cursor: pointer; padding: .4rem 0; }
summary h2 { display: inline; border: 0; margin: 0 .5rem 0 0; padding: 0; }
.folded { border-top: 1px solid var(--line); margin-top: 2.5rem; padding-top: 1rem; }
nav ul { padding-left: 1.2rem; }
nav li { margin-bottom: .3rem; }
a { color: inherit; }
.failures h2 { color: var(--bad); border: 0; margin: 0; padding: 0; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: left; vertical-align: top; padding: .4rem .6rem; border-bottom: 1px solid var(--line); }
th { font-weight: 600; }
.grid { max-width: 46rem; table-layout: fixed; }
.grid strong { font-size: 1.25rem; }
.grid p { margin: 0 0 .5rem; }
.pictures { display: grid; gap: 1rem; margin: 1rem 0;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 420px), 1fr)); }
figure { margin: 0; }
figcaption { color: var(--soft); font-size: .875rem; }
img { display: block; width: 100%; max-width: 780px; height: auto; background: #fff; border-radius: 6px; }
@media (max-width: 700px) {
  .wide thead { display: none; }
  .wide tr { display: block; background: var(--card); border-radius: 6px; margin-bottom: .75rem; padding: .4rem; }
  .wide td { display: flex; justify-content: space-between; gap: 1rem; border: 0; padding: .15rem .4rem; }
  .wide td::before { content: attr(data-name); color: var(--soft); flex: none; max-width: 45%; }
  .wide td > span { text-align: right; min-width: 0; }
  .wide td:first-child { font-weight: 600; }
  .wide td:first-child::before { content: none; }
  .wide td.counted:first-child { justify-content: start; gap: .4rem; }
  .wide td.counted:first-child::before { content: attr(data-name); color: inherit; }
  .wide td:first-child > span { text-align: left; }
  th, td { padding: .3rem; }
}
@media print {
  :root { color-scheme: light; --text: #000; --page: #fff; --soft: #444; --line: #bbb; --card: #fff; --bad: #a40000;
    --bad-card: #fff; }
  html { font-size: 11px; }
  body { font-size: 1rem; }
  main { max-width: none; padding: 0; }
  a { text-decoration: none; }
  figure, tr, li { break-inside: avoid; }
  h2, h3, summary { break-after: avoid; }
  .pictures { grid-template-columns: 1fr 1fr; }
  details::details-content { content-visibility: visible; display: block; }
}
"""

HOW_TO_READ = (
    "Values are percentages, differences are in percentage points. Intervals are 95 % t intervals over seeds: they "
    "tell of other seeds, not of other data; those of percentages end at 0 and 100. Differences are paired by seed. "
    "Where arms were pretrained differently, pretraining runs take the place of seeds: finetunings of one run share "
    "its luck and are averaged first. "
    f"An effect is called only with {NEEDED} seeds or more, and where p, corrected by Holm's method for all "
    "comparisons of this report that could be tested, is at most 0.05. p is the larger of two, both of a mean of 0: "
    "of Student's t test, and of Gaffke's, which is exact for two-valued differences. No test sees what no seed has "
    "shown: an outcome that one run in four has stays unseen in ten with probability 0.06. "
    "“No effect can be claimed” does not say that there is none. "
    "The best number of pauses (M) is chosen on the validation split, by the highest mean; its effect on the test "
    "split is corrected for every M that could have been chosen. "
    "A Pareto front joins what no other arm beats at as few FLOPs or fewer, by means alone. "
    "Training FLOPs are those of all stages, pretraining included; inference FLOPs those of one example's prompt, "
    "pauses and answer. Each arm is shown at as many pauses at inference as it was finetuned with (of several numbers "
    "the largest), or the nearest that was evaluated."
)


def render(report: Report, parts: Sequence[Section], remarks: Sequence[str], folder: Path, fingerprint: str) -> str:
    """The whole page.

    Args:
      remarks: sentences on what could not be shown.
      folder: holds the pictures of the sections, as PNG files.
      fingerprint: of what the page is made of; kept in its head.
    """
    body = "".join(_section(report, part, folder) for part in parts)
    summary = f"<p>{escape(report.summary())}</p>\n" if report.panels or report.failures or not parts else ""
    said = "".join(f'<p class="soft">{escape(remark)}</p>\n' for remark in remarks)
    return document(
        report.title,
        f"{_failures(report)}{_missing(report)}{summary}{said}{_contents(parts)}{body}"
        f'<h2>How to read this</h2>\n<p class="soft">{escape(HOW_TO_READ)}</p>\n',
        head=f'<meta name="fingerprint" content="{fingerprint}">\n',
    )


def document(title: str, body: str, head: str = "") -> str:
    """A whole page with its style; `title` is text, `body` and what else its `head` has are HTML."""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n<link rel="icon" href="data:,">\n'
        f"{head}<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n"
        f"<h1>{escape(title)}</h1>\n{body}</main>\n</body>\n</html>\n"
    )


def picture(caption: str, file: Path) -> str:
    """A PNG file within the page, and below it what it shows."""
    data = base64.b64encode(file.read_bytes()).decode()
    return (
        f'<figure><img alt="{escape(caption)}" src="data:image/png;base64,{data}">'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )


def _failures(report: Report) -> str:
    if not report.failures:
        return ""
    count = len(report.failures)
    heading = f"{count} failure{'s' * (count > 1)}: what is missing below"
    items = "".join(f"<li><strong>{escape(f.job)}</strong>: {escape(f.error)}</li>" for f in report.failures)
    return f'<section class="failures"><h2>{heading}</h2><ul>{items}</ul></section>\n'


def _missing(report: Report) -> str:
    """Folded where it would push the report itself out of sight."""
    if not report.missing:
        return ""
    count = len(report.missing)
    heading = f"Results that other arms and seeds have and these lack ({count})"
    items = f"<ul>{''.join(f'<li>{escape(sentence)}</li>' for sentence in report.missing)}</ul>"
    is_open = " open" if count <= SHOWN_MISSING else ""
    return f'<details class="failures"{is_open}><summary>{heading}</summary>{items}</details>\n'


def _contents(parts: Sequence[Section]) -> str:
    if len(parts) < 2:
        return ""
    items = "".join(
        f'<li><a href="#{escape(part.name)}">{escape(part.title)}</a> {_soft(part.summary)}</li>' for part in parts
    )
    return f"<nav><h2>Contents</h2><ul>{items}</ul></nav>\n"


def _section(report: Report, part: Section, folder: Path) -> str:
    """A section; a folded one is closed until it is asked for."""
    items = "".join(f"<li>{escape(sentence)}</li>" for sentence in part.sentences)
    pictures = "".join(picture(one.caption, folder / f"{one.name}.png") for one in part.pictures)
    tables = "".join(f"<h3>{escape(table.title)}</h3>\n{_wide(table)}" for table in part.tables)
    details = "".join(
        f"<details><summary>{escape(table.title)}</summary>{_wide(table)}</details>\n" for table in part.details
    )
    heading = f"<h2>{escape(part.title)}</h2>"
    inside = (
        f"<ul>{items}</ul>\n{_grid(report, part.grid) if part.grid else ''}"
        f'<div class="pictures">{pictures}</div>\n{tables}{details}'
    )
    if part.is_folded:
        inside = f'<details class="folded">\n<summary>{heading}{_soft(part.summary)}</summary>\n{inside}</details>'
    else:
        inside = f"{heading}\n{inside}"
    return f'<section id="{escape(part.name)}">\n{inside}</section>\n'


def _grid(report: Report, panel: Panel) -> str:
    """The paper's 2 × 2: pretraining down, finetuning across; several M_ft share a place."""
    comparisons = report.of_panel(panel)
    rows = []
    for pretrain, places in panel_tables.grid_places(panel):
        filled = ["".join(_place(panel, cell, comparisons) for cell in cells) or "–" for cells in places.values()]
        name = panel_tables.PRETRAINING[pretrain]
        rows.append(f"<tr><th>{name}</th>{''.join(f'<td>{place}</td>' for place in filled)}</tr>")
    head = "".join(f"<th>{name}</th>" for name in panel_tables.FINETUNING.values())
    return f'<table class="grid"><thead><tr><th></th>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table>\n'


def _place(panel: Panel, cell: Cell, comparisons: Sequence[Comparison]) -> str:
    estimate = cell.estimate
    lines = [f"<strong>{estimate.mean:.1f}</strong> {_number(interval(estimate))}", _soft(panel.label(cell))]
    lines += [_soft(_against(panel, comparison)) for comparison in comparisons if comparison.cell is cell]
    return f"<p>{'<br>'.join(lines)}</p>"


def _wide(table: Table) -> str:
    """A table whose rows become cards on a narrow screen."""
    names = [escape(column.name) for column in table.columns]
    head = "".join(f"<th>{name}</th>" for name in names)
    body = ""
    for row, texts in zip(table.rows, table.shown(), strict=True):
        shown = [
            _kept_together(text) if isinstance(value, Estimate) else escape(text)
            for value, text in zip(row, texts, strict=True)
        ]
        fields = [
            f'<td data-name="{name}"{_COUNTED if isinstance(value, int) else ""}><span>{text}</span></td>'
            for name, value, text in zip(names, row, shown, strict=True)
        ]
        body += f"<tr>{''.join(fields)}</tr>"
    note = f'<p class="soft">{escape(table.note)}</p>\n' if table.note else ""
    return f'<table class="wide"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>\n{note}'


def _against(panel: Panel, comparison: Comparison) -> str:
    difference, p = comparison.effect.difference, comparison.effect.corrected_p
    base = f"against {panel.label(comparison.base)}{'' if math.isnan(p) else f', corrected p {format_p(p)}'}"
    return f"{difference.mean:+.1f} {interval(difference, '+.1f')} {base}"


def _kept_together(estimate: str) -> str:
    """Mean and interval on a line each where there is no room for both on one."""
    mean, _, rest = estimate.partition(" ")
    return f"{mean} {_number(rest)}"


def _number(text: str) -> str:
    """Kept on one line."""
    return f'<span class="number">{text}</span>'


def _soft(text: str) -> str:
    return f'<span class="soft">{escape(text)}</span>'

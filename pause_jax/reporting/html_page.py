"""The report as one HTML file: pictures and style inside, no script, nothing fetched. All text is escaped."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

from pause_jax.reporting.comparisons import Cell, Comparison, Panel, Report
from pause_jax.reporting.statistics import Estimate
from pause_jax.reporting.tables import human_flops

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
  .wide td:first-child > span { text-align: left; }
  th, td { padding: .3rem; }
}
"""

HOW_TO_READ = (
    "Values are percentages, differences are in percentage points. Intervals are 95 % t intervals over seeds: they "
    "tell of other seeds, not of other data, and near 0 or 100 they may reach beyond. Differences are paired by seed. "
    "An effect is called only where the interval leaves out 0 and the exact sign-flip p value, corrected by Holm's "
    "method for all comparisons of this report, is at most 0.05; with fewer than 6 seeds that can't happen. "
    "“No effect can be claimed” does not say that there is none. "
    "Training FLOPs are those of all stages, pretraining included; inference FLOPs those of one example's prompt, "
    "pauses and answer. Each arm is shown at as many pauses at inference as it was finetuned with (of several numbers "
    "the largest), or the nearest that was evaluated."
)


def render(report: Report, pictures: Mapping[int, Sequence[tuple[str, Path]]]) -> str:
    """The whole page.

    Args:
      pictures: index of a panel → its pictures, a caption and a PNG file each.
    """
    panels = "".join(_panel(report, panel, pictures.get(i, ())) for i, panel in enumerate(report.panels))
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n<link rel="icon" href="data:,">\n'
        f"<title>{escape(report.title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n"
        f"<h1>{escape(report.title)}</h1>\n{_failures(report)}<p>{escape(report.summary())}</p>\n{panels}"
        f'<h2>How to read this</h2>\n<p class="soft">{escape(HOW_TO_READ)}</p>\n</main>\n</body>\n</html>\n'
    )


def interval(estimate: Estimate, *, signed: bool = False) -> str:
    """`[71.2, 74.0]`; `one seed` where there is none."""
    if math.isnan(estimate.low):
        return "one seed"
    sign = "+" if signed else ""
    return f"[{estimate.low:{sign}.1f}, {estimate.high:{sign}.1f}]"


def _failures(report: Report) -> str:
    if not report.failures:
        return ""
    count = len(report.failures)
    heading = f"{count} failure{'s' * (count > 1)}: what is missing below"
    items = "".join(f"<li><strong>{escape(f.job)}</strong>: {escape(f.error)}</li>" for f in report.failures)
    return f'<section class="failures"><h2>{heading}</h2><ul>{items}</ul></section>\n'


def _panel(report: Report, panel: Panel, pictures: Sequence[tuple[str, Path]]) -> str:
    comparisons = report.of_panel(panel)
    sentences = [comparison.sentence() for comparison in comparisons] + report.remarks(panel)
    items = "".join(f"<li>{escape(sentence)}</li>" for sentence in sentences)
    return (
        f"<section>\n<h2>{escape(panel.title)}</h2>\n<ul>{items}</ul>\n"
        f"{_grid(panel, comparisons)}{_arms(panel, comparisons)}"
        f'<div class="pictures">{"".join(_picture(*picture) for picture in pictures)}</div>\n'
        f"{_curve(panel)}</section>\n"
    )


def _grid(panel: Panel, comparisons: Sequence[Comparison]) -> str:
    """The paper's 2 × 2: pretraining down, finetuning across; several M_ft share a place."""
    columns = {"std": "finetuned without pauses", "pause": "finetuned with pauses"}
    names = {"std": "standard pretraining", "pause": "pause pretraining", "none": "no pretraining"}
    arms = [arm for arm in panel.arms if arm.finetune in columns and arm.placement != "filler"]
    rows = []
    for pretrain in (name for name in names if any(arm.pretrain == name for arm in arms)):
        places = []
        for finetune in columns:
            here = [panel.home(arm) for arm in arms if (arm.pretrain, arm.finetune) == (pretrain, finetune)]
            places.append("".join(_place(panel, cell, comparisons) for cell in here) or "–")
        rows.append(f"<tr><th>{names[pretrain]}</th>{''.join(f'<td>{place}</td>' for place in places)}</tr>")
    if not rows:
        return ""
    head = "".join(f"<th>{name}</th>" for name in columns.values())
    return f'<table class="grid"><thead><tr><th></th>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table>\n'


def _place(panel: Panel, cell: Cell, comparisons: Sequence[Comparison]) -> str:
    estimate = cell.estimate
    lines = [f"<strong>{estimate.mean:.1f}</strong> {_number(interval(estimate))}", _soft(panel.label(cell))]
    lines += [_soft(_against(panel, comparison)) for comparison in comparisons if comparison.cell is cell]
    return f"<p>{'<br>'.join(lines)}</p>"


def _arms(panel: Panel, comparisons: Sequence[Comparison]) -> str:
    """A row an arm, with what it cost."""
    columns = ["arm", "M_ft", "M_inf", "seeds", "mean", "95 % interval", "minus base", "training FLOPs",
               "inference FLOPs"]  # fmt: skip
    rows = []
    for arm in panel.arms:
        cell = panel.home(arm)
        against = [escape(_against(panel, comparison)) for comparison in comparisons if comparison.cell is cell]
        differences = "<br>".join(against) or ("is a base" if arm.is_base else "not compared")
        values = [escape(panel.label(cell)), escape(arm.m_ft), str(cell.m_inf), str(len(cell.by_seed)),
                  f"{cell.estimate.mean:.1f}", _number(interval(cell.estimate)), differences,
                  human_flops(cell.training_flops), human_flops(cell.inference_flops)]  # fmt: skip
        rows.append(values)
    return f"<h3>Every arm and its cost</h3>\n{_wide(columns, rows)}"


def _curve(panel: Panel) -> str:
    """The figures of the picture against M_inf, folded away."""
    if not panel.varies_m_inf:
        return ""
    m_inf = sorted({cell.m_inf for cell in panel.cells})
    rows = []
    for arm in panel.arms:
        cells = {cell.m_inf: cell for cell in panel.of_arm(arm)}
        values = [f"{cells[m].estimate.mean:.1f} {interval(cells[m].estimate)}" if m in cells else "–" for m in m_inf]
        rows.append([escape(panel.label(panel.home(arm))), *values])
    columns = ["arm", *(f"{m} pauses" for m in m_inf)]
    return f"<details><summary>Figures by pauses at inference</summary>{_wide(columns, rows)}</details>\n"


def _wide(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table whose rows become cards on a narrow screen; the values are HTML already."""
    head = "".join(f"<th>{escape(column)}</th>" for column in columns)
    body = "".join(
        "<tr>"
        + "".join(
            f'<td data-name="{escape(column)}"><span>{value}</span></td>'
            for column, value in zip(columns, row, strict=True)
        )
        + "</tr>"
        for row in rows
    )
    return f'<table class="wide"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>\n'


def _picture(caption: str, file: Path) -> str:
    data = base64.b64encode(file.read_bytes()).decode()
    return (
        f'<figure><img alt="{escape(caption)}" src="data:image/png;base64,{data}">'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )


def _against(panel: Panel, comparison: Comparison) -> str:
    difference = comparison.effect.difference
    base = f"against {panel.label(comparison.base)}"
    return f"{difference.mean:+.1f} {interval(difference, signed=True)} {base}"


def _number(text: str) -> str:
    """Kept on one line."""
    return f'<span class="number">{text}</span>'


def _soft(text: str) -> str:
    return f'<span class="soft">{escape(text)}</span>'

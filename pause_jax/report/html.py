"""The report as one HTML file: pictures and style inside, no script, nothing fetched.

The pages are Jinja templates (templates/); all values in them are escaped.
"""

from __future__ import annotations

import base64
import functools
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pause_jax.report import panel_tables
from pause_jax.report.answer import Answer
from pause_jax.report.comparisons import Comparison, Report
from pause_jax.report.panels import Cell, Panel
from pause_jax.report.sections import Section
from pause_jax.report.statistics import NEEDED, Estimate, format_p
from pause_jax.report.tables import interval

if TYPE_CHECKING:  # sweeps and their status import this file, and go without
    import jinja2

SHOWN_MISSING = 6  # sentences on what is missing that are shown without a click

HOW_TO_READ = (
    "Values are percentages, differences are in percentage points. Intervals are 95 % t intervals over seeds: they "
    "tell of other seeds, not of other data; those of percentages end at 0 and 100. Differences are paired by seed. "
    "Where arms were pretrained differently, pretraining runs take the place of seeds: finetunings of one run share "
    "its luck and are averaged first. "
    f"An effect is significant only with {NEEDED} seeds or more, and where p, corrected by Holm's method for all "
    "comparisons of this report that could be tested, is at most 0.05. p is the larger of two, both of a mean of 0: "
    "of Student's t test, and of Gaffke's, which is exact for two-valued differences. No test sees what no seed has "
    "shown: an outcome that one run in four has stays unseen in ten with probability 0.06. "
    "“No effect can be claimed” does not say that there is none. "
    "The best number of pauses (M) is chosen on the validation split, by the highest mean; its effect on the test "
    "split is corrected for every M that could have been chosen. "
    "On a Pareto front (ringed in pictures of costs) is what no other arm beats at as few FLOPs or fewer, by means "
    "alone. An arrow at a picture's edge is an interval that goes on beyond it. Points are joined only where three or "
    "more of one arm were measured. "
    "Training FLOPs are those of all stages, pretraining included; inference FLOPs those of one example's prompt, "
    "pauses and answer. Each arm is shown at as many pauses at inference as it was finetuned with (of several numbers "
    "the largest), or the nearest that was evaluated."
)


def render(
    report: Report,
    answer: Answer,
    parts: Sequence[Section],
    remarks: Sequence[str],
    folder: Path,
    fingerprint: str,
) -> str:
    """The whole page.

    Args:
      answer: the box at its top.
      remarks: sentences on what could not be shown.
      folder: holds the pictures of the sections, as PNG files.
      fingerprint: of the page's content; kept in its head.
    """
    return fill(
        "report.html",
        title=report.title,
        report=report,
        answer=answer,
        sections=parts,
        remarks=remarks,
        folder=folder,
        fingerprint=fingerprint,
        how_to_read=HOW_TO_READ,
        shown_missing=SHOWN_MISSING,
        finetuning=panel_tables.FINETUNING.values(),
        grid_rows=functools.partial(_grid_rows, report),
    )


def fill(template: str, **values: Any) -> str:
    """The page that the template of this name, in report/ or diagnostics/, gives with these values."""
    return _environment().get_template(template).render(**values)


@functools.cache
def _environment() -> jinja2.Environment:
    import jinja2

    folders = ("pause_jax.report", "pause_jax.diagnostics")
    environment = jinja2.Environment(
        loader=jinja2.ChoiceLoader([jinja2.PackageLoader(folder) for folder in folders]),
        autoescape=True,
        trim_blocks=True,
        undefined=jinja2.StrictUndefined,  # a missing value raises, instead of leaving a hole
    )
    environment.globals["zip"] = functools.partial(zip, strict=True)
    environment.filters["base64"] = lambda file: base64.b64encode(file.read_bytes()).decode()
    environment.tests["estimate"] = lambda value: isinstance(value, Estimate)
    return environment


def _grid_rows(report: Report, panel: Panel) -> list[tuple[str, list[list[dict[str, Any]]]]]:
    """The paper's 2 × 2: for each pretraining its name and the places of its row; several M_ft share a place."""
    comparisons = report.of_panel(panel)
    return [
        (
            panel_tables.PRETRAINING[pretrain],
            [[_place(panel, cell, comparisons) for cell in cells] for cells in places.values()],
        )
        for pretrain, places in panel_tables.grid_places(panel)
    ]


def _place(panel: Panel, cell: Cell, comparisons: Sequence[Comparison]) -> dict[str, Any]:
    return {
        "mean": f"{cell.estimate.mean:.1f}",
        "interval": interval(cell.estimate),
        "label": panel.label(cell),
        "comparisons": [_against(panel, comparison) for comparison in comparisons if comparison.cell is cell],
    }


def _against(panel: Panel, comparison: Comparison) -> str:
    difference, p = comparison.effect.difference, comparison.effect.corrected_p
    baseline = f"against {panel.label(comparison.baseline)}{'' if math.isnan(p) else f', corrected p {format_p(p)}'}"
    return f"{difference.mean:+.1f} {interval(difference, '+.1f')} {baseline}"

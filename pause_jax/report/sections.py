"""The sections of a report, in order, each of sentences, tables and pictures."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from pause_jax.report import across_sizes, alt_texts, figures, panel_tables, result_plots, run_curves
from pause_jax.report.across_sizes import Overview
from pause_jax.report.comparisons import Report
from pause_jax.report.panels import Panel, family_title
from pause_jax.report.run_comparison import Compared
from pause_jax.report.run_curves import Curves
from pause_jax.report.tables import Column, Table

NATS = "{} (nats per text token)"
Draw = Callable[[Path], None]  # writes a PNG file, and an SVG file beside it


@dataclasses.dataclass(frozen=True)
class Picture:
    """A picture, not yet drawn."""

    name: str  # of its files, without ending
    caption: str
    draw: Draw
    alt: str  # what it shows, in words and numbers


@dataclasses.dataclass(frozen=True)
class Section:
    """A heading and what stands below it."""

    name: str  # begins the names of its files; unique in the report
    title: str
    summary: str  # for the table of contents
    sentences: tuple[str, ...] = ()
    grid: Panel | None = None  # the panel whose 2 × 2 is shown
    tables: tuple[Table, ...] = ()
    details: tuple[Table, ...] = ()  # folded away
    pictures: tuple[Picture, ...] = ()
    is_folded: bool = False

    def tables_by_file(self) -> dict[str, Table]:
        """All tables, by the names of their CSV files."""
        return {f"{self.name}-{table.name}.csv": table for table in (*self.tables, *self.details)}


def make_sections(report: Report, curves: Sequence[Curves], compared: Sequence[Compared] = ()) -> list[Section]:
    """Sections of runs compared, overviews across sizes, panels, losses, and, folded at the end, validation panels."""
    numbered = list(enumerate(report.panels, start=1))
    shown = [_panel(report, panel, i) for i, panel in numbered if not panel.is_validation]
    folded = [_panel(report, panel, i) for i, panel in numbered if panel.is_validation]
    overviews = [_overview(overview, i) for i, overview in enumerate(across_sizes.find(report), start=1)]
    looks = _looks(report, [*curves, *(one.curves for one in compared)])
    losses = [_losses(curve, i, looks) for i, curve in enumerate(curves, start=1)]
    runs = [_runs(one, i, looks) for i, one in enumerate(compared, start=1)]
    return [*runs, *overviews, *shown, *losses, *folded]


def _looks(report: Report, curves: Sequence[Curves]) -> dict[str, int]:
    """By name the number of each arm's colour and marker: those of the panels, then of runs that are no arm there."""
    looks = {panel.name(arm): number for panel in report.panels for arm, number in panel.looks.items()}
    for label in (label for one in curves for label in one.runs):
        looks.setdefault(label, len(looks))
    return looks


def top_tables(report: Report) -> list[Table]:
    """Tables of failures and of what is missing, which come first."""
    failures = tuple((failure.job, failure.error) for failure in report.failures)
    missing = tuple((cell,) for cell in report.missing)
    tables = [
        Table("failures", "Failures: what is missing below", (Column("job"), Column("error")), failures),
        Table("missing", "Missing results", (Column("what other arms and seeds have"),), missing),
    ]
    return [table for table in tables if table.rows]


def _panel(report: Report, panel: Panel, number: int) -> Section:
    name = f"{number:02}-{_file_name(panel.task)}-{_file_name(panel.metric)}"
    compared, selections = report.of_panel(panel), report.selections_of(panel)
    paper = None if panel.is_validation else panel_tables.beside_paper(panel)
    has_grid = any(arm.finetune in panel_tables.FINETUNING for arm in panel.arms)
    selection_tables = [
        dataclasses.replace(panel_tables.selection(selection), name=f"best_m{f'-{i}' if len(selections) > 1 else ''}")
        for i, selection in enumerate(selections, start=1)
        if selection.chosen is not None
    ]
    details = [panel_tables.differences(panel, compared)] if compared else []
    if panel.varies_m_inf:
        details.append(panel_tables.by_m_inf(panel))
    if has_grid:
        details.append(panel_tables.grid(panel, compared))
    return Section(
        name,
        panel.title,
        report.summary_of(panel),
        sentences=tuple(report.sentences(panel)),
        grid=panel if has_grid else None,
        tables=(panel_tables.arms(panel), *([paper] if paper else [])),
        details=(*selection_tables, *details),
        pictures=tuple(_panel_pictures(panel, name)),
        is_folded=panel.is_validation,
    )


def _panel_pictures(panel: Panel, name: str) -> list[Picture]:
    """The pictures that have something to show; for a validation split only the maps by which M is chosen."""
    pictures = []
    if not panel.is_validation:
        plot: Draw = partial(result_plots.plot_seeds, panel)
        pictures.append(Picture("seeds", "every seed, mean and 95 % interval", plot, alt_texts.of_seeds(panel)))
        for group, number, of in _groups(panel.arms) if panel.varies_m_inf else []:
            plot = partial(result_plots.plot_m_inf, panel, group)
            alt = alt_texts.of_m_inf(panel, group)
            pictures.append(Picture(f"m_inf{number}", f"against pauses at inference{of}", plot, alt))
    maps = result_plots.heat_maps(panel)
    for i, (family, arms) in enumerate(maps, start=1):
        title = f": {family_title(family, [key for key, _ in maps])}" if len(maps) > 1 else ""
        plot = partial(result_plots.plot_heat_map, panel, family, arms)
        alt = alt_texts.of_heat_map(panel, family, arms)
        pictures.append(Picture(f"heat_map-{i}", f"pauses in finetuning and at inference{title}", plot, alt))
    if not (panel.is_validation or panel.lower_is_better):
        if panel.varies_flops:
            plot = partial(result_plots.plot_cost, panel, "training")
            alt = alt_texts.of_cost(panel, "training")
            pictures.append(Picture("training_flops", "against training FLOPs", plot, alt))
        if panel.varies_inference_flops:
            plot = partial(result_plots.plot_cost, panel, "inference")
            alt = alt_texts.of_cost(panel, "inference")
            caption = "against inference FLOPs, at every number of pauses"
            pictures.append(Picture("inference_flops", caption, plot, alt))
    return [_named(picture, name, f"{panel.task}, {panel.quantity}", panel.counts) for picture in pictures]


def _overview(overview: Overview, number: int) -> Section:
    first = overview.panels[0]
    name = f"sizes-{number:02}-{_file_name(first.task)}-{_file_name(first.metric)}"
    pictures = []
    for words, i, of in _groups(list(overview.lines)):
        plot: Draw = partial(across_sizes.plot_differences, overview, words)
        alt = alt_texts.of_differences(overview, words)
        pictures.append(Picture(f"differences{i}", f"what pauses change, by model size{of}", plot, alt))
    for cost in across_sizes.known_costs(overview):
        plot = partial(across_sizes.plot_cost, overview, cost)
        alt = alt_texts.of_sizes(overview, cost)
        pictures.append(Picture(f"{cost}_flops", f"all sizes against {cost} FLOPs", plot, alt))
    counts = "; ".join(dict.fromkeys(panel.counts for panel in overview.panels))
    best = overview.best_m()
    return Section(
        name,
        overview.title,
        f"models {', '.join(overview.models)}",
        tuple(overview.sentences()),
        tables=(best,) if best else (),
        details=(overview.differences(),) if overview.lines else (),
        pictures=tuple(_named(picture, name, f"{first.task}, {first.quantity}", counts) for picture in pictures),
    )


def _losses(curves: Curves, number: int, looks: Mapping[str, int]) -> Section:
    name = f"losses-{number:02}-{curves.stage}"
    pictures = []
    for labels, i, of in _groups(list(curves.runs)):
        plot: Draw = partial(run_curves.plot_losses, curves, labels, looks=looks)
        pictures.append(Picture(f"steps{i}", f"against steps{of}", plot, alt_texts.of_losses(curves, labels)))
    for labels, i, of in _groups(run_curves.with_pauses(curves)):
        plot = partial(run_curves.plot_after_pauses, curves, labels, looks=looks)
        alt = alt_texts.of_losses(curves, labels, run_curves.AFTER_PAUSE)
        pictures.append(Picture(f"after_pauses{i}", f"on tokens after a pause, and elsewhere{of}", plot, alt))
    count = sum(map(len, curves.runs.values()))
    return Section(
        name,
        curves.title,
        f"{count} run{'s' * (count > 1)}",
        ("Lines are means over seeds, bands reach from the lowest seed to the highest.",),
        details=(curves.last_losses(),),
        pictures=tuple(_named(picture, name, NATS.format(curves.title), curves.counts) for picture in pictures),
    )


def _runs(compared: Compared, number: int, looks: Mapping[str, int]) -> Section:
    curves = compared.curves
    name = f"runs-{number:02}-{curves.stage}"
    pictures = []
    for x, cost in run_curves.COSTS.items():
        if not any(run_curves.series(records, x)[0].size for runs in curves.runs.values() for records in runs):
            continue
        for labels, i, of in _groups(list(curves.runs)):
            plot: Draw = partial(run_curves.plot_losses, curves, labels, x=x, looks=looks)
            pictures.append(Picture(f"{x}{i}", f"against {cost}{of}", plot, alt_texts.of_losses(curves, labels)))
    settings = compared.settings()
    return Section(
        name,
        curves.title,
        f"{len(curves.runs)} compared",
        tuple(compared.sentences()),
        tables=(compared.at_equal_costs(), *([settings] if settings else [])),
        details=(curves.last_losses(),),
        pictures=tuple(_named(picture, name, NATS.format(curves.title), curves.counts) for picture in pictures),
    )


def _named(picture: Picture, name: str, what: str, counts: str) -> Picture:
    """The picture with its section's name and in its caption what it shows, in which unit, and of how many."""
    return dataclasses.replace(picture, name=f"{name}-{picture.name}", caption=f"{what}: {picture.caption}; {counts}")


def _groups[T](items: Sequence[T]) -> list[tuple[Sequence[T], str, str]]:
    """As few groups as fit into a picture each, in order; with suffixes of the picture's file name and caption."""
    count = -(-len(items) // figures.MAX_LINES)
    size = -(-len(items) // max(1, count))
    groups = [items[i * size : (i + 1) * size] for i in range(count)]
    if count == 1:
        return [(items, "", "")]
    return [(group, f"-{i}", f", {i} of {count}") for i, group in enumerate(groups, start=1)]


def _file_name(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.]+", "_", text)[:80]

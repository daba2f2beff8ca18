"""What all pictures of a report share: limits, arrows, and that an arm looks and is called the same everywhere."""

from __future__ import annotations

import dataclasses
import doctest
from pathlib import Path

import pytest
from matplotlib.colors import to_hex

from pause_jax.report import across_sizes, figures, result_plots, run_curves, sections
from pause_jax.report.comparisons import Report
from pause_jax.report.plots import COLORS
from tests.report.result_rows import row, sweep_rows, toy_rows, write_runs


@pytest.fixture
def drawn(monkeypatch):
    """The figures of all pictures, in place of files."""
    seen = []
    monkeypatch.setattr(figures, "save", lambda figure, out: seen.append(figure))
    return seen


def legend_of(figure):
    """By name the colour and marker of each entry of a picture's legend."""
    found = {}
    for handle, text in zip(figure.legends[0].legend_handles, figure.legends[0].get_texts(), strict=True):
        line = handle[0] if hasattr(handle, "__getitem__") else handle
        name = " ".join(text.get_text().split())
        if hasattr(line, "get_marker"):
            found[name] = to_hex(line.get_color()), line.get_marker()
    return found


def test_docstrings_are_true():
    assert doctest.testmod(figures).failed == 0


def test_one_long_interval_leaves_the_axis_and_ends_in_arrows(drawn):
    """Two seeds 0.9 nats apart have an interval of 11.4; the others' are 0.13: the axis shows twice the means' span."""
    arms = {"0": (2.0, 2.01), "2": (2.1, 2.11), "10": (2.0, 2.9)}
    rows = [
        row(metric="loss", m_ft=m, m_inf=int(m), finetune="pause" if m != "0" else "std", seed=s, value=v)
        for m, values in arms.items()
        for s, v in enumerate(values)
    ]
    (panel,) = Report.of(rows).panels
    result_plots.plot_seeds(panel, Path("a.png"))
    axes = drawn[-1].axes[0]
    low, high = axes.get_xlim()
    assert (low, high) == pytest.approx((2.0 - 1.8, 2.9 + 1.8))
    arrows = [line for line in axes.get_lines() if line.get_marker() in "<>" and len(line.get_xdata()) == 1]
    assert [(line.get_marker(), line.get_xdata()[0], line.get_ydata()[0]) for line in arrows] == [
        ("<", pytest.approx(low), 2),
        (">", pytest.approx(high), 2),
    ]
    assert {line.get_color() for line in arrows} == {COLORS[2]}


def test_intervals_that_are_all_long_stay_within_the_axis(drawn):
    rows = [row(seed=s, value=v) for s, v in ((0, 50.0), (1, 52.0))]
    rows += [row(seed=s, value=v, finetune="pause", m_ft="2", m_inf=2) for s, v in ((0, 51.0), (1, 53.0))]
    (panel,) = Report.of(rows).panels
    result_plots.plot_seeds(panel, Path("a.png"))
    axes = drawn[-1].axes[0]
    assert axes.get_xlim()[0] < 51 - 12.7 and axes.get_xlim()[1] > 52 + 12.7
    assert not [line for line in axes.get_lines() if line.get_marker() in ("<", ">")]


def test_points_of_costs_are_not_joined_and_the_front_is_ringed(drawn):
    (panel,) = Report.of(list(toy_rows())).panels
    for cost in ("training", "inference"):
        result_plots.plot_cost(panel, cost, Path("a.png"))
        lines = drawn[-1].axes[0].get_lines()
        assert all(line.get_linestyle() == "None" or len(line.get_xdata()) < 2 for line in lines)
    rings = [c for c in drawn[0].axes[0].collections if c.get_label() == result_plots.FRONT]
    assert len(rings) == 1 and [list(p) for p in rings[0].get_offsets()] == [
        [1e12, pytest.approx(74.0)],
        [2.48e12, pytest.approx(92.517, abs=1e-3)],
    ]


def test_an_arm_has_one_name_colour_and_marker_on_a_whole_page(drawn, tmp_path):
    """Also in a panel that lacks arms, which there would come first and need fewer words, and beside loss curves."""
    rows = [r for r in sweep_rows(seeds=2, effect=2.0, sizes=("4.0k", "130m"), splits=("test",))]
    write_runs(rows, tmp_path / "runs")
    few = [dataclasses.replace(r, metric="f1") for r in rows if r.m_ft == "10" and r.pretrain == "pause"]
    report = Report.of([*rows, *few])
    names = {panel.metric: [panel.name(arm) for arm in panel.arms] for panel in report.panels}
    assert names["f1"] == ["10 % pauses in pretraining, 10 pauses"] and names["f1"][0] in names["accuracy"]
    curves, _ = run_curves.collect(report.rows(), [tmp_path / "runs"], report.names_of_runs())
    looks: dict[str, set] = {}
    for part in sections.make_sections(report, curves):
        for picture in part.pictures:
            if "seeds" in picture.name or "heat_map" in picture.name or "differences" in picture.name:
                continue
            picture.draw(Path("a.png"))
            for name, look in legend_of(drawn[-1]).items():
                looks.setdefault(name.removesuffix(" (2 seeds)"), set()).add(look)
    arms = set(names["accuracy"])
    assert arms <= looks.keys() and all(len(looks[name]) == 1 for name in arms)
    assert len({next(iter(looks[name])) for name in arms}) == len(arms) == 6
    assert any("uniform_trim" in name for name in looks)  # pretraining runs, which are no arms, look like none of them
    others = {name: looks[name] for name in looks.keys() - arms if "steps" in name}
    assert not {look for of in others.values() for look in of} & {look for name in arms for look in looks[name]}


def test_a_line_over_sizes_looks_like_its_arm(drawn):
    rows = [dataclasses.replace(r, model=size) for size in ("4.0k", "8.0k", "16k") for r in toy_rows()]
    (overview,) = across_sizes.find(Report.of(rows))
    panel = overview.panels[0]
    paused = panel.arms[-1]
    first, second = overview.lines
    marks = across_sizes._marks(overview)
    assert marks[first] == result_plots.look(panel, paused)
    assert marks[second]["color"] == marks[first]["color"] and marks[second]["marker"] != marks[first]["marker"]


def test_captions_have_units_and_counts_and_alt_texts_the_figures():
    (part,) = sections.make_sections(Report.of(list(toy_rows())), [])
    seeds, training, inference = part.pictures
    assert seeds.caption == (
        "count_parity_24, accuracy (%): every seed, mean and 95 % interval; 6 seeds of each arm, 100 examples each"
    )
    assert "24 pauses, 3,000 steps: 92.5 [80.2, 100.0]" in seeds.alt and "no pauses, 7,500 steps: 86.5 [" in seeds.alt
    assert "24 pauses, 3,000 steps: 92.5 [80.2, 100.0] at 2.48e+12" in training.alt and "2.05e+06" in inference.alt
    rows = [row(metric="loss", n_examples=0), row(metric="loss", seed=1, value=49.0, n_examples=0)]
    (part,) = sections.make_sections(Report.of([*rows, row(metric="loss", pretrain="pause", n_examples=0)]), [])
    assert part.pictures[0].caption.endswith(
        "loss (nats per text token): every seed, mean and 95 % interval; 1 to 2 seeds of each arm (intervals are over "
        "pretraining runs)"
    )

"""The report as files and on the terminal: pictures, one well-formed page with all of it inside, text escaped."""

from __future__ import annotations

import base64
import dataclasses
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from pause_jax.errors import UserError
from pause_jax.report import figures, panel_tables, result_plots
from pause_jax.report import report as reports
from pause_jax.report.comparisons import Failure, Report
from pause_jax.report.plots import COLORS
from pause_jax.report.report import print_report, read_failures, write_report
from tests.report.result_rows import grid_rows, row, toy_rows
from tests.report.test_plots import pixels

VOID = {"meta", "link", "img", "br"}


class Page(HTMLParser):
    """Reads a page strictly: every element is closed, in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open[-1:] != ["style"]:
            self.text.append(data)

    def attributes(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]

    def words(self):
        return " ".join("".join(self.text).split())


@pytest.fixture
def without_drawing(monkeypatch):
    """Pictures take half a second each: where they are not what is tested they are one pixel."""
    from matplotlib.figure import Figure

    def save(figure, out):
        small = Figure(figsize=(0.01, 0.01), dpi=100)
        for ending in (".png", ".svg"):
            small.savefig(out.with_suffix(ending))

    monkeypatch.setattr(figures, "save", save)


def write(rows, out, **arguments):
    """The page of a report, read strictly, and its HTML."""
    text = write_report(Report.of(list(rows), **arguments), out).read_text()
    return Page(text), text


def test_the_page_holds_tables_sentences_and_pictures(tmp_path):
    rows = [*toy_rows(), *grid_rows(seeds=2)]
    page, text = write(rows, tmp_path / "new" / "out", title="Time to think")
    words = page.words()
    assert "Time to think" in words and "count_parity_24, accuracy, test split, model 4.0k" in words
    for comparison in Report.of(rows).comparisons:
        assert comparison.sentence() in words
    assert "92.5 [80.2, 100.0]" in words and "2.48e+12" in words and "2.05e+06" in words  # mean, both costs
    assert "standard pretraining" in words and "pause pretraining" in words and "finetuned with pauses" in words
    sources = [attributes["src"] for attributes in page.attributes("img")]
    files = sorted((tmp_path / "new" / "out").glob("*.png"))
    assert [f.name for f in files] == [
        "01-count_parity_24-accuracy-inference_flops.png",
        "01-count_parity_24-accuracy-seeds.png",
        "01-count_parity_24-accuracy-training_flops.png",
        "02-recall_8-accuracy-heat_map-1.png",
        "02-recall_8-accuracy-m_inf.png",
        "02-recall_8-accuracy-seeds.png",
    ]
    assert all(file.with_suffix(".svg").read_text().startswith("<?xml") for file in files)
    assert sorted(base64.b64decode(s.removeprefix("data:image/png;base64,")) for s in sources) == sorted(
        f.read_bytes() for f in files
    )
    assert all(attributes["alt"] for attributes in page.attributes("img"))
    # one file: nothing is fetched, nothing runs
    assert not re.search(r"https?:|url\(|@import", text) and not page.attributes("script")
    assert all(link["href"] == "data:," for link in page.attributes("link"))


def test_the_grid_holds_every_arm_in_its_place(tmp_path, without_drawing):
    _, text = write(grid_rows(seeds=3), tmp_path)
    grid = text[text.index('<table class="grid">') :].partition("</table>")[0]
    standard, paused = [line.split("<td>") for line in grid.split("<tr>")[2:]]
    difference = "+0.0 [+0.0, +0.0] against standard pretraining, no pauses"
    assert "standard pretraining, no pauses" in standard[1] and "against" not in standard[1]
    assert "standard pretraining, 10 pauses" in standard[2] and difference in standard[2]
    assert "10 % pauses in pretraining, no pauses" in paused[1] and difference in paused[1]
    assert "10 % pauses in pretraining, 10 pauses" in paused[2] and difference in paused[2]
    assert "<strong>51.0</strong>" in paused[2] and "[48.5, 53.5]" in paused[2]  # 50, 51, 52
    assert "zero-shot" not in grid


def test_failures_come_first_and_all_text_is_escaped(tmp_path, capsys, without_drawing):
    evil = "<script>alert('&')</script>\" $x_1$"
    rows = [row(task=evil, model=evil, metric=evil, seed=s) for s in (0, 1)]
    rows += [row(task=evil, model=evil, metric=evil, finetune="pause", m_ft="2", m_inf=m, seed=0) for m in (0, 2)]
    page, text = write(rows, tmp_path, title=evil, failures=[Failure(evil, evil)])
    assert not page.attributes("script")
    assert text.index("1 failure: what is missing below") < text.index('<div class="answer"') < text.index("<table")
    assert page.words().count(evil) >= 6  # in the title, the heading, the failure and the panel, as it is written
    assert all(file.resolve().parent == tmp_path for file in tmp_path.rglob("*.png"))
    print_report(Report.of(rows, failures=[Failure("a job", "out of memory")]))
    printed = capsys.readouterr().out
    assert printed.index("out of memory") < printed.index(evil)


def test_a_report_of_failures_alone(tmp_path, capsys):
    page, _ = write([], tmp_path, failures=[Failure("pretrain", "killed"), Failure("finetune", "not started")])
    assert "2 failures: what is missing below" in page.words()
    assert "There is nothing to compare" in page.words()
    assert sorted(f.name for f in tmp_path.iterdir()) == ["failures.csv", "report.html"]


def test_the_terminal_shows_costs_and_what_may_be_said(capsys):
    report = Report.of(list(toy_rows()))
    print_report(report)
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert "24 pauses, 3,000 steps 24 24 6 92.5 [80.2, 100.0] 2.48e+12 2.05e+06 training, inference" in lines
    assert all(comparison.sentence() in lines for comparison in report.comparisons)
    assert lines[-1] == report.summary()


def test_figures_by_pauses_are_in_the_page(tmp_path, without_drawing):
    rows = [row(finetune="pause", m_ft="10", m_inf=m, value=40.0 + m) for m in (0, 10)]
    page, text = write([*rows, row(value=33.0)], tmp_path)
    assert "Figures by pauses at inference" in page.words()
    words, details = page.words(), text.partition("Figures by pauses at inference")[2]
    shown = words[words.index("Figures by pauses at inference") :]
    assert "33.0 (1 seed)" in shown and "40.0 (1 seed)" in shown and "50.0 (1 seed)" in shown
    assert 'data-name="10 pauses"><span>–</span>' in details  # not evaluated there


def test_every_arm_is_drawn_in_its_colour(tmp_path):
    (panel,) = Report.of(list(toy_rows())).panels
    for plot in (
        result_plots.plot_seeds,
        lambda panel, out: result_plots.plot_m_inf(panel, panel.arms, out),
        lambda panel, out: result_plots.plot_cost(panel, "training", out),
        lambda panel, out: result_plots.plot_cost(panel, "inference", out),
    ):
        plot(panel, tmp_path / "a.png")
        for i, color in enumerate(COLORS[:-1]):  # the last is black, as text is
            assert (pixels(tmp_path / "a.png", color) > 50) == (i < 3), (plot, color)


def test_heat_maps_hold_each_mean_and_the_number_of_seeds_in_its_place(tmp_path, monkeypatch):
    rows = [
        row(finetune="pause", m_ft=m_ft, m_inf=m, value=v, seed=s)
        for m_ft, m, v in (("10", 10, 40.0), ("2", 2, 30.0), ("2", 10, 20.0))
        for s in (0, 1)
    ]
    rows += [row(value=10.0), row(m_inf=10, value=60.0), row(finetune="pause", m_ft="10", m_inf=2, placement="prepend")]
    (panel,) = Report.of(rows).panels
    ((family, arms),) = result_plots.heat_maps(panel)  # pauses in front: one M_ft at one M_inf besides none is no map
    assert family.placement == "append" and [arm.m_ft for arm in arms] == ["0", "2", "10"]
    drawn = []
    monkeypatch.setattr(figures, "save", lambda figure, out: drawn.append(figure))
    result_plots.plot_heat_map(panel, family, arms, tmp_path / "a.png")
    places = {}
    for text in drawn[0].axes[0].texts:
        places.setdefault((int(text.xy[1]), int(text.xy[0])), []).append(text.get_text())
    assert places == {
        (0, 0): ["10.0", "1 seed"],
        (1, 1): ["30.0", "2 seeds"],
        (1, 2): ["20.0", "2 seeds"],
        (2, 2): ["40.0", "2 seeds"],
    }
    assert [label.get_text() for label in drawn[0].axes[0].get_yticklabels()] == ["0", "2", "10"]
    assert [label.get_text() for label in drawn[0].axes[0].get_xticklabels()] == ["0", "2", "10"]


def test_eight_arms_are_told_apart_by_marker():
    marks = [(figures.mark(i)["color"], figures.mark(i)["marker"]) for i in range(20)]
    assert len(set(marks)) == 20


def figure_of(monkeypatch, plot, *arguments):
    drawn = []
    monkeypatch.setattr(figures, "save", lambda figure, out: drawn.append(figure))
    plot(*arguments, Path("a.png"))
    return drawn[0].axes[0]


def test_axes_are_no_closer_than_what_means_something(monkeypatch):
    """Arms that all have 0 percent would be drawn from -0.04 to 0.04."""
    (panel,) = Report.of([row(value=0.0), row(finetune="pause", m_ft="2", m_inf=2, value=0.0)]).panels
    low, high = figure_of(monkeypatch, result_plots.plot_seeds, panel).get_xlim()
    assert low <= -2.4 and high >= 2.4


def test_an_interval_is_drawn_up_to_100_and_ends_there(monkeypatch):
    (panel,) = Report.of([row(value=100.0), row(value=70.0, seed=1)]).panels
    axes = figure_of(monkeypatch, result_plots.plot_seeds, panel)
    ((segment,),) = [bar.get_segments() for bar in axes.collections if hasattr(bar, "get_segments")]
    assert [x for x, _ in segment] == [0.0, 100.0]


def test_two_points_are_not_joined(monkeypatch):
    def lines(m_infs):
        rows = [row(finetune="pause", m_ft="10", m_inf=m, value=40.0 + m) for m in m_infs]
        (panel,) = Report.of([*rows, row()]).panels
        axes = figure_of(monkeypatch, lambda out: result_plots.plot_m_inf(panel, panel.arms[-1:], out))
        return axes.get_lines()[0].get_linestyle()

    assert lines((0, 10)) == "None" and lines((0, 5, 10)) == "-"


def test_where_there_is_nothing_to_compare_nothing_is_drawn_or_said():
    """No front where all cost the same, no map of one number of pauses."""
    rows = [row(seed=s, value=50.0 + s) for s in (0, 1)]
    rows += [row(finetune="pause", m_ft="10", m_inf=m, seed=s, value=60.0) for s in (0, 1) for m in (0, 10)]
    (panel,) = Report.of(rows).panels
    assert result_plots.heat_maps(panel) == []
    assert [column.name for column in panel_tables.arms(panel).columns][-1] == "inference FLOPs"
    dearer = [dataclasses.replace(r, model_flops=3e12) if r.m_ft == "10" else r for r in rows]
    (panel,) = Report.of(dearer).panels
    arms = panel_tables.arms(panel)
    assert arms.columns[-1].name == "on the Pareto front of" and [r[-1] for r in arms.rows] == ["training", "training"]


def test_pauses_that_were_never_trained_are_not_drawn_and_marked_in_the_table(monkeypatch):
    rows = [row(m_inf=m, value=v, placement="append" if m else "none") for m, v in ((0, 73.8), (5, 10.0), (10, 8.2))]
    rows += [row(finetune="pause", m_ft="10", m_inf=m, value=70.0 + m / 10) for m in (0, 5, 10)]
    (panel,) = Report.of(rows).panels
    axes = figure_of(monkeypatch, lambda out: result_plots.plot_m_inf(panel, panel.arms, out))
    assert [len(line.get_xdata()) for line in axes.get_lines() if len(line.get_xdata())][:1] == [1]
    table = panel_tables.by_m_inf(panel)
    assert table.rows[0][0] == "standard pretraining, no pauses *" and "never" not in table.rows[1][0]
    assert table.note.startswith("* Trained without any pause")


def test_intervals_beyond_what_can_be_do_not_stretch_the_plot():
    (panel,) = Report.of([row(value=40.0), row(value=60.0, seed=1)]).panels
    assert (panel.cells[0].estimate.low, panel.cells[0].estimate.high) == (0.0, 100.0)
    assert result_plots.percentages(panel.cells, (-80, 180)) == (-3.0, 103.0)
    assert result_plots.percentages(panel.cells, (20, 80)) == (20, 80)
    (panel,) = Report.of([row(value=-4.0), row(value=900.0, seed=1)]).panels  # no percentages
    assert result_plots.percentages(panel.cells, (-80, 180)) == (-80, 180)


def test_a_failure_while_writing_leaves_the_old_report(tmp_path, monkeypatch, without_drawing):
    write(toy_rows(), tmp_path)
    before = (tmp_path / "report.html").read_text()
    monkeypatch.setattr(reports.html, "render", lambda *arguments: pytest.fail("killed"))
    with pytest.raises(pytest.fail.Exception):
        write(grid_rows(seeds=2), tmp_path)
    assert (tmp_path / "report.html").read_text() == before


def test_a_report_that_stands_is_not_drawn_again(tmp_path, without_drawing, monkeypatch):
    draw, drawn = figures.save, []
    monkeypatch.setattr(figures, "save", lambda figure, out: (drawn.append(out.name), draw(figure, out)))
    rows = list(grid_rows(seeds=2))

    def drawings(rows, **arguments):
        drawn.clear()
        write(rows, tmp_path, **arguments)
        return len(drawn)

    assert drawings(rows) == 3 and drawings(rows) == 0
    assert drawings(rows, title="Another") == 3
    assert drawings(rows[:-1], title="Another") == 3
    for lost in ("01-recall_8-accuracy-seeds.svg", "01-recall_8-accuracy-arms.csv", "report.html"):
        (tmp_path / lost).unlink()
        assert drawings(rows[:-1], title="Another") == 3 and (tmp_path / lost).exists()
    assert drawings(rows[:-1], title="Another") == 0


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"the report can't be written to .*file .*: give another folder as --out"):
        write_report(Report.of([row()]), tmp_path / "file")


def test_failures_are_read(tmp_path):
    path = tmp_path / "failures.json"
    assert read_failures(path) == []
    path.write_text('[{"job": "finetune", "error": "loss not finite", "attempts": 2}]')
    assert read_failures(path) == [Failure("finetune", "loss not finite")]


@pytest.mark.parametrize("text", ["", "{", "3", '["finetune"]', '[{"job": "finetune"}]', '{"job": "a"}', "\xff"])
def test_failures_that_are_no_list_are_a_mistake(tmp_path, text):
    path = tmp_path / "failures.json"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(UserError, match=r"failures\.json is no list of failures: restore it, delete it, or write"):
        read_failures(path)

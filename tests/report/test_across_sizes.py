"""What pauses did at each model size: which comparisons belong together, and what is said of them."""

from __future__ import annotations

import dataclasses

import pytest

from pause_jax.report import across_sizes, figures
from pause_jax.report.comparisons import Report
from pause_jax.report.figures import color
from tests.report.result_rows import row, sweep_rows, toy_rows
from tests.report.test_plots import pixels

SIZES = ("130m", "4.0k", "826.5k")


def overview_of(rows):
    (overview,) = across_sizes.find(Report.of(list(rows)))
    return overview


def test_models_stand_by_size_and_lines_join_what_is_alike():
    overview = overview_of(sweep_rows(seeds=10, effect=3.0, sizes=SIZES))
    assert overview.models == ["4.0k", "826.5k", "130m"]
    assert overview.title == "recall_8, accuracy, test split, over 3 model sizes"
    assert {words: list(line) for words, line in overview.lines.items()} == {
        f"{arm} minus no pauses": overview.models
        for arm in (
            "standard pretraining, 2 pauses",
            "standard pretraining, 10 pauses",
            "10 % pauses in pretraining, no pauses",
            "10 % pauses in pretraining, 2 pauses",
            "10 % pauses in pretraining, 10 pauses",
        )
    }
    for line in overview.lines.values():
        assert all(comparison.panel.model == model for model, comparison in line.items())
    best = overview.best_m()
    assert best is not None
    chosen = [(r[0], r[2]) for r in best.rows if str(r[1]).startswith("10 %")]
    assert chosen == [("4.0k", 10), ("826.5k", 10), ("130m", 10)]


def test_only_called_effects_are_named():
    with_effect = [r for r in sweep_rows(seeds=10, effect=3.0, sizes=("130m",))]
    without = [r for r in sweep_rows(seeds=10, effect=0.0, sizes=("4.0k",))]
    sentences = overview_of([*with_effect, *without]).sentences()
    said = "minus no pauses: a difference beyond the chance of seeds"
    assert f"10 % pauses in pretraining, 10 pauses {said} at 130m, of 2 compared." in sentences
    assert f"standard pretraining, 2 pauses {said} at no size, of 2 compared." in sentences
    assert sentences[-1] == "Whether a difference grows with size is not tested here."


def test_steps_may_differ_between_sizes_and_bases_stay_apart():
    small = list(toy_rows())
    large = [dataclasses.replace(r, model="8.0k", steps=2 * r.steps) for r in small]
    overview = overview_of([*small, *large])
    assert {words: list(line) for words, line in overview.lines.items()} == {
        "24 pauses minus no pauses at equal steps": ["4.0k", "8.0k"],
        "24 pauses minus no pauses at equal training FLOPs": ["4.0k", "8.0k"],
    }


def test_one_size_or_only_validation_has_no_overview():
    assert across_sizes.find(Report.of(list(sweep_rows(seeds=2, effect=0.0)))) == []
    rows = list(sweep_rows(seeds=2, effect=0.0, sizes=SIZES, splits=("validation",)))
    assert across_sizes.find(Report.of(rows)) == []
    assert across_sizes.find(Report.of([row(), row(model="1m")])) == []  # nothing compared


def test_names_that_tell_no_size_stand_by_cost():
    rows = [r for r in sweep_rows(seeds=2, effect=0.0, sizes=("tiny", "small"), splits=("test",))]
    swapped = [dataclasses.replace(r, inference_flops=1e6 if r.model == "small" else 1e7) for r in rows]
    assert overview_of(swapped).models == ["small", "tiny"]


@pytest.mark.parametrize(
    ("name", "size"),
    [("826.5k", 826.5e3), ("130m", 130e6), ("1.3B", 1.3e9), ("999", 999.0), ("tiny", None), ("8x7b", None)],
)
def test_parameters(name, size):
    assert across_sizes.parameters(name) == size


def test_every_line_is_drawn_and_only_effects_are_filled(tmp_path, monkeypatch):
    overview = overview_of(sweep_rows(seeds=10, effect=5.0, sizes=SIZES[:2]))
    hollow, *_, filled = overview.lines
    for words in (filled, hollow):
        drawn = []
        with monkeypatch.context() as patched:
            patched.setattr(figures, "save", lambda figure, out, drawn=drawn: drawn.append(figure))
            across_sizes.plot_differences(overview, [words], tmp_path / "a.png")
        over = drawn[0].axes[0].get_lines()[-1]  # what is drawn last, over the hollow marks
        assert over.get_color() == across_sizes._marks(overview)[words]["color"]
        assert len(over.get_xdata()) == (2 if words == filled else 0)
    across_sizes.plot_cost(overview, "training", tmp_path / "cost.png")
    assert pixels(tmp_path / "cost.png", color(0)) > 100 and pixels(tmp_path / "cost.png", color(1)) > 100
    unknown = [
        dataclasses.replace(r, model_flops=0.0, inference_flops=float("inf"))
        for r in sweep_rows(seeds=2, effect=0.0, sizes=SIZES[:2], splits=("test",))
    ]
    assert across_sizes.known_costs(overview_of(unknown)) == []

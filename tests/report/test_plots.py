"""The plot: what is drawn is found again as pixels of its colour."""

from __future__ import annotations

import math

import numpy as np
import pytest

from pause_jax.report import plots
from pause_jax.report.plots import COLORS, plot_losses


def records(final=1.5, steps=100, paused=False):
    rows = []
    for step in range(1, steps + 1):
        loss = final + 4 * math.exp(-step / 20)
        row = {"step": step, "loss": loss, "model_flops": step * 1e11}
        if step % 20 == 0:
            row["validation/loss"] = loss + 0.1
        if step % 20 == 0 and paused:
            row["validation/paused_loss"] = loss + 0.3
        rows.append(row)
    return rows


def pixels(path, color):
    """How many pixels of the picture have exactly this colour."""
    from matplotlib.colors import to_rgb
    from matplotlib.image import imread

    image = imread(path)[..., :3]
    return int(np.sum(np.all(np.abs(image - np.array(to_rgb(color))) < 1e-3, axis=-1)))


def test_each_run_is_drawn_in_its_colour(tmp_path):
    out = tmp_path / "new" / "losses.png"
    plot_losses({"a": records(), "b": records(1.8)}, out)
    assert pixels(out, COLORS[0]) > 500
    assert pixels(out, COLORS[1]) > 500
    assert pixels(out, COLORS[2]) == 0
    assert [f.name for f in out.parent.iterdir()] == ["losses.png"]


def test_the_paused_loss_is_a_line_of_its_own(tmp_path):
    plot_losses({"a": records()}, tmp_path / "clean.png")
    plot_losses({"a": records(paused=True)}, tmp_path / "both.png")
    assert pixels(tmp_path / "both.png", COLORS[0]) > pixels(tmp_path / "clean.png", COLORS[0]) + 100


def test_the_flops_panel_is_beside_the_first(tmp_path):
    from matplotlib.image import imread

    plot_losses({"a": records()}, tmp_path / "one.png")
    plot_losses({"a": records()}, tmp_path / "two.png", flops_panel=True)
    one, two = imread(tmp_path / "one.png"), imread(tmp_path / "two.png")
    assert (two.shape[0], two.shape[1]) == (one.shape[0], 2 * one.shape[1])
    assert pixels(tmp_path / "two.png", COLORS[0]) > 1.5 * pixels(tmp_path / "one.png", COLORS[0])


def test_the_fall_of_the_first_steps_is_cut_off():
    from matplotlib.figure import Figure

    axes = Figure().subplots()
    plots._draw_over_steps(axes, {"a": records()})
    assert records()[5]["loss"] < axes.get_ylim()[1] < records()[0]["loss"]


def test_a_value_that_is_not_finite_leaves_a_gap(tmp_path):
    rows = records()
    rows[40]["loss"] = rows[39]["validation/loss"] = math.nan
    plot_losses({"a": rows}, tmp_path / "a.png")
    assert pixels(tmp_path / "a.png", COLORS[0]) > 300


@pytest.mark.parametrize("rows", [[], [{"step": 1, "loss": 2.0}], [{"step": 1, "loss": math.nan}]])
def test_a_run_that_has_hardly_begun_can_be_drawn(tmp_path, rows):
    plot_losses({"a": rows}, tmp_path / "a.png", flops_panel=True)
    assert (tmp_path / "a.png").stat().st_size > 1000


def test_a_failure_leaves_the_old_picture(tmp_path, monkeypatch):
    out = tmp_path / "a.png"
    plot_losses({"a": records()}, out)
    before = out.read_bytes()
    monkeypatch.setattr(plots.os, "replace", lambda *names: pytest.fail("killed before the end"))
    with pytest.raises(pytest.fail.Exception):
        plot_losses({"b": records(3.0)}, out)
    assert out.read_bytes() == before

"""Exponents are slopes of logarithms, and a point is a step that was compiled and run."""

from __future__ import annotations

import json

import pytest

from benchmarks import growth


def test_exponents_are_those_of_the_upper_half():
    xs = [1, 2, 4, 8, 16, 32]
    assert growth.fitted_exponent(xs, [7.0, 7.0, 7.0] + [3 * x**1.5 for x in xs[3:]]) == pytest.approx(1.5)
    assert growth.fitted_exponent([1, 10, 100], [5.0, 5.0, 5.0]) == pytest.approx(0)


def test_curves_meet_at_one_size():
    assert all(getattr(growth.Size(), name) in values for name, values in growth.CURVES.items() if name != "batch")
    assert growth.Size().batch in growth.CURVES["batch"]


@pytest.mark.slow
def test_a_curve_of_two_axes_and_its_picture(monkeypatch, tmp_path):
    small = growth.Size(length=16, batch=2, depth=1, width=64, vocabulary=128)
    monkeypatch.setattr(growth, "Size", lambda: small)
    curves = growth.measure_curves({"vocabulary": (128, 1024, 8192), "batch": (1, 4, 16)}, steps=1)
    assert [point["vocabulary"] for point in curves["vocabulary"]["points"]] == [128, 1024, 8192]
    # the table, its two moments and its gradient are most of it
    assert 0.5 < curves["vocabulary"]["memory_exponent"] < 1.1
    assert curves["batch"]["memory_exponent"] < 0  # parameters are shared by more positions
    assert all(point["seconds"] > 0 for curve in curves.values() for point in curve["points"])
    json.dumps(curves)
    growth.plot(curves, tmp_path / "growth.png")
    assert (tmp_path / "growth.png").read_bytes().startswith(b"\x89PNG")

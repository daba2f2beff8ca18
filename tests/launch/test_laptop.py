"""The laptop's sweep in its shortest edition: every job done, the report whole, and shown in a browser."""

from __future__ import annotations

import csv

import pytest

from pause_jax.report.results import read_results
from tests.programs import program
from tests.report.browser import look_at


@pytest.mark.slow
def test_the_shortest_edition_ends_in_a_report_that_fits(tmp_path):
    folder = tmp_path / "sweep"
    done = program("sweep", "--config=experiments/sweeps/laptop.py:ci", f"--workdir={folder}")
    assert done.returncode == 0, done.stderr
    assert "32 of 32 jobs done" in done.stdout
    rows = read_results(folder / "results.csv")
    points = {(r.model, r.seed, r.pretrain, r.m_ft, r.m_inf, r.split) for r in rows if r.metric == "accuracy"}
    assert points == {
        (size, seed, pretrain, m_ft, m_inf, split)
        for size in ("w16", "w24")
        for seed in (0, 1)
        for pretrain, m_ft in (("std", "0"), ("pause", "0"), ("pause", "4"))
        for m_inf in (0, 4)
        for split in ("validation", "test")
    }
    page = folder / "report" / "report.html"
    names = {path.stem for path in page.parent.glob("*.png")}
    for kind in (
        "seeds",
        "m_inf",
        "heat_map-1",
        "training_flops",
        "inference_flops",
        "differences",
        "steps",
        "after_pauses",
    ):
        assert any(name.endswith(kind) for name in names), (kind, names)
    (best,) = page.parent.glob("sizes-01-*best_m_by_size.csv")
    assert {row["model"] for row in csv.DictReader(best.open())} == {"w16", "w24"}
    for width in (390, 1280):
        found = look_at(page, tmp_path, width)
        assert (found.page, found.wide) == (width, [])
        assert len(found.pictures) == len(names) and min(found.pictures) == 780

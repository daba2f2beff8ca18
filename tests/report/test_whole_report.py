"""Made-up results with a known truth through the whole report: it says what is there, and nothing that is not."""

from __future__ import annotations

import dataclasses
import math
import re

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from pause_jax.report.comparisons import Report
from pause_jax.report.report import print_report, write_report
from tests.report.result_rows import grid_rows, row, sweep_rows, write_runs
from tests.report.test_report import Page, without_drawing  # noqa: F401

SIZES = ("4.0k", "130m")
CLAIM = re.compile(r"a (gain|loss) beyond the chance of seeds|a difference beyond the chance of seeds at (?!no size)")


def page_of(rows, out, **arguments):
    return Page(write_report(Report.of(rows), out, **arguments).read_text())


def test_a_known_effect_is_found_where_it_is_and_only_there(tmp_path, without_drawing, capsys):  # noqa: F811
    rows = list(sweep_rows(seeds=10, effect=3.0, sizes=SIZES))
    words = page_of(rows, tmp_path).words()
    paused, base = "10 % pauses in pretraining", "minus standard pretraining, no pauses:"
    for m, gain in ((2, "[23]"), (10, "[56]")):  # 3 and 6, give or take what seeds make of it
        called = rf"{paused}, {m} pauses {base} \+{gain}\.\d points[^;]*: a gain beyond the chance of seeds;"
        assert len(re.findall(called, words)) == 2
        over_sizes = (
            f"{paused}, {m} pauses minus no pauses: a difference beyond the chance of seeds at 4.0k, 130m, of 2"
        )
        assert over_sizes in words
        not_called = rf"standard pretraining, {m} pauses {base} [^;]*: no effect can be claimed;"
        assert len(re.findall(not_called, words)) == 2
    assert words.count(f"{paused}: best M = 10 by validation, chosen in 100% of bootstrap draws") == 2
    assert "2 of 5 differences beyond the chance of seeds" in words
    assert words.count("for choosing, nothing is claimed from it") == 4  # of two panels, in the contents and above it
    print_report(Report.of(rows))
    printed = " ".join(capsys.readouterr().out.split())
    assert printed.count("a gain beyond") == words.count("a gain beyond") == 6


def test_pauses_that_hurt_are_called_a_loss(tmp_path, without_drawing):  # noqa: F811
    words = page_of(list(sweep_rows(seeds=10, effect=-3.0)), tmp_path).words()
    assert words.count("a loss beyond the chance of seeds;") == 2 and "a gain" not in words
    assert re.search(r"10 % pauses in pretraining: best M = 0 .* no number of pauses was better than none", words)


def test_no_effect_is_said_to_be_none(tmp_path, without_drawing):  # noqa: F811
    words = page_of(list(sweep_rows(seeds=10, effect=0.0, sizes=SIZES)), tmp_path).words()
    assert CLAIM.search(words) is None
    assert words.count("no effect can be claimed") >= 10 and "of none can an effect be claimed" in words


def test_whole_reports_without_an_effect_rarely_claim_one():
    """Two sizes, all comparisons and all choices of the best M together: a claim in 5 % of reports at most."""
    rng, claims, reports = np.random.default_rng(2), 0, 100
    template = [r for r in sweep_rows(seeds=10, effect=0.0, sizes=SIZES) if r.m_inf == int(r.m_ft)]
    for _ in range(reports):
        value_of = {r.checkpoint: rng.normal(50, 3) for r in template}
        rows = [dataclasses.replace(r, value=value_of[r.checkpoint] + rng.normal(0, 0.5)) for r in template]
        report = Report.of(rows)
        claims += any(CLAIM.search(sentence) for panel in report.panels for sentence in report.sentences(panel))
    assert claims <= 0.05 * reports + 3 * math.sqrt(reports * 0.05 * 0.95)


def test_what_is_missing_stands_above_all(tmp_path, without_drawing):  # noqa: F811
    whole = list(grid_rows(seeds=3))
    lost = [r for r in whole if not (r.seed == 1 and r.m_ft == "10" and r.pretrain == "pause" and r.m_inf == 10)]
    page = page_of(lost, tmp_path)
    sentence = "10 % pauses in pretraining, 10 pauses, at M_inf 10: seed 1"
    assert f"recall_8, accuracy, test split, model 826.5k: {sentence}" in page.words()
    assert page.words().index(sentence) < page.words().index("comparisons with a base")
    assert sentence in (tmp_path / "missing.csv").read_text()
    assert Report.of(whole).missing == ()


def test_an_arm_that_was_not_evaluated_at_an_m_inf_of_the_others_is_missed():
    rows = [row(finetune="pause", m_ft=m_ft, m_inf=m, value=50.0) for m_ft in ("2", "10") for m in (2, 5, 10)]
    assert Report.of(rows).missing == ()
    (sentence,) = Report.of([r for r in rows if (r.m_ft, r.m_inf) != ("2", 5)]).missing
    assert sentence.endswith("standard pretraining, 2 pauses, at M_inf 5: all seeds")


@pytest.mark.slow
def test_files_beside_the_page_hold_every_table_and_picture(tmp_path):
    rows = list(sweep_rows(seeds=2, effect=0.0, sizes=SIZES))
    write_runs(rows, tmp_path / "runs")
    page = page_of(rows, tmp_path / "report", runs=[tmp_path / "runs"])
    pictures = {file.stem for file in (tmp_path / "report").glob("*.png")}
    assert pictures == {file.stem for file in (tmp_path / "report").glob("*.svg")}
    assert len(page.attributes("img")) == len(pictures)
    tables = [attributes for attributes in page.attributes("table") if attributes["class"] == "wide"]
    assert len(tables) == len(list((tmp_path / "report").glob("*.csv")))
    ids = [attributes["id"] for attributes in page.attributes("section")]
    assert [attributes["href"] for attributes in page.attributes("a")] == [f"#{name}" for name in ids]
    assert len(set(ids)) == len(ids)


FLOATS = st.one_of(st.floats(), st.floats(0, 100), st.sampled_from([0.0, math.inf, -math.inf, math.nan, 1e300, -1e300]))


@pytest.mark.slow
@settings(max_examples=3, deadline=None, phases=[Phase.generate])  # to shrink a report's figures takes minutes
@given(st.data())
def test_no_number_stops_a_report(tmp_path_factory, data):
    rows = [
        dataclasses.replace(
            r, value=data.draw(FLOATS), model_flops=data.draw(FLOATS), inference_flops=data.draw(FLOATS)
        )
        for r in sweep_rows(seeds=2, effect=0.0, sizes=SIZES)
        if r.m_ft != "2" and r.m_inf != 2
    ]
    assert "</html>" in write_report(Report.of(rows), tmp_path_factory.mktemp("report")).read_text()

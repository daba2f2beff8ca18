"""The report in a real browser, where there is one: nothing wider than the window, every picture shown, no errors."""

from __future__ import annotations

import re

import pytest

from pause_jax.report.comparisons import Failure, Report
from pause_jax.report.report import write_report
from tests.report.browser import chromium, look_at
from tests.report.result_rows import row, sweep_rows, toy_rows, write_runs


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """Three sizes, both splits, losses, the paper's task, a failure, and names that are too long for any line."""
    folder = tmp_path_factory.mktemp("report")
    long_name = "a_task_with_a_name_that_is_longer_than_a_telephone_is_wide_" * 2
    swept = list(sweep_rows(seeds=2, effect=2.0, sizes=("4.0k", "826.5k", "130m")))
    write_runs(swept, folder / "runs")
    rows = [*swept, *toy_rows(), row(task="gsm8k"), row(task=long_name), row(task=long_name, seed=1, value=123456.0)]
    failures = [Failure("finetune recall_8 seed=2", "killed: see /runs/" + "0123456789abcdef" * 8 + "/log.txt")]
    return write_report(Report.of(rows, failures=failures), folder / "out", [folder / "runs"])


@pytest.mark.slow
@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_fits_and_shows_everything(page, tmp_path, width):
    found = look_at(page, tmp_path, width)
    assert (found.page, found.wide) == (width, [])
    drawn = list(page.parent.glob("*.png"))
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
        assert any(file.stem.endswith(kind) for file in drawn), kind
    assert len(found.pictures) == len(drawn) and min(found.pictures) == 780
    ((left, top, right, bottom),) = found.answers
    assert 0 < left < right < width and 0 < top < bottom < found.contents  # above all that it sums up


@pytest.mark.slow
@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("rows", [[row()], [row(split="validation")], list(toy_rows())], ids=["one", "unsaid", "toy"])
def test_the_answer_fits_whatever_it_says(rows, tmp_path, width):
    """Where nothing failed the box is the first thing below the heading."""
    found = look_at(write_report(Report.of(rows), tmp_path / "out"), tmp_path, width)
    assert (found.page, found.wide) == (width, [])
    ((_, top, _, bottom),) = found.answers
    assert top < 120 and bottom - top > 100


@pytest.mark.slow
def test_a_printed_page_shows_what_is_folded(page, tmp_path):
    """As many sheets are printed as where everything is unfolded."""

    def sheets(text):
        (tmp_path / "page.html").write_text(text)
        printed = f"--print-to-pdf={tmp_path / 'page.pdf'}"
        chromium(tmp_path, "--no-pdf-header-footer", printed, (tmp_path / "page.html").as_uri())
        return len(re.findall(rb"/Type\s*/Page\b", (tmp_path / "page.pdf").read_bytes()))

    folded = page.read_text()
    unfolded = folded.replace("<details", "<details open")
    assert sheets(folded) == sheets(unfolded) > 5
    assert sheets(folded.replace("details::details-content", "details::nothing")) < sheets(unfolded)

"""The report program: results in, a folder with a page out; mistakes in one sentence, nothing written."""

from __future__ import annotations

import json

import pytest

from pause_jax.reporting.results import write_results
from tests.launch.test_train import assert_one_sentence, program
from tests.reporting.result_rows import row, toy_rows


def test_a_report_of_results_and_failures(tmp_path):
    results, out = tmp_path / "results.csv", tmp_path / "deep" / "out"
    write_results(results, toy_rows())
    (tmp_path / "failures.json").write_text(json.dumps([{"job": "finetune 3", "error": "out of memory"}]))
    done = program("report", f"--results={results}", f"--out={out}", "--title=Mine & yours")
    assert (done.returncode, done.stderr) == (0, "")
    assert "out of memory" in done.stdout and "no effect can be claimed" in done.stdout
    assert done.stdout.endswith(f"\nreport: {out / 'report.html'}\n")
    page = (out / "report.html").read_text()
    assert "<h1>Mine &amp; yours</h1>" in page and "finetune 3" in page and page.count("<img") == 2


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--out={tmp}/out"], "--results is missing: a CSV file that launch.evaluate or a sweep wrote"),
        (["--results={tmp}/good.csv"], "--out is missing: the folder"),
        (["--results={tmp}/none.csv", "--out={tmp}/out"], r"none\.csv cannot be read"),
        (["--results={tmp}/other.csv", "--out={tmp}/out"], "other.csv has other columns .*: without model,"),
        (["--results={tmp}/empty.csv", "--out={tmp}/out"], r"empty\.csv has no rows: there is nothing to report"),
        (["--results={tmp}/twice.csv", "--out={tmp}/out"], "differ in nothing but their checkpoints, a and b"),
        (["--results={tmp}/bad/good.csv", "--out={tmp}/out"], r"bad/failures\.json is no list of failures"),
        (["--results={tmp}/good.csv", "--out={tmp}/other.csv"], r"can't be written to .*other\.csv"),
    ],
)
def test_mistakes(tmp_path, arguments, sentence):
    write_results(tmp_path / "good.csv", [row()])
    write_results(tmp_path / "bad" / "good.csv", [row()])
    write_results(tmp_path / "empty.csv", [])
    write_results(tmp_path / "twice.csv", [row(checkpoint="a"), row(checkpoint="b")])
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    (tmp_path / "bad" / "failures.json").write_text("oops")
    assert_one_sentence(program("report", *(a.format(tmp=tmp_path) for a in arguments)), sentence)
    assert not (tmp_path / "out").exists()

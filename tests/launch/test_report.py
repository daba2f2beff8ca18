"""The report program: results in, a folder with a page out; mistakes in one sentence, nothing written."""

from __future__ import annotations

import json

import pytest

from pause_jax.report.results import write_results
from tests.programs import assert_one_sentence, program
from tests.report.result_rows import row, sweep_rows, toy_rows, write_run, write_runs


def test_a_report_of_results_and_failures(tmp_path):
    results, out = tmp_path / "results.csv", tmp_path / "deep" / "out"
    write_results(results, toy_rows())
    (tmp_path / "failures.json").write_text(json.dumps([{"job": "finetune 3", "error": "out of memory"}]))
    done = program("report", f"--results={results}", f"--out={out}", "--title=Mine & yours")
    assert (done.returncode, done.stderr) == (0, "")
    assert "out of memory" in done.stdout and "no effect can be claimed" in done.stdout
    assert done.stdout.endswith(f"\nreport: {out / 'report.html'}\n")
    page = (out / "report.html").read_text()
    assert "<h1>Mine &amp; yours</h1>" in page and "finetune 3" in page and page.count("<img") == 3


@pytest.mark.slow
def test_several_sweeps_in_one_report_with_the_losses_of_their_runs(tmp_path):
    rows = list(sweep_rows(seeds=2, effect=0.0, splits=("test",)))
    for name, mine in (("laptop", rows[:20]), ("cluster", rows[10:])):  # ten rows are in both
        write_results(tmp_path / name / "results.csv", mine)
        write_runs(mine, tmp_path / name / "runs")
        failure = [{"job": f"on the {name}", "error": "killed"}]
        (tmp_path / name / "failures.json").write_text(json.dumps(failure))
    files = ",".join(str(tmp_path / name / "results.csv") for name in ("laptop", "cluster"))
    done = program("report", f"--results={files}", f"--out={tmp_path / 'out'}")
    assert (done.returncode, done.stderr) == (0, "")
    page = (tmp_path / "out" / "report.html").read_text()
    assert "on the laptop" in page and "on the cluster" in page and "are not shown" not in page
    assert "Loss of pretraining on wikipedia" in page and "Loss of finetuning on recall_8" in page
    arms = (tmp_path / "out" / "01-recall_8-accuracy-arms.csv").read_text()
    assert arms.splitlines()[0].startswith("arm,M_ft,M_inf,seeds,") and arms.count(",2,") >= 6  # both seeds of each


def test_runs_beside_each_other_without_results(tmp_path):
    for name, rate in (("standard", 0.0), ("pause", 0.1)):
        write_run(tmp_path / name, 0, rate=rate)
    runs = f"{tmp_path / 'standard'},{tmp_path / 'pause'}"
    done = program("report", f"--runs={runs}", f"--out={tmp_path / 'out'}")
    assert (done.returncode, done.stderr) == (0, "")
    assert "Loss of pretraining on wikipedia" in done.stdout and "pauses.rate" in done.stdout
    page = (tmp_path / "out" / "report.html").read_text()
    assert "<h1>Runs</h1>" in page and "Losses at equal steps, text tokens and FLOPs" in page


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--out={tmp}/out"], "--results is missing: CSV files that launch.evaluate or sweeps wrote.*; or give --runs"),
        (["--runs={tmp}/none", "--out={tmp}/out"], "none"),
        (["--results={tmp}/good.csv"], "--out is missing: the folder"),
        (["--results={tmp}/none.csv", "--out={tmp}/out"], r"none\.csv cannot be read"),
        (["--results={tmp}/other.csv", "--out={tmp}/out"], "other.csv has other columns .*: without model,"),
        (["--results={tmp}/empty.csv", "--out={tmp}/out"], r"empty\.csv has no rows: there is nothing to report"),
        (
            ["--results={tmp}/good.csv,{tmp}/changed.csv", "--out={tmp}/out"],
            r"good\.csv, line 2, and .*changed\.csv, line 2, are two runs with one fingerprint and different content",
        ),
        (["--results={tmp}/twice.csv", "--out={tmp}/out"], "differ in nothing but their checkpoints, a and b"),
        (["--results={tmp}/bad/good.csv", "--out={tmp}/out"], r"bad/failures\.json is no list of failures"),
        (["--results={tmp}/good.csv", "--out={tmp}/other.csv"], r"can't be written to .*other\.csv"),
    ],
)
def test_mistakes(tmp_path, arguments, sentence):
    write_results(tmp_path / "good.csv", [row()])
    write_results(tmp_path / "bad" / "good.csv", [row()])
    write_results(tmp_path / "changed.csv", [row(value=51.0)])
    write_results(tmp_path / "empty.csv", [])
    write_results(tmp_path / "twice.csv", [row(checkpoint="a"), row(checkpoint="b")])
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    (tmp_path / "bad" / "failures.json").write_text("oops")
    assert_one_sentence(program("report", *(a.format(tmp=tmp_path) for a in arguments)), sentence)
    assert not (tmp_path / "out").exists()

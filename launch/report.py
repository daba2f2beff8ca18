"""Make a report of evaluation results: tables here, plots and one self-contained report.html in a folder.

    python -m launch.report --results=results.csv --out=report

It shows the grid of pretraining and finetuning with and without pauses, differences paired by seed, accuracy against
pauses at inference, and what each arm cost; it claims an effect only where the seeds allow it. Where a failures.json
lies beside the results, a list of {"job": …, "error": …}, its failures stand at the top.
"""

from __future__ import annotations

from pathlib import Path

from absl import flags

from launch import cli
from pause_jax.errors import UserError
from pause_jax.reporting.comparisons import Report
from pause_jax.reporting.report import print_report, read_failures, write_report
from pause_jax.reporting.results import read_results

FLAGS = flags.FLAGS


def main(argv: list[str]) -> int:
    for name in ("results", "out"):
        if not FLAGS[name].value:
            raise UserError(f"--{name} is missing: {FLAGS[name].help}")
    results = Path(FLAGS.results)
    rows, failures = read_results(results), read_failures(results.parent / "failures.json")
    if not rows and not failures:
        raise UserError(f"{results} has no rows: there is nothing to report; launch.evaluate adds some")
    report = Report.of(rows, title=FLAGS.title, failures=failures)
    file = write_report(report, Path(FLAGS.out))
    print_report(report)
    print(f"\nreport: {file}")
    return cli.EXIT_DONE


if __name__ == "__main__":
    flags.DEFINE_string("results", None, "a CSV file that launch.evaluate or a sweep wrote")
    flags.DEFINE_string("out", None, "the folder to write report.html and the plots into, made where it is missing")
    flags.DEFINE_string("title", "Results", "the report's heading")
    cli.run(main)

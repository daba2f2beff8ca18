"""Make a report of evaluation results: tables here, and one self-contained HTML page.

    python -m launch.report --results=results.csv --out=report
    python -m launch.report --results=laptop/results.csv,cluster/results.csv --out=report
    python -m launch.report --runs=runs/standard,runs/pause --out=report

The report begins with an answer: do pauses help here, by how much, at what cost, how sure, and what to run next.

The folder gets report.html and, as files beside it, every table (CSV) and picture (PNG, SVG). The report shows the grid
of pretraining and finetuning with and without pauses, differences paired by seed, accuracy against pauses at inference
and in finetuning, the best number of pauses where there is a validation split to choose it on, what each arm cost, and
all of that over model sizes; it claims an effect only where the seeds allow it. Beside each results file it looks for
runs/NAME/metrics.jsonl, whose losses it draws, and for failures.json, a list of {"job": …, "error": …}, whose failures
stand at the top. With --runs it puts runs of launch.train beside each other, with or without results: their losses at
equal steps, text tokens and FLOPs, and what their configs differ in.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from absl import flags

from pause_jax.command_line import cli
from pause_jax.errors import UserError
from pause_jax.report import report

FLAGS = flags.FLAGS


def main(argv: list[str]) -> int:
    results, runs = paths(FLAGS.results), paths(FLAGS.runs)
    if not results and not runs:
        raise UserError(f"--results is missing: {FLAGS['results'].help}; or give --runs: {FLAGS['runs'].help}")
    cli.check_given("out")
    print(f"\nreport: {report.report_files(results, runs, Path(FLAGS.out), FLAGS.title)}")
    return cli.EXIT_DONE


def paths(texts: Sequence[str] | None) -> list[Path]:
    """The paths of a list flag, each once."""
    return list(dict.fromkeys(Path(text.strip()) for text in texts or () if text.strip()))


if __name__ == "__main__":
    cli.path_list_flag("results", None, "CSV files that launch.evaluate or sweeps wrote, with commas between them")
    cli.path_list_flag("runs", None, "folders of training runs to compare, with commas between them")
    cli.path_flag("out", None, "the folder to write report.html and its files into, made where it is missing")
    flags.DEFINE_string("title", None, "the report's heading")
    cli.run(main)

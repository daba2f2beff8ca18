"""What a sweep's jobs leave in its folder: which jobs are finished, results.csv, and the report."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path

from pause_jax.checkpointing.run_folder import RunFolder
from pause_jax.evaluation import rows
from pause_jax.report import demonstration, run_curves
from pause_jax.report.comparisons import Failure, Report
from pause_jax.report.report import print_report, write_report
from pause_jax.report.results import Result, read_results, write_results
from pause_jax.sweeps import record
from pause_jax.sweeps.graph import Job
from pause_jax.sweeps.scheduler import Schedule


def is_finished(job: Job, workdir: Path) -> bool:
    """Whether the job's output is there. Raises UserError where another run lies in its folder."""
    if job.evaluation is not None:
        return results_of(workdir, job.name).is_file()
    return RunFolder(workdir / "runs" / job.name).is_finished(job.config)


def results_of(workdir: Path, evaluation: str) -> Path:
    """Where the rows of the evaluation of this name are kept."""
    return workdir / "results" / f"{evaluation}.csv"


def failures(schedule: Schedule) -> list[Failure]:
    """Jobs that failed, and those that depend on them."""
    return [
        Failure(entry.job.name, f"{entry.message} (see {schedule.log_of(entry.job)})")
        for entry in schedule.with_status("failed", "blocked")
    ]


def collect(schedule: Schedule, workdir: Path) -> None:
    """Write results.csv: rows of the evaluations that are done, in the jobs' order; in a sweep without any, losses."""
    done = [entry.job for entry in schedule.with_status("cached", "done")]
    if any(entry.job.evaluation is not None for entry in schedule.entries):
        found = [row for job in done if job.evaluation for row in read_results(results_of(workdir, job.name))]
    else:
        found = [row for job in done if not job.config.finetune.task for row in losses_of(workdir, job)]
    write_results(workdir / "results.csv", found)


@functools.cache  # called for every finished job each time that a job ends
def losses_of(workdir: Path, job: Job) -> list[Result]:
    """The last losses of a run that pretrained, on the text that it held out."""
    return rows.loss_rows(RunFolder(workdir / "runs" / job.name), job.config, job.size)


def make_report(rows: Sequence[Result], failed: Sequence[Failure], title: str, runs: Sequence[Path]) -> Report:
    """The report of `rows`, whose runs lie in the folders `runs`."""
    return Report.of(run_curves.name_pretraining(rows, runs), title=title, failures=failed)


def write_and_print_report(
    rows: Sequence[Result], failed: Sequence[Failure], folder: Path, title: str, runs: Sequence[Path] = ()
) -> None:
    """Print and write the report of `rows`, whose runs lie in the folders `runs`."""
    report = make_report(rows, failed, title, runs)
    page = write_report(report, folder, runs)
    print_report(report)
    print(f"\nreport: {page}")


def conclude(schedule: Schedule, workdir: Path) -> Sequence[Failure]:
    """Print and write the report of a sweep that has ended; return the jobs that failed."""
    print(f"results: {workdir / 'results.csv'}")
    failed = failures(schedule)
    found = read_results(workdir / "results.csv")
    write_and_print_report(found, failed, workdir / "report", f"Sweep {workdir.name}", [workdir / "runs"])
    return failed


def write_demonstration(file: Path, workdir: Path, *, command: str) -> None:
    """Write the JSON of a finished sweep that has a demonstration's arms. Raises UserError as `demonstration.write`."""
    found, seconds = read_results(workdir / "results.csv"), record.wall_seconds_of(workdir)
    demonstration.write(file, found, wall_seconds=seconds, command=command)
    print(f"demonstration: {file}")

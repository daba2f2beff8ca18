"""Several sweeps one after the other, each with a report, and a report of all: what launch/quickstart.py runs."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pause_jax.checkpointing.run_folder import RunFolder
from pause_jax.logging.writers import read_jsonl
from pause_jax.report import plots, tables
from pause_jax.report.comparisons import Failure, Report
from pause_jax.report.report import write_report
from pause_jax.report.results import Result, read_results, write_results
from pause_jax.sweeps import driver, execution, graph, results
from pause_jax.sweeps.scheduler import Schedule

PROMPT = "def read(self, "


@dataclasses.dataclass(frozen=True)
class Part:
    """One sweep of the quickstart."""

    name: str  # of its folder
    title: str
    config: Mapping[str, Any]


def run(parts: Sequence[Part], folder: Path) -> Literal["finished", "failed", "stopped"]:
    """Run the sweeps in folders of their names below `folder`; "failed": at least one job failed."""
    rows: list[Result] = []
    failed: list[Failure] = []
    pretraining: dict[str, RunFolder] = {}
    for part in parts:
        print(f"\n{part.title}", flush=True)
        workdir = folder / part.name
        sweep = graph.parse(part.config)
        how = execution.parse(sweep.execution)
        schedule = driver.make_schedule(sweep, workdir, how, retries=1)
        if driver.run_sweep(schedule, sweep, workdir, how, workers=0) == "stopped":
            return "stopped"
        found, failures = read_results(workdir / "results.csv"), results.failures(schedule)
        results.write_and_print_report(shown(found), failures, workdir / "report", part.title, [workdir / "runs"])
        rows += found
        failed += failures
        pretraining |= pretraining_runs(schedule, workdir)
    write_results(folder / "results.csv", rows)
    if pretraining:
        show_pretraining(pretraining, folder / "losses.png")
        show_samples(pretraining)
    both = Report.of(shown(rows), title="pause_jax quickstart", failures=failed)
    page = write_report(both, folder / "report", [folder / part.name / "runs" for part in parts])
    print(f"results: {folder / 'results.csv'}\nlosses of pretraining: {folder / 'losses.png'}\nreport of both: {page}")
    return "failed" if failed else "finished"


def shown(rows: list[Result]) -> list[Result]:
    """The rows that reports show: results.csv has scores of options, too."""
    return [row for row in rows if row.metric == "accuracy"]


def pretraining_runs(schedule: Schedule, workdir: Path) -> dict[str, RunFolder]:
    """The finished pretraining runs of the first seed, by their rate of pauses."""
    done = [entry.job for entry in schedule.with_status("cached", "done") if entry.job.kind == "pretrain"]
    first = [job for job in done if job.config.seed == min(other.config.seed for other in done)]
    return {
        f"{100 * job.config.pauses.rate:g} % pauses" if job.config.pauses.rate else "no pauses": RunFolder(
            workdir / "runs" / job.name
        )
        for job in first
    }


def show_pretraining(folders: dict[str, RunFolder], picture: Path) -> None:
    """Print the last step of each run, and plot the losses on the way."""
    columns = ["run", "clean validation loss", "with pauses", "text tokens", "pause tokens", "model FLOPs"]
    records = {label: read_jsonl(folder.metrics) for label, folder in folders.items()}
    rows = []
    for label in records:
        last = records[label][-1]
        paused = last.get("validation/paused_loss")
        rows.append(
            [
                label,
                f"{last['validation/loss']:.4f}",
                "-" if paused is None else f"{paused:.4f}",
                f"{last['text_tokens']:,}",
                f"{last['pause_tokens']:,}",
                f"{last['model_flops']:.3g}",
            ]
        )
    tables.print_table("\nPretraining, one seed, equal positions; losses in nats per text token", columns, rows)
    plots.plot_losses(records, picture)


def show_samples(folders: dict[str, RunFolder]) -> None:
    """Print what each pretrained model generates after one prompt."""
    from pause_jax.inference.restored import RestoredRun
    from pause_jax.inference.sampling import Sampling

    sampling = Sampling(temperature=0.8)  # greedily, so small a model repeats itself
    for label, folder in folders.items():
        run = RestoredRun.restore(str(folder.path))
        m_inf = 10 if run.config.pauses.rate else 0
        text = run.complete([PROMPT], m_inf=m_inf, max_new_tokens=120, sampling=sampling)[0]
        print(f"{label}, {m_inf} after the prompt:\n{PROMPT}{text}\n")

"""Several sweeps one after the other and a report of all: what launch/quickstart.py and launch/miniature.py run."""

from __future__ import annotations

import dataclasses
import importlib
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pause_jax.checkpointing.run_folder import RunFolder
from pause_jax.errors import UserError
from pause_jax.logging.progress import format_seconds
from pause_jax.logging.writers import read_jsonl
from pause_jax.report import plots, tables
from pause_jax.report.comparisons import Failure
from pause_jax.report.report import print_report, write_report
from pause_jax.report.results import Result, read_results, write_results
from pause_jax.sweeps import driver, execution, graph, results
from pause_jax.sweeps.scheduler import Schedule
from pause_jax.system.exit_codes import EXIT_DONE, EXIT_STOPPED

PROMPT = "def read(self, "
Outcome = Literal["finished", "failed", "stopped"]  # "failed": at least one job failed
EXIT_CODES: dict[Outcome, int] = {"finished": EXIT_DONE, "failed": 1, "stopped": EXIT_STOPPED}


@dataclasses.dataclass(frozen=True)
class Part:
    """One sweep."""

    name: str  # of its folder
    title: str
    config: Mapping[str, Any]


def load(titles: Mapping[str, str]) -> list[Part]:
    """The sweeps of these names in experiments/sweeps/, as their files have them without an argument, with titles.

    Raises:
      UserError: the experiments are not at hand.
    """
    try:
        modules = {name: importlib.import_module(f"experiments.sweeps.{name}") for name in titles}
    except ModuleNotFoundError as error:
        if error.name not in ("experiments", "experiments.sweeps"):
            raise
        raise UserError(
            "its configs are in experiments/, which this package lacks: start it in the repository"
        ) from None
    return [Part(name, titles[name], module.get_config().to_dict()) for name, module in modules.items()]


def run(parts: Sequence[Part], folder: Path, title: str) -> Outcome:
    """Run the sweeps in folders of their names below `folder`; print what each shows, and write a report of all."""
    began = time.monotonic()
    rows: list[Result] = []
    failed: list[Failure] = []
    for part in parts:
        print(f"\n{part.title}", flush=True)
        schedule = _run_part(part, folder / part.name)
        if schedule is None:
            return "stopped"
        found, failures = shown(read_results(folder / part.name / "results.csv")), results.failures(schedule)
        if pretraining := pretraining_runs(schedule, folder / part.name):
            show_pretraining(pretraining, folder / f"{part.name}-losses.png")
            show_samples(pretraining)
        if found or failures:
            print_report(results.make_report(found, failures, part.title, [folder / part.name / "runs"]))
        rows += found
        failed += failures
    write_results(folder / "results.csv", rows)
    runs = [folder / part.name / "runs" for part in parts]
    page = write_report(results.make_report(rows, failed, title, runs), folder / "report", runs)
    for picture in sorted(page.parent.glob("*-seeds.png")):
        print(f"picture: {picture}")
    print(f"page, open it in a browser: {page}\ndone in {format_seconds(time.monotonic() - began)}")
    return "failed" if failed else "finished"


def _run_part(part: Part, workdir: Path) -> Schedule | None:
    """The schedule of the part's jobs, run; None: it was asked to stop."""
    sweep = graph.parse(part.config)
    how = execution.parse(sweep.execution)
    schedule = driver.make_schedule(sweep, workdir, how, retries=1)
    return None if driver.run_sweep(schedule, sweep, workdir, how, workers=0) == "stopped" else schedule


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
    tables.print_table("\nPretraining, one seed; losses in nats per text token", columns, rows)
    plots.plot_losses(records, picture)
    print(f"losses on the way: {picture}")


def show_samples(folders: dict[str, RunFolder]) -> None:
    """Print what each pretrained model generates after one prompt."""
    from pause_jax.inference.restored import RestoredRun
    from pause_jax.inference.sampling import Sampling

    sampling = Sampling(temperature=0.8)  # greedily, so small a model repeats itself
    for label, folder in folders.items():
        run = RestoredRun.restore(str(folder.path))
        m_inf = 10 if run.config.pauses.rate else 0
        text = run.complete([PROMPT], m_inf=m_inf, max_new_tokens=120, sampling=sampling)[0]
        print(f"\n{label}, {m_inf} after the prompt:\n{PROMPT}{text}", flush=True)

"""The whole method in small, on this machine's cores, in two sweeps with a report each (`make quickstart`).

    python -m launch.quickstart

1. Time to think: a task on which pauses help, learned with 24 pauses, with none, and with none at equal FLOPs
   (experiments/sweeps/time_to_think.py).
2. The paper's method: standard and pause pretraining, standard and pause finetuning, pauses at inference varied
   (experiments/sweeps/two_by_two.py).

What is finished is found and not run again. Everything is written under runs/quickstart.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from launch import sweep
from pause_jax.checkpointing.run_folder import RunFolder
from pause_jax.command_line import cli
from pause_jax.logging.writers import read_jsonl
from pause_jax.report import plots, tables
from pause_jax.report.comparisons import Failure, Report
from pause_jax.report.report import write_report
from pause_jax.report.results import Result, read_results, write_results
from pause_jax.sweeps import execution, graph

FOLDER = Path("runs/quickstart")
PARTS = {"time_to_think": "1 of 2: time to think", "two_by_two": "2 of 2: the paper's method in small"}
PROMPT = "def read(self, "


def main(argv: list[str]) -> int:
    rows: list[Result] = []
    failed: list[Failure] = []
    code = cli.EXIT_DONE
    pretraining: dict[str, RunFolder] = {}
    for part, title in PARTS.items():
        print(f"\n{title}", flush=True)
        parsed = graph.parse(config_of(part))
        sweep.check_folder(FOLDER / part, parsed)
        schedule = sweep.make_schedule(parsed, FOLDER / part, retries=1)
        if sweep.run(schedule, parsed, FOLDER / part, execution.parse(parsed.execution), 0) == "stopped":
            return cli.EXIT_STOPPED
        found = read_results(FOLDER / part / "results.csv")
        rows += found
        failed += sweep.failures(schedule)
        code = max(
            code,
            sweep.conclude(
                shown(found), sweep.failures(schedule), FOLDER / part / "report", title, [FOLDER / part / "runs"]
            ),
        )
        pretraining |= pretraining_runs(schedule, FOLDER / part)
    write_results(FOLDER / "results.csv", rows)
    if pretraining:
        show_pretraining(pretraining)
        show_samples(pretraining)
    both = Report.of(shown(rows), title="pause_jax quickstart", failures=failed)
    page = write_report(both, FOLDER / "report", [FOLDER / part / "runs" for part in PARTS])
    print(f"results: {FOLDER / 'results.csv'}\nlosses of pretraining: {FOLDER / 'losses.png'}\nreport of both: {page}")
    return code


def shown(rows: list[Result]) -> list[Result]:
    """What reports are of: options, scored, are in results.csv."""
    return [row for row in rows if row.metric == "accuracy"]


def config_of(part: str) -> dict[str, Any]:
    """The sweep's config."""
    import importlib

    return importlib.import_module(f"experiments.sweeps.{part}").get_config().to_dict()


def pretraining_runs(schedule: sweep.Schedule, workdir: Path) -> dict[str, RunFolder]:
    """The finished pretraining runs of the first seed, by their rate of pauses."""
    done = [entry.job for entry in schedule.with_status("found", "done") if entry.job.kind == "pretrain"]
    first = [job for job in done if job.config.seed == min(other.config.seed for other in done)]
    return {
        f"{100 * job.config.pauses.rate:g} % pauses" if job.config.pauses.rate else "no pauses": RunFolder(
            workdir / "runs" / job.name
        )
        for job in first
    }


def show_pretraining(folders: dict[str, RunFolder]) -> None:
    """The last step of each run, and the losses on the way as a plot."""
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
    plots.plot_losses(records, FOLDER / "losses.png")


def show_samples(folders: dict[str, RunFolder]) -> None:
    """What each pretrained model writes after one prompt."""
    from pause_jax.inference.restored import RestoredRun
    from pause_jax.inference.sampling import Sampling

    sampling = Sampling(temperature=0.8)  # greedily, so small a model repeats itself
    for label, folder in folders.items():
        run = RestoredRun.restore(str(folder.path))
        m_inf = 10 if run.config.pauses.rate else 0
        text = run.complete([PROMPT], m_inf=m_inf, max_new_tokens=120, sampling=sampling)[0]
        print(f"{label}, {m_inf} after the prompt:\n{PROMPT}{text}\n")


if __name__ == "__main__":
    cli.run(main)

"""Pretrain a small model twice, standard and with 10 % pauses, and show what came of it (`make quickstart`).

Both read the same number of positions of the text of Python's standard library. Runs are written under runs/
and found again: what is finished is not trained again.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from launch import cli, generate, train
from pause_jax import config as configs
from pause_jax.reporting import plots, tables
from pause_jax.reporting.writers import read_jsonl
from pause_jax.runs import RunFolder

FOLDER = Path("runs/quickstart")
ARMS = {"standard": "no pauses", "pause": "10 % pauses"}
PROMPT = "def read(self, "


def main(argv: list[str]) -> int:
    from experiments import quickstart

    folders = {}
    for arm in ARMS:
        config = train.resolve(configs.from_config_dict(quickstart.get_config(arm)))
        folders[arm] = RunFolder(FOLDER / arm)
        if folders[arm].is_finished(config):
            print(f"{folders[arm].path} is finished: not trained again")
        elif train.run(config, folders[arm].path) == "stopped":
            print("stopped by a signal; `make quickstart` goes on from here")
            return cli.EXIT_STOPPED
    records = {arm: read_jsonl(folder.metrics) for arm, folder in folders.items()}
    show_table(records)
    picture = FOLDER / "losses.png"
    plots.plot_losses({ARMS[arm]: records[arm] for arm in ARMS}, picture)
    show_samples(folders)
    print(f"\nplot: {picture}\nruns: {', '.join(str(f.path) for f in folders.values())}")
    print("These are two runs of one seed: a picture of the method at work, not a result about pauses.")
    return cli.EXIT_DONE


def show_table(records: dict[str, list[dict[str, Any]]]) -> None:
    """The last step of each run."""
    columns = ["run", "clean validation loss", "with pauses", "text tokens", "pause tokens", "FLOPs"]
    rows = []
    for arm, label in ARMS.items():
        last = records[arm][-1]
        paused = last.get("validation/paused_loss")
        rows.append([
            label,
            f"{last['validation/loss']:.4f}",
            "-" if paused is None else f"{paused:.4f}",
            f"{last['text_tokens']:,}",
            f"{last['pause_tokens']:,}",
            f"{last['model_flops']:.3g}",
        ])  # fmt: skip
    tables.print_table("Pretraining on equal positions; losses in nats per text token", columns, rows)


def show_samples(folders: dict[str, RunFolder]) -> None:
    """What each model writes after one prompt."""
    from pause_jax.inference.restored import RestoredRun
    from pause_jax.inference.sampling import Sampling

    sampling = Sampling(temperature=0.8)  # greedily, so small a model repeats itself
    for arm, folder in folders.items():
        run = RestoredRun.restore(str(folder.path))
        m_inf = 10 if run.config.pauses.n_pauses else 0
        text = generate.continue_texts(run, [PROMPT], m_inf=m_inf, max_new_tokens=120, sampling=sampling, seed=0)[0]
        print(f"\n{ARMS[arm]}, {m_inf} pauses after the prompt:\n{PROMPT}{text}")


if __name__ == "__main__":
    cli.run(main)

"""Run the whole method in small, on this machine's cores, in two sweeps with a report each (`make quickstart`).

    python -m launch.quickstart

1. Time to think: a task on which pauses help, learned with 24 pauses, with none, and with none at equal FLOPs
   (experiments/sweeps/time_to_think.py).
2. The paper's method: standard and pause pretraining, standard and pause finetuning, pauses at inference varied
   (experiments/sweeps/two_by_two.py).

What is finished is found and not run again. Everything is written under runs/quickstart.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from pause_jax.command_line import cli, installed
from pause_jax.errors import UserError
from pause_jax.sweeps import quickstart

FOLDER = Path("runs/quickstart")
PARTS = {"time_to_think": "1 of 2: time to think", "two_by_two": "2 of 2: the paper's method in small"}


def main(argv: list[str]) -> int:
    parts = [quickstart.Part(name, title, config_of(name)) for name, title in PARTS.items()]
    outcome = quickstart.run(parts, FOLDER)
    return {"finished": cli.EXIT_DONE, "failed": 1, "stopped": cli.EXIT_STOPPED}[outcome]


def config_of(part: str) -> dict[str, Any]:
    """The sweep's config. Raises UserError where the experiments are not at hand."""
    installed.make_importable(ours=True)
    try:
        return importlib.import_module(f"experiments.sweeps.{part}").get_config().to_dict()
    except ModuleNotFoundError as error:
        if error.name not in ("experiments", "experiments.sweeps"):
            raise
        raise UserError(
            "the quickstart's configs are in experiments/, which this package lacks: start it in the repository"
        ) from None


if __name__ == "__main__":
    cli.run(main)

"""The paper's method in small, and a task on which pauses help per step, on this machine's cores (`make miniature`).

    python -m launch.miniature

1. Time to think: the parity of 24 bits, learned with 24 pauses, with none, and with none at equal FLOPs
   (experiments/sweeps/time_to_think.py).
2. The paper's method: standard and pause pretraining, standard and pause finetuning, pauses at inference varied
   (experiments/sweeps/two_by_two.py).

A quarter of an hour on two cores. It has two or three seeds an arm, so it shows how things are done and claims nothing.
What is finished is found and not run again. Everything is written under runs/miniature.
"""

from __future__ import annotations

from pathlib import Path

from pause_jax.command_line import cli, installed
from pause_jax.sweeps import parts

FOLDER = Path("runs/miniature")
PARTS = {"time_to_think": "1 of 2: time to think", "two_by_two": "2 of 2: the paper's method in small"}


def main(argv: list[str]) -> int:
    installed.make_importable(ours=True)
    outcome = parts.run(parts.load(PARTS), FOLDER, "The paper's method in small")
    return parts.EXIT_CODES[outcome]


if __name__ == "__main__":
    cli.run(main)

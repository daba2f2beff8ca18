"""Pauses in about five minutes, on this machine's cores (`make quickstart`).

    python -m launch.quickstart

1. A small model reads the text of Python's standard library with pauses inserted, and continues a prompt after ten
   (experiments/sweeps/first_pretraining.py).
2. A task whose question comes last: nine pauses, none at equal training FLOPs, and as a control a prompt that is read
   in both directions, ten seeds each (experiments/sweeps/question_last.py).

What is finished is found and not run again. Everything is written under runs/quickstart. The paper's own comparison in
small is launch/miniature.py.
"""

from __future__ import annotations

from pathlib import Path

from pause_jax.command_line import cli, installed
from pause_jax.sweeps import parts

FOLDER = Path("runs/quickstart")
PARTS = {
    "first_pretraining": "1 of 2: pretraining with pauses, on the text of Python's standard library (a minute)",
    "question_last": "2 of 2: do pauses help where the question comes last? Three arms, ten seeds each (three minutes)",
}
NEXT = """
What next, with your own text and model:
  python -m launch.train --config=experiments/quickstart.py:pause --workdir=runs/mine --config.data.files='texts/*.txt'
  python -m launch.generate --run=runs/mine --m_inf=10 --prompt='Once upon a time'
  python -m launch.convert --from_hf=DIR --workdir=runs/imported  # an open model: docs/interop.md"""


def main(argv: list[str]) -> int:
    installed.make_importable(ours=True)
    outcome = parts.run(parts.load(PARTS), FOLDER, "pause_jax quickstart")
    if outcome == "finished":
        print(NEXT)
    return parts.EXIT_CODES[outcome]


if __name__ == "__main__":
    cli.run(main)

"""What else could it be than time: the demonstration's task with other tokens, places and numbers of pauses.

    python -m launch.sweep --config=experiments/science/controls.py --workdir=runs/controls

24 pauses before the prompt, where a causal model cannot use them to read it; 24 periods in their place; 24 vectors of
their own instead of one; a number of pauses drawn for each example from 0, 6, 12, 18 and 24. Each is asked after 0, 12
and 24 pauses. The argument is the number of seeds, from 10 on as the demonstration's, whose rows go beside these:

    python -m launch.report --results=runs/demonstration/results.csv,runs/controls/results.csv --out=report
"""

from typing import Any

from experiments.sweeps import time_to_think

FIELDS = ("finetune.placement", "finetune.m_ft", "model.num_pause_tokens")
ARMS = (
    ("prepend", (24,), 1),
    ("filler", (24,), 1),
    ("append", (24,), 24),
    ("append", (0, 6, 12, 18, 24), 1),
)


def get_config(seeds: str = "3") -> Any:
    sweep = time_to_think.get_config(seeds)
    seed_axis, _ = sweep.finetune.axes
    sweep.finetune.axes = (seed_axis, (FIELDS, ARMS))
    sweep.evaluate = {"m_inf": (0, 12, 24)}
    return sweep

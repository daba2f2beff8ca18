"""The demonstration: the parity of 24 bits after 24 pauses, after none, and after none with 2.5 times the steps.

    python -m launch.sweep --config=experiments/science/demonstration.py --workdir=runs/demonstration \\
        --demonstration=docs/demonstration.json

The file is one of pause_jax/report/demonstration.py. The last arm is a control: without a causal
mask the prompt's own positions see all of it, and can do what pauses do. The argument is the number of seeds.
"""

from typing import Any

from experiments.sweeps import time_to_think

ARMS = (*((pauses, steps, "causal") for pauses, steps in time_to_think.ARMS), (0, 3000, "prefix_and_pauses"))


def get_config(seeds: str = "6") -> Any:
    sweep = time_to_think.get_config(seeds)
    seed_axis, _ = sweep.finetune.axes
    fields = ("finetune.m_ft", "train.steps", "finetune.attention")
    sweep.finetune.axes = (seed_axis, (fields, tuple(((pauses,), *more) for pauses, *more in ARMS)))
    return sweep

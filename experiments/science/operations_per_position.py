"""Theorem J.1 of the paper: N operations on pairs of L symbols want N positions, of which the prompt gives about L.

    python -m launch.sweep --config=experiments/science/operations_per_position.py \\
        --workdir=runs/operations_per_position

`matches_N`: of N fixed pairs among 12 symbols of four values, how many are alike? A network of two layers, as in the
theorem, that reads prompt and pauses in both directions. Is there a knee at N = 12 + M? The argument is the number of
seeds.
"""

from typing import Any

from experiments.science import WIDER
from experiments.sweeps import time_to_think

OPERATIONS = (6, 12, 24, 48)
PAUSES = (0, 12, 36)


def get_config(seeds: str = "3") -> Any:
    sweep = time_to_think.get_config(seeds)
    seed_axis, _ = sweep.finetune.axes
    config = sweep.finetune.config
    config.model.update(WIDER)
    config.finetune.attention = "prefix_and_pauses"
    config.finetune.max_prompt_length = 14
    config.train.steps = 1500
    tasks = tuple(f"matches_{n}" for n in OPERATIONS)
    sweep.finetune.axes = (seed_axis, ("finetune.task", tasks), ("finetune.m_ft", tuple((m,) for m in PAUSES)))
    sweep.evaluate = {"m_inf": PAUSES, "limit": 4096}
    return sweep

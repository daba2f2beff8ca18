"""Does a curriculum by length make pauses pay? Parity of 8 bits, then of 16, then of 24, with 24 pauses and without.

    python -m launch.sweep --config=experiments/science/curriculum.py --workdir=runs/curriculum

The demonstration's network; with pauses as many steps as its, of which the last 2,000 are on 24 bits, without pauses
2.4 times as many in each stage, which are no fewer FLOPs. Each stage starts from the one before with a new optimizer.
The argument is the number of seeds, from 16 on: on 10 to 15 it was seen first.
"""

from typing import Any

from experiments import time_to_think as network
from experiments.sweeps import time_to_think

STAGES = (("pretrain", 8, 500), ("uptrain", 16, 500), ("finetune", 24, 2000))  # of the sweep, bits, steps
ARMS = ((24, 1.0), (0, 2.4))  # pauses, times the steps
FIRST_SEED = 16
FIELDS = ("finetune.m_ft", "train.steps")


def get_config(seeds: str = "10") -> Any:
    sweep = time_to_think.get_config(seeds, FIRST_SEED)
    seed_axis, _ = sweep.finetune.axes
    first_rows = _rows(STAGES[0][2])
    same = tuple(f"pretrain.{field}" for field in FIELDS)  # an arm goes on as what it was
    for name, bits, steps in STAGES:
        config = network.get_config()
        config.finetune.task = f"count_parity_{bits}"
        config.finetune.max_prompt_length = bits + 2
        axes: tuple[Any, ...] = (seed_axis, (FIELDS, first_rows))
        if name != "pretrain":
            rows = tuple((*own, *first) for own, first in zip(_rows(steps), first_rows, strict=True))
            axes = (((*FIELDS, *same), rows),)
        if name != "finetune":
            config.optimizer.schedule = "constant"
        sweep[name] = {"config": config, "axes": axes}
    sweep.uptrain.keep_pretrained = False
    return sweep


def _rows(steps: int) -> tuple[Any, ...]:
    return tuple(((pauses,), round(times * steps)) for pauses, times in ARMS)

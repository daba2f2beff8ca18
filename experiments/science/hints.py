"""Do pauses win at equal FLOPs where training tells them intermediate results? Parity with hints, and two controls.

    python -m launch.sweep --config=experiments/science/hints.py --workdir=runs/hints

Parity of 24 bits, a network of 2 layers, 32 wide, 4 heads: pause j is told the parity of the first j bits (London &
Kanade, 2025), or bit j of the prompt is, without any pause and at the same steps; or nothing is, at no fewer training
FLOPs than pauses with hints. The argument is the number of seeds, from 10 on as the demonstration's.
"""

from typing import Any

from experiments.science import WIDER
from experiments.sweeps import time_to_think

FIELDS = ("finetune.m_ft", "finetune.hints", "train.steps")
ARMS = (((24,), "pauses", 2000), ((0,), "prompt", 2000), ((0,), "none", 4800))


def get_config(seeds: str = "6") -> Any:
    sweep = time_to_think.get_config(seeds)
    seed_axis, _ = sweep.finetune.axes
    sweep.finetune.config.model.update(WIDER)
    sweep.finetune.axes = (seed_axis, (FIELDS, ARMS))
    sweep.evaluate = {"m_inf": (0, 24), "limit": 4096}
    return sweep

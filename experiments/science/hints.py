"""Do pauses win at equal FLOPs where training tells them intermediate results? Parity with hints, and two controls.

    python -m launch.sweep --config=experiments/science/hints.py --workdir=runs/hints

Parity of 24 bits: pause j is told the parity of the first j bits (London & Kanade, 2025), or bit j of the prompt is,
without any pause; a network with 24 pauses and no hints, and one without either, at no fewer training FLOPs than the
first. The argument is the number of seeds, from 10 on as the demonstration's.
"""

from typing import Any

from experiments.sweeps import time_to_think

FIELDS = ("finetune.m_ft", "finetune.hints", "train.steps")
# A hint wants logits of its position, and the head has most of the FLOPs of so narrow a network: per step 3.14, 2.02,
# 2.20 and 1 times that of the last. No control has fewer FLOPs in all than the first.
ARMS = (((24,), "pauses", 1000), ((0,), "prompt", 1600), ((24,), "none", 1450), ((0,), "none", 3200))


def get_config(seeds: str = "6") -> Any:
    sweep = time_to_think.get_config(seeds)
    seed_axis, _ = sweep.finetune.axes
    sweep.finetune.axes = (seed_axis, (FIELDS, ARMS))
    sweep.evaluate = {"m_inf": (0, 24)}
    return sweep

"""More network instead of pauses: the demonstration's task without pauses, at about the FLOPs of 24 an answer.

    python -m launch.sweep --config=experiments/science/larger_network.py --workdir=runs/larger_network

Twice the layers, or an MLP of 48 instead of 8, or four heads instead of two (at no FLOPs more). The argument is the
number of seeds, from 10 on as the demonstration's.
"""

from typing import Any

from experiments.sweeps import time_to_think

SIZES = {"deep": {"num_layers": 4}, "wide": {"d_ff": 48}, "heads": {"num_heads": 4}}


def get_config(seeds: str = "3") -> Any:
    sweep = time_to_think.get_config(seeds)
    seed_axis, _ = sweep.finetune.axes
    sweep.sizes = SIZES
    sweep.finetune.axes = (seed_axis, ("size", tuple(SIZES)), ("finetune.m_ft", ((0,),)))
    sweep.evaluate = {"m_inf": (0,)}
    return sweep

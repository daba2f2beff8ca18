"""Do pauses need places of their own? The demonstration's network with learned positions, with RoPE, and with none.

    python -m launch.sweep --config=experiments/science/positions.py --workdir=runs/positions

24 pauses and none, 3,000 steps; without positions, causal attention alone tells one pause from another. The argument is
the number of seeds, from 10 on as the demonstration's.
"""

from typing import Any

from experiments.sweeps import time_to_think

POSITIONS = ("learned", "rope", "none")


def get_config(seeds: str = "3") -> Any:
    sweep = time_to_think.get_config(seeds)
    seed_axis, _ = sweep.finetune.axes
    sweep.sizes = {name: {"positions": name} for name in POSITIONS}
    sweep.finetune.axes = (seed_axis, ("size", POSITIONS), ("finetune.m_ft", ((24,), (0,))))
    sweep.evaluate = {"m_inf": (0, 24)}
    return sweep

"""How many pauses are enough, and does it depend on the task's size? Parity of 12 and 16 bits after 0 to 16 pauses.

    python -m launch.sweep --config=experiments/science/pause_count_by_length.py --workdir=runs/pause_count_by_length

The network and the steps of the demonstration. Each is asked after every number of pauses, so that the answers after
others than were trained with are there too. The argument is the number of seeds, from 10 on.
"""

from collections.abc import Sequence
from typing import Any

from experiments.sweeps import time_to_think

BITS = (12, 16)
PAUSES = (0, 4, 8, 16)


def get_config(seeds: str = "3") -> Any:
    return sweep_of(BITS, PAUSES, seeds)


def sweep_of(bits: Sequence[int], pauses: Sequence[int], seeds: str) -> Any:
    """Every number of bits after every number of pauses."""
    sweep = time_to_think.get_config(seeds)
    seed_axis, _ = sweep.finetune.axes
    tasks = (("finetune.task", "finetune.max_prompt_length"), tuple((f"count_parity_{n}", n + 2) for n in bits))
    sweep.finetune.axes = (seed_axis, tasks, ("finetune.m_ft", tuple((m,) for m in pauses)))
    sweep.evaluate = {"m_inf": pauses, "limit": 4096}
    return sweep

"""Time to think: the parity task after 24 pauses, after none, and after none with 2.5 times the steps.

    python -m launch.sweep --config=experiments/sweeps/time_to_think.py --workdir=runs/time_to_think
    python -m launch.sweep --config=experiments/sweeps/time_to_think.py:6 --workdir=runs/time_to_think

The argument is the number of seeds, from 10 on; a larger one later trains the new seeds only.
"""

from typing import Any

from experiments import time_to_think
from experiments.sweeps import new_sweep
from pause_jax.errors import UserError

FIRST_SEED = 10
# Pauses, steps. The last arm has no fewer FLOPs than the first, however the head's are counted, and 2.5 times its text.
ARMS = ((24, 3000), (0, 3000), (0, 7500))


def get_config(seeds: str = "3", first_seed: int = FIRST_SEED) -> Any:
    if not seeds.isdecimal() or int(seeds) < 1:
        raise UserError(f"experiments/sweeps/time_to_think.py:{seeds} does not exist: give a number of seeds")
    sweep = new_sweep()
    sweep.finetune = {
        "config": time_to_think.get_config(),
        "axes": (
            ("seed", tuple(range(first_seed, first_seed + int(seeds)))),
            (("finetune.m_ft", "train.steps"), tuple(((pauses,), steps) for pauses, steps in ARMS)),
        ),
    }
    sweep.evaluate = {"m_inf": (0, 24)}
    return sweep

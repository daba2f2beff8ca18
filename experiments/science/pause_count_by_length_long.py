"""How many pauses are enough where they matter? Parity of 20, 24 and 28 bits after 0 to 48 pauses.

    python -m launch.sweep --config=experiments/science/pause_count_by_length_long.py \\
        --workdir=runs/pause_count_by_length_long

The network and the steps of the demonstration, but for a position table that 28 bits and 48 pauses need. The argument
is the number of seeds, from 10 on.
"""

from typing import Any

from experiments.science import pause_count_by_length

BITS = (20, 24, 28)
PAUSES = (0, 6, 12, 24, 48)


def get_config(seeds: str = "4") -> Any:
    sweep = pause_count_by_length.sweep_of(BITS, PAUSES, seeds)
    sweep.finetune.config.model.max_positions = max(BITS) + 2 + max(PAUSES) + 1  # as many in each arm
    return sweep

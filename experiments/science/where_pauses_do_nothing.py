"""Tasks on which pauses did not help at a first look (`TOY_TASK` of the project's notes), looked at again.

    python -m launch.sweep --config=experiments/science/where_pauses_do_nothing.py \\
        --workdir=runs/where_pauses_do_nothing

Counting related items, counting pairs that sum to a number, counting pairs in a relation, the k-th smallest number, and
where three steps in a table lead: each asked for behind the prompt, answered after no pauses and after as many as the
task has things to look at. A network of 2 layers, 32 wide. The argument is the number of seeds.
"""

from typing import Any

from experiments.science import WIDER
from experiments.sweeps import time_to_think

# Task, its prompt's length, pauses.
TASKS = (
    ("relation_8", 12, 8),
    ("two_sum_8", 12, 8),
    ("packed_pairs_4", 13, 16),
    ("kth_9", 13, 9),
    ("chase_3", 12, 8),
)
STEPS = 1500
FIELDS = ("finetune.task", "finetune.max_prompt_length", "finetune.m_ft")


def get_config(seeds: str = "3") -> Any:
    sweep = time_to_think.get_config(seeds)
    seed_axis, _ = sweep.finetune.axes
    sweep.finetune.config.model.update(WIDER)
    sweep.finetune.config.train.steps = STEPS
    rows = tuple((task, length, (m,)) for task, length, pauses in TASKS for m in (pauses, 0))
    sweep.finetune.axes = (seed_axis, (FIELDS, rows))
    sweep.evaluate = {"m_inf": sorted({0, *(pauses for _, _, pauses in TASKS)}), "limit": 4096}
    return sweep

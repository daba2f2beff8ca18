"""Do pauses win at equal FLOPs where what is asked comes last: commands behind the data, answers of several steps?

    python -m launch.sweep --config=experiments/science/question_last.py --workdir=runs/question_last

`program_8`: what two commands behind eight digits make of them; `walk_back_3`: three steps in a table, the last one to
be written first. Eight pauses, none at the same steps, and none at no fewer training FLOPs. A network of 2 layers, 32
wide. The argument is the number of seeds, from 10 on as the demonstration's.
"""

from typing import Any

from experiments.science import WIDER
from experiments.sweeps import time_to_think

TASKS = (("program_8", 13, 2), ("walk_back_3", 12, 4))  # task, positions of its prompt and of its answer
ARMS = ((8, 1500), (0, 1500), (0, 2500))  # pauses, steps
FIELDS = ("finetune.task", "finetune.max_prompt_length", "finetune.target_length")


def get_config(seeds: str = "3") -> Any:
    sweep = time_to_think.get_config(seeds)
    seed_axis, _ = sweep.finetune.axes
    sweep.finetune.config.model.update(WIDER)
    arms = tuple(((pauses,), steps) for pauses, steps in ARMS)
    sweep.finetune.axes = (seed_axis, (FIELDS, TASKS), (("finetune.m_ft", "train.steps"), arms))
    sweep.evaluate = {"m_inf": (0, 8), "limit": 4096}
    return sweep

"""Do pauses win at equal FLOPs where they are told what no prompt token can know? Late parity with hints, and controls.

    python -m launch.sweep --config=experiments/science/question_last_hints.py --workdir=runs/question_last_hints
    python -m launch.sweep --config=experiments/science/question_last_hints.py:again \\
        --workdir=runs/question_last_hints_again

`late_parity_6`: of six digits, is the number that a table relates to the one behind them even or odd? In training
twelve of thirteen pauses are told the steps. Against them, each at no fewer training FLOPs: no pauses and no hints; no
pauses, and hints on the prompt, read causally or in both directions; and, at equal steps, pauses without hints. A
network of 2 layers, 32 wide. The argument is the number of seeds, from 10 on as the demonstration's; `again`: pauses
with hints and neither of them, on ten seeds that nothing was chosen or seen on, 16 to 25.
"""

from typing import Any

from experiments.science import WIDER
from experiments.sweeps import time_to_think

TASK, PREFIX_LENGTH, PAUSES = "late_parity_6", 10, 13
FIELDS = ("finetune.m_ft", "finetune.hints", "finetune.attention", "train.steps")
ARMS = (
    ((PAUSES,), "pauses", "causal", 2000),
    ((PAUSES,), "none", "causal", 2000),
    ((0,), "none", "causal", 5400),
    ((0,), "prompt", "causal", 4000),
    ((0,), "prompt", "prefix_and_pauses", 4000),
)


def get_config(seeds: str = "6") -> Any:
    again = seeds == "again"
    sweep = time_to_think.get_config("10", first_seed=16) if again else time_to_think.get_config(seeds)
    seed_axis, _ = sweep.finetune.axes
    sweep.finetune.config.model.update(WIDER)
    sweep.finetune.config.finetune.update({"task": TASK, "max_prompt_length": PREFIX_LENGTH})
    sweep.finetune.axes = (seed_axis, (FIELDS, (ARMS[0], ARMS[2]) if again else ARMS))
    sweep.evaluate = {"m_inf": (0, PAUSES), "limit": 4096}
    return sweep

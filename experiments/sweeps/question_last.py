"""Do pauses win at equal training FLOPs? Parity of what a question that comes last picks out.

    python -m launch.sweep --config=experiments/sweeps/question_last.py --workdir=runs/question_last

`late_parity_4`: of four digits, is the number that a table relates to the one behind them even or odd? Training tells
eight of nine pauses the steps. Against them, none at no fewer training FLOPs; and, as a control, none with the steps
told to a prompt that is read in both directions. A network of 2 layers, 32 wide. The argument is the number of seeds,
or the first seed and their number: `30,10`. A verdict takes ten. All settings were chosen on seeds 10 to 17. Three
minutes on two cores.
"""

from typing import Any

from experiments.science import WIDER
from experiments.sweeps import time_to_think
from pause_jax.errors import UserError

TASK, PROMPT_LENGTH, PAUSES, FIRST_SEED = "late_parity_4", 8, 9, 20
FIELDS = ("finetune.m_ft", "finetune.hints", "finetune.attention", "train.steps")
ARMS = (
    ((PAUSES,), "pauses", "causal", 900),
    ((0,), "none", "causal", 2160),
    ((0,), "prompt", "prefix_and_pauses", 1520),
)


def get_config(seeds: str = "10") -> Any:
    first, _, count = seeds.rpartition(",")
    if not count.isdecimal() or int(count) < 1 or not (first or "0").isdecimal():
        raise UserError(
            f"experiments/sweeps/question_last.py:{seeds} does not exist: give a number of seeds, or the first seed "
            "and their number, such as 30,10"
        )
    sweep = time_to_think.get_config(count, first_seed=int(first or FIRST_SEED))
    seed_axis, _ = sweep.finetune.axes
    config = sweep.finetune.config
    config.model.update(WIDER)
    config.train.batch_size = 32
    config.optimizer.warmup_steps = 50
    config.run.update({"validate_every": 0, "checkpoint_every": 5000, "loggers": ("jsonl",)})  # saved at the end
    config.finetune.update({"task": TASK, "max_prompt_length": PROMPT_LENGTH})
    sweep.finetune.axes = (seed_axis, (FIELDS, ARMS))
    sweep.evaluate = {"m_inf": (0, PAUSES), "limit": 1024}
    return sweep

"""How many pauses, at three sizes: the whole method on a laptop, in less than an hour on two cores.

    python -m launch.sweep --config=experiments/sweeps/laptop.py --workdir=runs/laptop
    python -m launch.sweep --config=experiments/sweeps/laptop.py:ci --workdir=runs/laptop_ci

Standard and pause pretraining on the text of Python's standard library, then the parity of 12 bits after 0, 4, 8 and 12
pauses, three seeds each. The networks are those of experiments/time_to_think.py, 16, 24 and 32 wide, attention causal.
The best number of pauses is chosen on the validation split and read on the test split. `:ci` is the same graph with
fewer points and too few steps to learn anything: it shows that all of it runs.
"""

from typing import Any

from experiments import time_to_think
from experiments.sweeps import new_sweep
from pause_jax.errors import UserError

BITS = 12
SIZES = {f"w{width}": {"d_model": width, "d_ff": width} for width in (16, 24, 32)}
# Edition → sizes, seeds, steps of pretraining and of finetuning, M_ft, examples asked of each split, points left out.
EDITIONS = {
    "pause_count": (tuple(SIZES), 3, 300, 1000, (0, 4, 8, 12), 2048, ()),
    "ci": (("w16", "w24"), 2, 20, 20, (0, 4), 256, ({"pretrain.pauses.rate": 0.0, "finetune.m_ft": (4,)},)),
}


def get_config(edition: str = "pause_count") -> Any:
    if edition not in EDITIONS:
        raise UserError(f"experiments/sweeps/laptop.py:{edition} does not exist: choose :{' or :'.join(EDITIONS)}")
    sizes, seeds, pretrain_steps, steps, pauses, examples, left_out = EDITIONS[edition]
    pretrain, finetune = time_to_think.get_config("0"), time_to_think.get_config("0")
    for config, steps_ in ((pretrain, pretrain_steps), (finetune, steps)):
        config.train.steps = steps_
        config.optimizer.warmup_steps = steps_ // 10
        config.run.validate_every = max(10, steps_ // 5)
        config.run.checkpoint_every = 500
        config.run.loggers = ("jsonl",)
    pretrain.finetune.task = ""
    pretrain.data.length = 64
    pretrain.train.batch_size = 32
    finetune.finetune.task = f"count_parity_{BITS}"
    finetune.finetune.max_prompt_length = BITS + 2
    sweep = new_sweep()
    sweep.sizes = SIZES
    sweep.pretrain = {
        "config": pretrain,
        "axes": (("size", sizes), ("seed", tuple(range(seeds))), ("pauses.rate", (0.0, 0.1))),
    }
    sweep.finetune = {
        "config": finetune,
        "axes": (("finetune.m_ft", tuple((m,) for m in pauses)),),
        "filters": {"skip": left_out},
    }
    sweep.evaluate = {"m_inf": pauses, "splits": ("validation", "test"), "limit": examples}
    return sweep

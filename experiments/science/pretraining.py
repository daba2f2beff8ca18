"""The paper's claim in small: pretrained with pauses or without, finetuned with pauses or without, six seeds.

    python -m launch.prepare --config=experiments/quickstart.py:standard --out=prepared/python_stdlib
    python -m launch.prepare --config=experiments/quickstart.py:standard --config.data.task=count_parity_8_text \\
        --out=prepared/count_parity_8
    python -m launch.sweep --config=experiments/science/pretraining.py --workdir=runs/pretraining

Half of each batch's rows are Python's standard library, half the task's own sequences, parity of 8 bits with its
answer; with 10 % pauses inserted at random, or without, at equal positions. Then few examples of the task, 200 steps
of 32, with 8 pauses or without. The argument is the number of seeds, from 1 on: on seed 0 the setting was chosen, with
16 bits before, of which nothing was learned.
"""

from typing import Any

from experiments.sweeps import LAPTOP, two_by_two

BITS = 8


def get_config(seeds: str = "6") -> Any:
    sweep = two_by_two.get_config(seeds)
    pretrain, finetune = sweep.pretrain.config, sweep.finetune.config
    pretrain.data.prepared = f"prepared/python_stdlib=0.5,prepared/count_parity_{BITS}=0.5"
    pretrain.model.update(LAPTOP.sizes["small"])
    pretrain.train.batch_size = 16
    pretrain.train.steps = 500
    finetune.finetune.task = f"count_parity_{BITS}"
    finetune.finetune.max_prompt_length = BITS + 2
    finetune.train.steps = 200
    finetune.optimizer.warmup_steps = 10
    _, rates = sweep.pretrain.axes
    sweep.pretrain.axes = (("seed", tuple(range(1, int(seeds) + 1))), rates)
    sweep.finetune.axes = (("finetune.m_ft", ((0,), (BITS,))),)
    sweep.evaluate = {"m_inf": (0, BITS), "splits": ("validation", "test"), "limit": 2048}
    return sweep

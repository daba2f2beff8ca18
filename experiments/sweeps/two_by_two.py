"""The paper's method in small: standard and pause pretraining, standard and pause finetuning, M_inf swept.

    python -m launch.sweep --config=experiments/sweeps/two_by_two.py --workdir=runs/two_by_two

Pretraining is the quickstart's, on the text of Python's standard library; the task is key-value recall. The argument is
the number of seeds.
"""

from typing import Any

from experiments import quickstart
from experiments.sweeps import new_sweep
from pause_jax.errors import UserError


def get_config(seeds: str = "2") -> Any:
    if not seeds.isdecimal() or int(seeds) < 1:
        raise UserError(f"experiments/sweeps/two_by_two.py:{seeds} does not exist: give a number of seeds")
    pretrain = quickstart.get_config("pause")
    pretrain.train.steps = 100
    finetune = quickstart.get_config("pause")
    finetune.pauses.rate = 0.0
    finetune.finetune.task = "recall_2"
    finetune.finetune.max_prompt_length = 8
    finetune.finetune.target_length = 2
    finetune.train.steps = 150
    finetune.train.batch_size = 32
    finetune.optimizer.learning_rate = 1e-3
    sweep = new_sweep()
    sweep.pretrain = {
        "config": pretrain,
        "axes": (("seed", tuple(range(int(seeds)))), ("pauses.rate", (0.0, 0.1))),
    }
    sweep.finetune = {"config": finetune, "axes": (("finetune.m_ft", ((0,), (10,))),)}
    sweep.evaluate = {"m_inf": (0, 2, 5, 10), "limit": 512}
    return sweep

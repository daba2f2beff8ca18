"""Pauses for a small model that was pretrained without: three arms, on two cores.

    python -m launch.sweep --config=experiments/uptrain/small.py --workdir=runs/uptrain_small

A standard model of the quickstart's kind reads Python's standard library for 400 steps; then a quarter as much with
10 % pauses inserted, or without at equal FLOPs, or without at equal text tokens. Each, and the model as it was, is
finetuned to recall one of 8 digits, with 10 pauses and without, three seeds.
"""

from typing import Any

from experiments import quickstart
from experiments.sweeps import LAPTOP, new_sweep
from experiments.uptrain import ARMS, set_arm

STEPS, MORE, PAUSES_FIRST = 400, 100, 10
_FIELDS = ("model.num_pause_tokens", "pauses.rate", "pauses.init", "optimizer.pause_only_steps", "train.steps")


def _row(arm: str) -> tuple[Any, ...]:
    config = quickstart.get_config("pause")
    set_arm(config, arm, MORE, PAUSES_FIRST)
    pauses, optimizer = config.pauses, config.optimizer
    return config.model.num_pause_tokens, pauses.rate, pauses.init, optimizer.pause_only_steps, config.train.steps


def get_config(seeds: str = "3") -> Any:
    sweep = new_sweep()
    sweep.sizes = {"small": LAPTOP.sizes["small"]}
    pretrain, more = quickstart.get_config("standard"), quickstart.get_config("standard")
    pretrain.train.steps = STEPS
    more.optimizer.warmup_steps = MORE // 10
    more.optimizer.learning_rate = pretrain.optimizer.learning_rate / 2
    seed = ("seed", tuple(range(int(seeds))))
    sweep.pretrain = {"config": pretrain, "axes": (("size", ("small",)), seed)}
    sweep.uptrain = {"config": more, "axes": ((_FIELDS, tuple(map(_row, ARMS))),), "keep_pretrained": True}
    recipe = LAPTOP.recipe("recall_8", "small")
    finetune = LAPTOP.finetuning_config()
    finetune.model.num_pause_tokens = 1
    fields = (tuple(recipe), (tuple(recipe.values()),))
    sweep.finetune = {"config": finetune, "axes": (fields, ("finetune.m_ft", ((0,), (10,))))}
    sweep.evaluate = {"m_inf": (0, 10), "splits": ("validation", "test"), "limit": 512}
    return sweep

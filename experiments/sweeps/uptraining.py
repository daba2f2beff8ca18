"""Pauses for a model that was pretrained without: 1, 2, 5 and 10 % more pretraining, with pauses in it.

    python -m launch.sweep --config=experiments/sweeps/uptraining.py --workdir=runs/uptraining --dry_run
    python -m launch.sweep --config=experiments/sweeps/uptraining.py:laptop --workdir=runs/uptraining

Beside it what it should be compared with: no uptraining, as much of it without pauses, and pauses from the start.

Ours, as the paper has no uptraining: the learning rate rises again to half the peak of pretraining and falls as before.
"""

from typing import Any

from experiments.sweeps import edition_of, new_sweep

PERCENT = (1, 2, 5, 10)


def get_config(arg: str = "") -> Any:
    edition = edition_of(__file__, arg)
    config = edition.pretraining_config()
    config.optimizer.warmup_steps = edition.steps // 200
    rates = tuple((size, rate / 2) for size, rate in edition.learning_rates.items())
    m_ft = ("finetune.m_ft", ((0,), (10,)))
    sweep = new_sweep()
    sweep.sizes = edition.sizes
    sweep.pretrain = edition.pretraining()
    sweep.uptrain = {
        "config": config,
        "axes": (
            (("pretrain.size", "optimizer.learning_rate"), rates),
            ("pauses.rate", (0.0, 0.1)),
            ("budget", tuple(("steps", edition.steps * percent // 100) for percent in PERCENT)),
        ),
        "filters": {"only": ({"pretrain.pauses.rate": 0.0},)},
        "keep_pretrained": True,
    }
    sweep.finetune = edition.finetuning(edition.some_tasks, m_ft)
    sweep.evaluate = edition.evaluation((0, 10))
    return sweep

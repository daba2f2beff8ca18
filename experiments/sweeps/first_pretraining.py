"""One small model, pretrained with pauses on the text of Python's standard library: the quickstart's first part.

    python -m launch.sweep --config=experiments/sweeps/first_pretraining.py --workdir=runs/first_pretraining

100 steps of `experiments/quickstart.py:pause`, 40 seconds on two cores.
"""

from typing import Any

from experiments import quickstart
from experiments.sweeps import new_sweep


def get_config() -> Any:
    config = quickstart.get_config("pause")
    config.train.steps = 100
    config.run.validate_every = 50
    config.run.checkpoint_every = 100
    sweep = new_sweep()
    sweep.pretrain = {"config": config, "axes": (("seed", (0,)),)}
    return sweep

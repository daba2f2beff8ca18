"""Pauses in pretraining at three sizes: English Wikipedia by bytes, at equal positions and at equal text tokens.

    python -m launch.prepare --config=experiments/quickstart.py:standard --out=prepared/wikipedia \\
        --config.data.files=wikipedia_en_sample.jsonl.gz
    python -m launch.sweep --config=experiments/science/wikipedia.py --workdir=runs/wikipedia

With 10 % pauses in `trim` mode; without, the same steps; without, as many text tokens (1 / 1.1 of the steps). The
sweep evaluates nothing: its results are the losses on held-out text, clean and right after a pause. The argument is the
number of seeds.
"""

from typing import Any

from experiments import quickstart
from experiments.sweeps import LAPTOP, new_sweep

SIZES = {
    "100k": LAPTOP.sizes["small"],
    "400k": {"num_layers": 3, "d_model": 96, "num_heads": 3, "d_ff": 384},
    "800k": LAPTOP.sizes["medium"],
}
STEPS = 220
ARMS = ((0.1, STEPS), (0.0, STEPS), (0.0, round(STEPS / 1.1)))


def get_config(seeds: str = "3") -> Any:
    config = quickstart.get_config("pause")
    config.data.prepared = "prepared/wikipedia"
    config.optimizer.learning_rate = 2e-3
    config.run.validation_batches = 32
    sweep = new_sweep()
    sweep.sizes = SIZES
    axes = (("seed", tuple(range(int(seeds)))), ("size", tuple(SIZES)), (("pauses.rate", "train.steps"), ARMS))
    sweep.pretrain = {"config": config, "axes": axes}
    return sweep

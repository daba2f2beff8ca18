"""A small byte-level model on the text of Python's standard library: minutes on two cores, no download.

    python -m launch.train --config=experiments/quickstart.py:standard --workdir=runs/standard
    python -m launch.train --config=experiments/quickstart.py:pause --workdir=runs/pause

`standard` reads text, `pause` the same number of positions with 10 % pauses inserted (the paper's `trim`), so it
sees about 9 % less text for the same FLOPs. `make quickstart` begins with a shorter run of `pause`, and
`make miniature` has shorter runs of both; 500 steps of one take about 2 minutes.
"""

from typing import Any

from pause_jax.config import default_config
from pause_jax.errors import UserError


def get_config(arm: str = "pause") -> Any:
    if arm not in ("standard", "pause"):
        raise UserError(f"experiments/quickstart.py:{arm} does not exist: choose :standard or :pause")
    config = default_config()
    config.model.num_layers = 4
    config.model.d_model = 128
    config.model.num_heads = 4
    config.model.d_ff = 512
    config.model.positions = "rope"  # at this size: 1.70 nats where learned positions reach 2.22
    config.model.max_positions = 256
    config.data.length = 256
    config.train.batch_size = 8
    config.train.steps = 500
    config.optimizer.learning_rate = 3e-3
    config.optimizer.warmup_steps = 40
    if arm == "pause":
        config.model.num_pause_tokens = 1
        config.pauses.rate = 0.1
    return config

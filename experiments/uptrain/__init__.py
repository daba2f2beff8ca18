"""Pauses for a model that was pretrained without: continued pretraining with pauses inserted, and its controls.

Ours, not the paper's. A fresh pause starts as the mean of the text's embeddings (`pauses.init`), for some steps it
alone moves (`optimizer.pause_only_steps`), then all parameters do, while the learning rate rises again and falls as in
pretraining.
"""

from typing import Any

ARMS = ("pauses", "control", "control_text")


def set_arm(config: Any, arm: str, steps: int, pause_only_steps: int) -> None:
    """Make `config` one of three arms of continued pretraining.

    `pauses` takes `steps` steps. `control` takes as many without pauses: equal FLOPs, more text tokens. `control_text`
    stops at equal text tokens: in `trim` mode, a tenth of pauses leaves 1 / 1.1 of the positions to text.
    """
    rate = config.pauses.rate
    config.train.steps = steps if arm != "control_text" else round(steps / (1 + rate))
    if arm == "pauses":
        config.model.num_pause_tokens = 1
        config.pauses.init = "mean"
        config.optimizer.pause_only_steps = pause_only_steps
    else:
        config.model.num_pause_tokens = 0
        config.pauses.rate = 0.0

"""Does time to think help? The parity of the number of ones among 24 bits, after so many pauses.

    python -m launch.train --config=experiments/time_to_think.py:24 --workdir=runs/time_to_think/24 --config.seed=10
    python -m launch.train --config=experiments/time_to_think.py:0 --workdir=runs/time_to_think/0 --config.seed=10

The argument is the number of pauses after the prompt. A narrow decoder (16 wide, 2 layers) is trained on the task from
scratch, attention causal, so that only what comes after the prompt has seen all of it. All arms have the same
parameters but for the pause vector, the same prompts in the same order for a seed, and the same steps. At equal FLOPs
a run without pauses takes 2.5 times the steps: `:0 --config.train.steps=7500`.
"""

from typing import Any

from pause_jax.config import default_config
from pause_jax.errors import UserError


def get_config(pauses: str = "24") -> Any:
    if not pauses.isdecimal() or int(pauses) > 48:
        raise UserError(f"experiments/time_to_think.py:{pauses} does not exist: give a number of pauses, 0 to 48")
    config = default_config()
    config.model.num_layers = 2
    config.model.d_model = 16
    config.model.num_heads = 2
    config.model.d_ff = 8
    config.model.mlp = "relu"
    config.model.attention_bias = "none"
    config.model.norm_bias = False
    config.model.tie_embeddings = False
    config.model.max_positions = 75  # as many in each arm
    config.model.init_std = 0.1
    config.model.kernel_init = "fan_in"
    config.model.num_pause_tokens = 1
    config.finetune.task = "count_parity_24"
    config.finetune.m_ft = (int(pauses),)
    config.finetune.attention = "causal"
    config.finetune.max_prompt_length = 26
    config.finetune.target_length = 2
    config.train.steps = 3000
    config.train.batch_size = 128
    config.optimizer.learning_rate = 3e-3
    config.optimizer.schedule = "wsd"
    config.optimizer.decay_from = 0.6
    config.optimizer.final_fraction = 0.02
    config.optimizer.warmup_steps = 200
    config.optimizer.b2 = 0.98
    config.optimizer.weight_decay = 0.0
    config.run.validate_every = 500
    config.run.validation_batches = 16
    config.run.checkpoint_every = 1000
    config.run.log_every = 100
    return config

"""Networks between the quickstart's 0.8M and the paper's 130M parameters: one GPU, a small TPU slice, a patient CPU.

    python -m launch.train --config=experiments/small.py:10m --workdir=runs/10m \\
        --config.data.files='texts/*.txt' --config.data.vocabulary=t5.spiece.model
    python -m launch.train --config=experiments/small.py:33m,standard --workdir=runs/33m_standard \\
        --config.data.prepared=prepared/mine --config.data.vocabulary=t5.spiece.model

`,standard` is the arm without pauses. Llama-like networks (RoPE, RMSNorm, SwiGLU, tied embeddings): 10m has 8 layers of
width 320, 33m 12 layers of width 480; embeddings of a tokenizer of 32,000 ids add 10M and 15M. Text and tokenizer are
yours; left out, they are the standard library's, by bytes. Learning rates are guesses by size, to be swept.
"""

from __future__ import annotations

from typing import Any

from pause_jax.config import default_config
from pause_jax.errors import UserError

# Size → layers, d_model, heads, d_ff, learning rate, microbatches (one device of 16 GB holds it then).
SIZES = {"10m": (8, 320, 5, 864, 2e-3, 2), "33m": (12, 480, 8, 1280, 1e-3, 4)}


def get_config(arg: str = "10m") -> Any:
    size, _, arm = arg.partition(",")
    if size not in SIZES or arm not in ("", "standard"):
        raise UserError(
            f"experiments/small.py:{arg} does not exist: choose :{' or :'.join(SIZES)}, with ,standard for no pauses"
        )
    config = default_config()
    layers, width, heads, inner, learning_rate, microbatches = SIZES[size]
    config.model.num_layers, config.model.d_model, config.model.num_heads = layers, width, heads
    config.model.d_ff, config.model.mlp, config.model.mlp_bias = inner, "swiglu", False
    config.model.norm, config.model.attention_bias = "rmsnorm", "none"
    config.model.positions, config.model.max_positions = "rope", 1024
    config.model.tie_embeddings = True
    config.data.length = 512
    config.train.batch_size = 64
    config.train.steps = 10_000
    config.optimizer.learning_rate = learning_rate
    config.optimizer.warmup_steps = 500
    config.run.accumulation = microbatches
    config.run.validate_every = 500
    config.run.checkpoint_every = 500
    if not arm:
        config.model.num_pause_tokens = 1
        config.pauses.rate = 0.1
    return config

"""Continued pretraining with pauses of a model of Llama 3 8B's shape.

    python -m launch.train --config=experiments/llama.py:8b,v5e-256 --workdir=WORKDIR --config.init_from=RUN
    python -m launch.train --config=experiments/llama.py:8b,v4-128 --workdir=WORKDIR --config.init_from=RUN
    python -m launch.train --config=experiments/llama.py:8b,v5p-64 --workdir=WORKDIR --config.init_from=RUN
    python -m launch.train --config=experiments/llama.py:8b,h100-8 --workdir=WORKDIR --config.init_from=RUN
    python -m launch.train --config=experiments/llama.py:8b,h100-64 --workdir=WORKDIR --config.init_from=RUN
    python -m launch.compile --config=experiments/llama.py:8b,v5e-256 --topology=v5e:16x16

The same command on every host; WORKDIR where all of them see it. RUN is the folder of a run with the standard weights:
the pause vector, which they lack, is drawn from the seed. Not run by us. Compiled for its TPU slices, by formula for
GPUs: experiments/compiled. 10,000 steps of 512 rows of 2048 positions, 10 % pauses as in the paper's pretraining;
learning rate 2e-5 with cosine to a tenth. None of that is from a paper.

RUN comes of `python -m launch.convert --from_hf=Meta-Llama-3-8B --workdir=RUN` (docs/interop.md), the tokenizer with
it: `--config.data.vocabulary=RUN/tokenizer.json`.
"""

from __future__ import annotations

from typing import Any

from experiments.accelerators import Layout
from pause_jax.config import default_config
from pause_jax.errors import UserError

LAYOUTS = {
    "v4-128": Layout(data=1, fsdp=64, remat="full", loss_chunk=512),
    "v5e-256": Layout(data=1, fsdp=64, tensor=4, accumulation=4, remat="full", loss_chunk=512),
    "v5p-64": Layout(data=1, fsdp=32, remat="full", loss_chunk=512),
    "h100-8": Layout(data=1, fsdp=8, accumulation=16, remat="full", loss_chunk=512),
    "h100-64": Layout(data=8, fsdp=8, remat="full", loss_chunk=512),
}


def get_config(arg: str = "8b,v5e-256") -> Any:
    """`8b`, and behind a comma the chips: a key of `LAYOUTS`."""
    size, _, chips = arg.partition(",")
    if size != "8b" or chips not in LAYOUTS:
        names = " or ".join(f":8b,{name}" for name in LAYOUTS)
        raise UserError(f"experiments/llama.py:{arg} does not exist: choose {names}")
    config = default_config()
    _model(config)
    config.model.num_pause_tokens = 1
    config.pauses.rate = 0.1
    config.pauses.mode = "trim"
    config.data.length = 2048
    config.train.batch_size = 512
    config.train.steps = 10_000  # 10.5B positions
    config.optimizer.learning_rate = 2e-5
    config.optimizer.warmup_steps = 200
    config.run.log_every = 10
    config.run.validate_every = 500
    config.run.checkpoint_every = 500
    LAYOUTS[chips].apply(config)
    return config


def _model(config: Any) -> None:
    """Llama 3 8B."""
    config.model.update({"num_layers": 32, "d_model": 4096, "num_heads": 32, "num_kv_heads": 8, "d_ff": 14_336})
    config.model.vocab_size = 128_256
    config.model.mlp = "swiglu"
    config.model.mlp_bias = False
    config.model.attention_bias = "none"
    config.model.norm = "rmsnorm"
    config.model.norm_bias = False
    config.model.positions = "rope"
    config.model.max_positions = 8192
    config.model.rope_theta = 500_000.0
    config.model.tie_embeddings = False
    config.model.dtype = "bfloat16"

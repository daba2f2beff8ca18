"""The paper's pretraining (Goyal et al., ICLR 2024): 130M and 1B parameters, with pauses or without.

    python -m launch.describe --config=experiments/paper.py:130m
    python -m launch.train --config=experiments/paper.py:130m --workdir=runs/130m_pause
    python -m launch.train --config=experiments/paper.py:130m,standard --workdir=runs/130m_standard
    python -m launch.train --config=experiments/paper.py:1b --workdir=runs/1b_pause

Laid out for certain chips (`,v4-128`, `,v5e-256`, `,v5p-64`, `,h100-8`, `,h100-64`; the same command on every host, and
WORKDIR where all of them see it), and compiled for them without any:

    python -m launch.train --config=experiments/paper.py:130m,v5e-256 --workdir=WORKDIR
    python -m launch.train --config=experiments/paper.py:1b,standard,h100-64 --workdir=WORKDIR
    python -m launch.compile --config=experiments/paper.py:1b,v5e-256 --topology=v5e:16x16

Not run by us: these are pod-sized. Both arms read 200B positions, pauses among them. At the 40 % of peak that is usual
for such models, 32 TPU v4 chips (275 TFLOP/s each) would need about 15 hours for a 130M run and six days for a 1B run,
by FLOPs alone (200B times the FLOPs per token of `launch.describe`).

From the paper: C4, length 2048, 10 % pauses of one kind inserted at random and cut back to the length, 200B positions,
layers, heads and widths, with 8192 for the printed hidden width of 8092, which does not give its parameter count.

Ours, as the paper does not say: V = 64,512 and 2,130 positions (tied; they give both printed parameter counts, and V
divides by 1,024), pre-LN with GELU and biases, no dropout, attention, positions and loss that stop at a document's end
(`data.document_mask`), AdamW with betas of 0.9 and 0.95, weight decay of 0.1 on matrices and gradients clipped at
a norm of 1, cosine to 10 % after 1 % of warm-up, its learning rates (GPT-3's), batch 512, bfloat16 compute over float32
parameters.

`data.task` is the default, the standard library's text by bytes: give C4, prepared or as published (docs/data.md), and
a tokenizer of at most 64,512 ids as `--config.data.vocabulary`.
"""

from __future__ import annotations

from typing import Any

from experiments.accelerators import TOPOLOGIES, Layout
from pause_jax.config import default_config
from pause_jax.errors import UserError

SIZES = {
    "130m": {"num_layers": 12, "num_heads": 12, "d_model": 768, "d_ff": 3072},
    "1b": {"num_layers": 24, "num_heads": 32, "d_model": 2048, "d_ff": 8192},
}
LEARNING_RATES = {"130m": 6e-4, "1b": 2e-4}
# FSDP over 16 chips and copies beyond that: of 1B on v5e-256 a chip sends 13 GB a step, with FSDP over all of them and
# the loss in chunks of 128 it sends 35 (experiments/compiled; docs/scale.md says why).
LAYOUTS = {
    "130m": {
        "v4-128": Layout(data=4, fsdp=16),
        "v5e-256": Layout(data=16, fsdp=16),
        "v5p-64": Layout(data=2, fsdp=16, loss_chunk=0),
        "h100-8": Layout(data=1, fsdp=8, accumulation=4),
        "h100-64": Layout(data=8, fsdp=8),
    },
    "1b": {
        "v4-128": Layout(data=4, fsdp=16, remat="full"),
        "v5e-256": Layout(data=16, fsdp=16),
        "v5p-64": Layout(data=2, fsdp=16, remat="full"),
        "h100-8": Layout(data=1, fsdp=8, accumulation=8),
        "h100-64": Layout(data=8, fsdp=8),
    },
}


def get_config(arg: str = "130m") -> Any:
    """`130m` or `1b`, with pauses; behind it `,standard` gives the arm without, then `,v5e-256` and such the chips."""
    size, *more = arg.split(",")
    standard = more[:1] == ["standard"]
    chips = more[1:] if standard else more
    if size not in SIZES or len(chips) > 1 or any(name not in LAYOUTS[size] for name in chips):
        raise UserError(
            f"experiments/paper.py:{arg} does not exist: choose :130m or :1b, with ,standard behind it for no pauses, "
            f"and behind that, for a layout other than FSDP over all devices, one of {', '.join(TOPOLOGIES)}"
        )
    config = default_config()
    _model(config, size)
    if not standard:
        config.model.num_pause_tokens = 1
        config.pauses.rate = 0.1
        config.pauses.mode = "trim"
    config.data.length = 2048
    config.train.batch_size = 512
    config.train.steps = 190_735  # 200B positions
    config.optimizer.learning_rate = LEARNING_RATES[size]
    config.optimizer.warmup_steps = 2000
    _run(config)
    for name in chips:
        LAYOUTS[size][name].apply(config)
    return config


def _model(config: Any, size: str) -> None:
    config.model.update(SIZES[size])
    config.model.vocab_size = 64_512
    config.model.max_positions = 2130
    config.model.mlp = "gelu"
    config.model.mlp_bias = True
    config.model.attention_bias = "all"
    config.model.norm_placement = "pre"
    config.model.tie_embeddings = True
    config.model.dtype = "bfloat16"


def _run(config: Any) -> None:
    """Memory and logs for accelerators; no field of it changes the result."""
    config.run.mesh.data = 1
    config.run.mesh.fsdp = -1
    config.run.loss_chunk = 128
    config.run.log_every = 100
    config.run.validate_every = 2000
    config.run.checkpoint_every = 2000
    config.run.keep_every = 20_000

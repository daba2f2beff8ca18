"""A training step whose logits exist 64 positions a row at a time, against one with all at once: both are ours.

Vocabulary 32,000, length 2,048, batch 8, so that all logits are 2 GiB; the network is as small as it can be, or the
loss would be a small part of the time. The facts have the memory of both by the compiler (costs.py).
"""

from __future__ import annotations

from benchmarks import costs
from benchmarks.measure import Pair
from benchmarks.steps import stepper
from pause_jax.config.model import ModelConfig

MODEL = ModelConfig(vocab_size=32_000, num_layers=2, d_model=128, num_heads=2, d_ff=512, max_positions=2048)
CHUNK = 64


def make_pair(model: ModelConfig = MODEL, batch_size: int = 8, length: int = 2048) -> Pair:
    """One step of each."""
    configs = [costs.train_config(model, batch_size, length, loss_chunk=chunk) for chunk in (CHUNK, 0)]
    compiled = [costs.lower_train_step(config).compile() for config in configs]
    held, peer_held = (costs.costs(step).peak_bytes for step in compiled)
    ours, peer = (stepper(config, step) for config, step in zip(configs, compiled, strict=True))
    return Pair(
        ours, peer, facts={"peak_bytes": held, "peer_peak_bytes": peer_held, "peak_bytes_ratio": held / peer_held}
    )

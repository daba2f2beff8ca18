"""Networks and batches of small runs: with no data to read, the loss still falls."""

from __future__ import annotations

import dataclasses
import json

import numpy as np

from pause_jax.checkpointing.checkpoints import Checkpoints
from pause_jax.checkpointing.run_folder import RunFolder
from pause_jax.config import Config, MeshConfig
from pause_jax.config.model import ModelConfig
from pause_jax.distributed.mesh import make_mesh
from pause_jax.tokenizers import tokenizer
from pause_jax.training import initialize
from pause_jax.training.optimizer import make_optimizer

V, B, L = 40, 16, 16  # vocabulary, rows, positions
GPT = ModelConfig(vocab_size=V, num_layers=2, d_model=32, num_heads=4, d_ff=64, max_positions=L)
LLAMA = dataclasses.replace(
    GPT,
    positions="rope",
    norm="rmsnorm",
    mlp="swiglu",
    num_kv_heads=2,
    attention_bias="none",
    mlp_bias=False,
    tie_embeddings=False,
)
FAMILIES = {"gpt": GPT, "llama": LLAMA}


def make_batch(t: int, num_pause_tokens: int = 1) -> dict[str, np.ndarray]:
    """Text that can be learned (each token is followed by its double), two documents a row, pauses in between."""
    rng = np.random.default_rng(t)
    z = np.empty((B, L + 1), np.int64)
    z[:, 0] = rng.integers(1, V, B)
    for k in range(L):
        z[:, k + 1] = z[:, k] * 2 % (V - 1) + 1
    if num_pause_tokens:
        z[rng.random(z.shape) < np.linspace(0, 0.4, B)[:, None]] = V
    segments = np.where(np.arange(L + 1) < rng.integers(2, L, B)[:, None], 1, 2)
    starts = np.argmax(segments == 2, axis=1)
    positions = np.arange(L + 1) - np.where(segments == 2, starts[:, None], 0)
    weights = (z[:, 1:] < V) & (segments[:, 1:] == segments[:, :-1])
    return {
        "inputs": z[:, :-1].astype(np.int32),
        "targets": z[:, 1:].astype(np.int32),
        "loss_weights": weights.astype(np.float32),
        "positions": positions[:, :-1].astype(np.int32),
        "segment_ids": segments[:, :-1].astype(np.int32),
    }


def save_untrained(config: Config, folder: RunFolder) -> None:
    """Make `folder` that of a run of bytes which has one checkpoint, of the parameters that it starts from."""
    folder.claim(config, {"vocabulary": tokenizer.fingerprint("byte")})
    state = initialize.initial_state(config, make_optimizer(config.optimizer), make_mesh(MeshConfig()))
    checkpoints = Checkpoints(folder.checkpoints, keep=1)
    checkpoints.save(state, 1, {})
    checkpoints.close()
    record = {"step": 1, "text_tokens": 0, "model_flops": 0.0, "loss": 0.0}
    folder.metrics.write_text(json.dumps(record) + "\n")

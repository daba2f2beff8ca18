"""A run of our own with random parameters and pauses, so that all of its parts show."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import jax
import numpy as np

from pause_jax import trees
from pause_jax.checkpointing import checkpoints
from pause_jax.checkpointing.run_folder import RunFolder
from pause_jax.config import Config, DataConfig, MeshConfig
from pause_jax.config.model import ModelConfig
from pause_jax.distributed.mesh import make_mesh
from pause_jax.model import decoder
from pause_jax.tokenizers import tokenizer

V, D = 259, 32  # V: of the byte tokenizer
LLAMA = {
    "mlp": "swiglu",
    "mlp_bias": False,
    "attention_bias": "none",
    "norm": "rmsnorm",
    "norm_bias": False,
    "positions": "rope",
    "tie_embeddings": False,
    "num_kv_heads": 2,
}


def one_device() -> jax.sharding.Mesh:
    return make_mesh(MeshConfig(), jax.devices()[:1])


def make_run(path: Path, num_pause_tokens: int = 1, vocabulary: str = "byte", **model: Any) -> RunFolder:
    """At step 3; GPT-2's kind where `model` says nothing else."""
    folder = RunFolder(path)
    fields = {"vocab_size": V, "num_layers": 2, "d_model": D, "num_heads": 4, "d_ff": 48, "max_positions": 128}
    config = Config(
        model=dataclasses.replace(ModelConfig(**fields | model), num_pause_tokens=num_pause_tokens),
        data=DataConfig(length=64, vocabulary=vocabulary),
    )
    config.validate()
    folder.claim(config, {"vocabulary": tokenizer.fingerprint(vocabulary)})
    rng = np.random.default_rng(0)
    flat = {
        path: np.asarray(0.3 * rng.standard_normal(leaf.shape) + path.endswith("scale"), np.float32)
        for path, leaf in trees.flatten(decoder.abstract_params(config.model)).items()
    }
    checkpoints.save_params(folder.checkpoints, 3, jax.tree.map(jax.numpy.asarray, trees.unflatten(flat)), {})
    return folder

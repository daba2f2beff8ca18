"""Training steps as benchmarks take them: again and again on one batch that lies on the device."""

from __future__ import annotations

import jax
import numpy as np

from benchmarks.measure import Call
from pause_jax.config import Config
from pause_jax.distributed.mesh import make_mesh
from pause_jax.training import initialize
from pause_jax.training.optimizer import make_optimizer
from pause_jax.training.step import Batch


def stepper(config: Config, train_step: jax.stages.Compiled) -> Call:
    """Steps of `train_step` on one batch of random text, with pauses where the config has them."""
    mesh = make_mesh(config.run.mesh, jax.devices()[:1])
    state = initialize.initial_state(config, make_optimizer(config.optimizer), mesh)
    one_batch = _random(config)

    def step() -> None:
        nonlocal state
        state, _ = jax.block_until_ready(train_step(state, one_batch))

    return step


def batch(inputs_BxL: np.ndarray, targets_BxL: np.ndarray, weights_BxL: np.ndarray) -> Batch:
    """Rows that are one document each, on the device."""
    positions_BxL = np.broadcast_to(np.arange(inputs_BxL.shape[1], dtype=np.int32), inputs_BxL.shape)
    return jax.device_put(
        {
            "inputs": inputs_BxL,
            "targets": targets_BxL,
            "loss_weights": weights_BxL.astype(np.float32),
            "positions": positions_BxL,
            "segment_ids": np.ones_like(inputs_BxL),
        }
    )


def _random(config: Config) -> Batch:
    """Text, and pauses at the config's rate."""
    rng, shape = np.random.default_rng(0), (config.train.batch_size, config.length + 1)
    rate = config.pauses.rate
    is_pause = rng.random(shape) < rate / (1 + rate)
    z = np.where(is_pause, config.model.vocab_size, rng.integers(0, config.model.vocab_size, shape)).astype(np.int32)
    return batch(z[:, :-1], z[:, 1:], ~is_pause[:, 1:])

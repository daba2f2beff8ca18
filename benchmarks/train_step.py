"""A training step: forward, backward, clipping, AdamW, in float32, against the same step in torch.

Ours is the trainer's own step, jitted, its state donated, with the execution that is fastest on a CPU: layers unrolled,
nothing recomputed, the whole batch's logits at once (the defaults of config.run; chunks of 32 or 128 positions made no
difference that could be measured). The peer is transformers' model with
its fused attention, torch's fused AdamW and no KV cache.
"""

from __future__ import annotations

import functools

import jax
import numpy as np
import torch

from benchmarks.measure import Pair
from benchmarks.peers import Twins, assert_agree, make_twins
from benchmarks.shapes import Shape
from pause_jax.config import OptimizerConfig
from pause_jax.model import decoder
from pause_jax.model.config import Execution
from pause_jax.training.optimizer import make_optimizer, make_schedule
from pause_jax.training.step import Batch, make_train_step, new_state

OPTIMIZER = OptimizerConfig(learning_rate=1e-4, schedule="constant", warmup_steps=0)
CHECKED_STEPS = 3  # what the second and third give tells of the optimizer


def make_pair(shape: Shape, batch_size: int, length: int) -> Pair:
    """One step on one batch; what the two sides give is compared over the first steps.

    Raises:
      AssertionError: they differ.
    """
    twins = make_twins(shape)
    ids_BxL = np.random.default_rng(0).integers(0, shape.vocab_size, (batch_size, length)).astype(np.int32)
    ours, peer = _Ours(twins, ids_BxL), _Peer(twins, ids_BxL)
    given = [np.array([step() for _ in range(CHECKED_STEPS)]) for step in (ours, peer)]
    assert_agree("losses of the first steps", given[0][:, 0], given[1][:, 0])
    # against float64, torch's norm of 2M float32 numbers was 1e-4 off, ours 2e-8
    assert_agree("gradient norms of the first steps", given[0][:, 1], given[1][:, 1], tolerance=2e-4)
    return Pair(ours, peer)


class _Ours:
    """Called, it takes a step and gives loss and gradient norm before it."""

    def __init__(self, twins: Twins, ids_BxL: np.ndarray) -> None:
        network = functools.partial(decoder.bind, config=twins.config, execution=Execution(), n_pauses=0)
        optimizer = make_optimizer(OPTIMIZER)
        step = make_train_step(network, optimizer, make_schedule(OPTIMIZER, steps=1000), accumulation=1, loss_chunk=0)
        self._step = jax.jit(step, donate_argnums=0)
        self._state = new_state(twins.params, optimizer)
        self._batch = _batch(ids_BxL)

    def __call__(self) -> tuple[float, float]:
        self._state, metrics = jax.block_until_ready(self._step(self._state, self._batch))
        return float(metrics["loss"]), float(metrics["grad_norm"])


class _Peer:
    """Called, it takes a step and gives loss and gradient norm before it."""

    def __init__(self, twins: Twins, ids_BxL: np.ndarray) -> None:
        self._model = twins.peer.train()
        self._ids_BxL = torch.tensor(ids_BxL, dtype=torch.long)
        parameters = list(self._model.parameters())
        groups = [  # as ours: matrices decay, biases and norms do not
            {"params": [p for p in parameters if p.ndim > 1], "weight_decay": OPTIMIZER.weight_decay},
            {"params": [p for p in parameters if p.ndim == 1], "weight_decay": 0.0},
        ]
        betas = (OPTIMIZER.b1, OPTIMIZER.b2)
        self._optimizer = torch.optim.AdamW(groups, OPTIMIZER.learning_rate, betas, OPTIMIZER.eps, fused=True)

    def __call__(self) -> tuple[float, float]:
        self._optimizer.zero_grad()
        loss = self._model(input_ids=self._ids_BxL, labels=self._ids_BxL, use_cache=False).loss
        loss.backward()
        grad_norm = torch.nn.utils.clip_grad_norm_(self._model.parameters(), OPTIMIZER.clip_norm)
        self._optimizer.step()
        return loss.item(), grad_norm.item()


def _batch(ids_BxL: np.ndarray) -> Batch:
    """Rows that are one document each; their last position has no next token and no loss, as in the peer."""
    targets_BxL = np.pad(ids_BxL[:, 1:], ((0, 0), (0, 1)))
    weights_BxL = np.ones(ids_BxL.shape, np.float32)
    weights_BxL[:, -1] = 0
    positions_BxL = np.broadcast_to(np.arange(ids_BxL.shape[1], dtype=np.int32), ids_BxL.shape)
    return jax.device_put({
        "inputs": ids_BxL, "targets": targets_BxL, "loss_weights": weights_BxL, "positions": positions_BxL,
        "segment_ids": np.ones_like(ids_BxL),
    })  # fmt: skip

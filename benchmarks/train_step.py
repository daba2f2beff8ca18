"""A training step: forward, backward, clipping, AdamW, in float32 and with bfloat16 compute, against torch's.

Ours is the trainer's own step, jitted, its state donated, with what config.run has by default. The peer is
transformers' model with its fused attention, torch's fused AdamW and no KV cache, eager or by torch.compile, whichever
is quicker; its bfloat16 is autocast. Both dtypes train the same float32 weights, in turn.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

import jax
import numpy as np
import torch

from benchmarks import costs
from benchmarks.measure import Call, Pair
from benchmarks.peers import Twins, assert_agree, better, make_twins, torch_device
from benchmarks.shapes import Shape
from benchmarks.steps import batch
from pause_jax.config import MeshConfig, OptimizerConfig
from pause_jax.distributed.mesh import make_mesh
from pause_jax.training import loop
from pause_jax.training.optimizer import make_optimizer
from pause_jax.training.step import Batch, new_state

Given = tuple[float, float]  # loss and gradient norm before a step

DTYPES: tuple[Literal["float32", "bfloat16"], ...] = ("float32", "bfloat16")  # of compute; weights are float32
OPTIMIZER = OptimizerConfig(learning_rate=1e-4, schedule="constant", warmup_steps=0)
CHECKED_STEPS = 5  # what those after the first give tells of the optimizer
LOSS_TOLERANCE = 1e-3  # in nats
ROUGH = 0.01  # of the loss: what bfloat16 may change


def make_pair(shape: Shape, batch_size: int, length: int) -> Pair:
    """One step on one batch, in float32; in bfloat16 `ours_bfloat16` and `peer_bfloat16`.

    Raises:
      AssertionError: losses or gradient norms of the first float32 steps differ, or bfloat16's loss is far off.
    """
    twins = make_twins(shape)
    ids_BxL = np.random.default_rng(0).integers(0, shape.vocab_size, (batch_size, length)).astype(np.int32)
    ours, peer = _Ours(twins, ids_BxL), _Peer(twins, ids_BxL)
    chosen, facts = {}, {}
    for dtype in DTYPES:
        before = len(peer.given)
        chosen[dtype], facts[f"peer_{dtype}"] = better(
            ours.step(dtype), peer.step(dtype), peer.step(dtype, compiled=True)
        )
        if dtype == "float32":
            _take_the_same_steps(ours, peer)
            assert_steps_agree(ours.given, peer.given)
        else:
            assert_agree(f"loss in {dtype}", np.array(ours.given[before][0]), np.array(peer.given[before][0]), ROUGH)
    return Pair(
        ours.step("float32"),
        chosen["float32"],
        others={"ours_bfloat16": ours.step("bfloat16"), "peer_bfloat16": chosen["bfloat16"]},
        flops=ours.flops,
        facts=facts,
    )


def assert_steps_agree(ours: list[Given], peer: list[Given]) -> None:
    """Raises AssertionError where losses or gradient norms of the first steps differ."""
    (losses, norms), (peer_losses, peer_norms) = (np.array(side[:CHECKED_STEPS]).T for side in (ours, peer))
    np.testing.assert_allclose(losses, peer_losses, rtol=0, atol=LOSS_TOLERANCE, err_msg="losses of the first steps")
    # against float64, torch's norm of 2M float32 numbers was 1e-4 off, ours 2e-8; of 117M the two are 1.4e-3 apart
    assert_agree("gradient norms of the first steps", norms, peer_norms, tolerance=3e-3)


class _Ours:
    """Steps of the trainer; `given` are loss and gradient norm before each."""

    def __init__(self, twins: Twins, ids_BxL: np.ndarray) -> None:
        mesh = make_mesh(MeshConfig(data=1), jax.devices()[:1])
        self._steps: dict[str, Any] = {}
        for dtype in DTYPES:
            model = dataclasses.replace(twins.config, dtype=dtype)
            config = dataclasses.replace(costs.train_config(model, *ids_BxL.shape), optimizer=OPTIMIZER)
            self._steps[dtype], _, _ = loop.jit_steps(config, mesh)
        self.flops = loop.flops_per_step(config)
        self._state = new_state(twins.params, make_optimizer(OPTIMIZER))
        self._batch = _batch(ids_BxL)
        self.given: list[Given] = []

    def step(self, dtype: str) -> Call:
        def take() -> None:
            self._state, metrics = jax.block_until_ready(self._steps[dtype](self._state, self._batch))
            self.given.append((float(metrics["loss"]), float(metrics["grad_norm"])))

        return take


class _Peer:
    """Steps of torch; `given` as of `_Ours`."""

    def __init__(self, twins: Twins, ids_BxL: np.ndarray) -> None:
        self._model = twins.peer.train()
        self._compiled = torch.compile(self._model)  # at its first call
        self._ids_BxL = torch.tensor(ids_BxL, dtype=torch.long, device=torch_device())
        parameters = list(self._model.parameters())
        groups = [  # as ours: matrices decay, biases and norms do not
            {"params": [p for p in parameters if p.ndim > 1], "weight_decay": OPTIMIZER.weight_decay},
            {"params": [p for p in parameters if p.ndim == 1], "weight_decay": 0.0},
        ]
        betas = (OPTIMIZER.b1, OPTIMIZER.b2)
        self._optimizer = torch.optim.AdamW(groups, OPTIMIZER.learning_rate, betas, OPTIMIZER.eps, fused=True)
        self.given: list[Given] = []

    def step(self, dtype: str, compiled: bool = False) -> Call:
        model = self._compiled if compiled else self._model

        def take() -> None:
            self._optimizer.zero_grad()
            with torch.autocast(torch_device(), torch.bfloat16, enabled=dtype == "bfloat16"):
                loss = model(input_ids=self._ids_BxL, labels=self._ids_BxL, use_cache=False).loss
            loss.backward()
            grad_norm = torch.nn.utils.clip_grad_norm_(self._model.parameters(), OPTIMIZER.clip_norm)
            self._optimizer.step()
            self.given.append((loss.item(), grad_norm.item()))

        return take


def _take_the_same_steps(ours: _Ours, peer: _Peer) -> None:
    """Go on until both have taken as many float32 steps, no fewer than are checked."""
    steps = max(len(ours.given), len(peer.given), CHECKED_STEPS)
    for side in (ours, peer):
        while len(side.given) < steps:
            side.step("float32")()


def _batch(ids_BxL: np.ndarray) -> Batch:
    """Rows that are one document each; their last position has no next token and no loss, as in the peer."""
    targets_BxL = np.pad(ids_BxL[:, 1:], ((0, 0), (0, 1)))
    weights_BxL = np.ones(ids_BxL.shape, np.float32)
    weights_BxL[:, -1] = 0
    return batch(ids_BxL, targets_BxL, weights_BxL)

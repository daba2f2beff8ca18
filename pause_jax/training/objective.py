"""What a training step minimises: a sum over positions of weight · loss, divided by the sum of the weights.

An objective of another kind (a loss at each pause, an auxiliary loss, stages by step) is a class with the methods of
`Objective` and its line in `OBJECTIVES`; a term that depends on the logits of a position alone is a function in
`TERMS` and its coefficient in `config.objective`.

Letters: B rows, T positions, D width, V vocabulary, N positions of all rows.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, Protocol

import jax
import jax.numpy as jnp

from pause_jax.config import Config
from pause_jax.model import ops
from pause_jax.model.decoder import Decoder
from pause_jax.model.ops.losses import Term

Params = dict[str, Any]
Batch = dict[str, jax.Array]
Metrics = dict[str, jax.Array]
ApplyFn = Callable[[Params], Decoder]  # `Network.bind`


class Objective(Protocol):
    """Which positions of a batch count, and what each of them costs."""

    def weights(self, batch: Batch) -> jax.Array:
        """The weight of each position, float32 [B, T]; the step divides by their sum over the whole global batch."""
        ...

    def loss_sum(self, params: Params, batch: Batch, step: jax.Array) -> tuple[jax.Array, Metrics]:
        """Sum over positions of weight · loss, and sums of the same kind for the log, by name, all float32 [].

        The batch may be a microbatch. `batch["loss_weights"]` holds the weights that `weights` gave for it; the sum is
        linear in them, so that its derivative by them is the loss of each position.

        Args:
          step: the number of steps before this one, int32 [].
        """
        ...


@dataclasses.dataclass(frozen=True)
class CrossEntropy:
    """−log p(next token) in nats at each position to which the batch gives a weight, plus terms of its logits."""

    network: ApplyFn
    loss_chunk: int = 0  # positions of a row whose logits exist at a time; 0: all
    first_loss: int = 0  # no position before it carries loss in any row: their logits are not computed
    prefix_lm_length: int | None = None  # the same for all rows, for kernels that compile their mask; None: the batch's
    terms: tuple[tuple[str, float], ...] = ()  # names of TERMS and their coefficients

    def weights(self, batch: Batch) -> jax.Array:
        """The batch's own, float32 [B, T]."""
        return batch["loss_weights"]

    def loss_sum(self, params: Params, batch: Batch, step: jax.Array) -> tuple[jax.Array, Metrics]:
        """See `Objective`; its metrics are what each term adds to the sum."""
        del step
        model = self.network(params)
        prefix = batch.get("prefix_lm_length", 0) if self.prefix_lm_length is None else self.prefix_lm_length
        hidden_BxTxD, _ = model(batch["inputs"], batch["positions"], batch["segment_ids"], prefix_lm_length=prefix)
        loss, added = ops.head_loss(
            hidden_BxTxD[:, self.first_loss :],
            model.head_VxD(),
            batch["targets"][:, self.first_loss :],
            batch["loss_weights"][:, self.first_loss :],
            model.execution,
            chunk=self.loss_chunk,
            terms=tuple((coefficient, TERMS[name]) for name, coefficient in self.terms),
        )
        return loss, dict(zip((name for name, _ in self.terms), added, strict=True))


def _z_loss(log_z_N: jax.Array, target_logit_N: jax.Array) -> jax.Array:
    """log² Z, as in PaLM (Chowdhery et al. 2022, section 5) and T5X: it pulls Z, the sum of exp(logits), towards 1."""
    del target_logit_N
    return jnp.square(log_z_N)


# Field of config.objective, which holds the coefficient → the term: (log Z, the target's logit) → a cost, elementwise.
TERMS: dict[str, Term] = {"z_loss": _z_loss}


def _cross_entropy(config: Config, network: ApplyFn) -> Objective:
    return CrossEntropy(
        network,
        config.run.loss_chunk,
        config.first_loss,
        config.prefix_lm_length,
        terms=config.objective.coefficients,
    )


# config.objective.name → the function that makes it for a config and a network.
OBJECTIVES: dict[str, Callable[[Config, ApplyFn], Objective]] = {"cross_entropy": _cross_entropy}


def make_objective(config: Config, network: ApplyFn) -> Objective:
    """The objective that `config.objective` names, for a network."""
    return OBJECTIVES[config.objective.name](config, network)


def make_validation_objective(config: Config, network: ApplyFn) -> Objective:
    """Cross-entropy alone: losses in nats that can be compared between runs of any objective."""
    return CrossEntropy(network, config.run.loss_chunk, config.first_loss, config.prefix_lm_length)

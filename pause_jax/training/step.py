"""One training step and one validation step as pure functions of (state, batch).

A batch is a dict of [B, T] arrays `inputs targets loss_weights positions segment_ids`; in finetuning there is
`prefix_lm_length` [B] too: how many positions at the row's start see each other both ways.
The state is a plain dict: `params`, `opt_state`, `step`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from pause_jax.model import ops
from pause_jax.model.decoder import Decoder

Params = dict[str, Any]
State = dict[str, Any]
Batch = dict[str, jax.Array]
Metrics = dict[str, jax.Array]
LossSum = Callable[[Params, Batch], jax.Array]
ApplyFn = Callable[[Params], Decoder]  # `Network.bind`


def new_state(params: Params, optimizer: optax.GradientTransformation) -> State:
    """The state before the first step."""
    return {"params": params, "opt_state": optimizer.init(params), "step": jnp.zeros((), jnp.int32)}


def batch_loss_sum(
    params: Params,
    batch: Batch,
    network: ApplyFn,
    loss_chunk: int,
    first_loss: int = 0,
    prefix_lm_length: int | None = None,
) -> jax.Array:
    """Weighted sum of the batch's losses, in nats; to be divided by the weights' sum.

    Args:
      first_loss: no position before it carries loss in any row: their logits are not computed.
      prefix_lm_length: the same for all rows, for kernels that compile their mask; None: the batch says it for each.
    """
    model = network(params)
    in_prefix = batch.get("prefix_lm_length", 0) if prefix_lm_length is None else prefix_lm_length
    hidden_BxTxD, _ = model(batch["inputs"], batch["positions"], batch["segment_ids"], prefix_lm_length=in_prefix)
    targets_BxT, weights_BxT = batch["targets"][:, first_loss:], batch["loss_weights"][:, first_loss:]
    return ops.head_loss(
        hidden_BxTxD[:, first_loss:], model.head_VxD(), targets_BxT, weights_BxT, model.execution, chunk=loss_chunk
    )


def make_train_step(
    network: ApplyFn,
    optimizer: optax.GradientTransformationExtraArgs,
    schedule: optax.Schedule,
    *,
    accumulation: int,
    loss_chunk: int,
    first_loss: int = 0,
    prefix_lm_length: int | None = None,
) -> Callable[[State, Batch], tuple[State, Metrics]]:
    """The step. Where loss or gradient is not finite, parameters and optimizer stay as they were; `step` goes on."""
    loss_sum = functools.partial(
        batch_loss_sum, network=network, loss_chunk=loss_chunk, first_loss=first_loss, prefix_lm_length=prefix_lm_length
    )

    def train_step(state: State, batch: Batch) -> tuple[State, Metrics]:
        loss, grads = _mean_gradient(state["params"], batch, loss_sum, accumulation)
        grad_norm = optax.tree.norm(grads)
        finite = jnp.isfinite(loss) & jnp.isfinite(grad_norm)
        learning_rate = jnp.asarray(schedule(state["step"]), jnp.float32)
        updates, opt_state = optimizer.update(
            grads, state["opt_state"], state["params"], step=state["step"], learning_rate=learning_rate
        )
        params = optax.apply_updates(state["params"], updates)
        old = (state["params"], state["opt_state"])
        params, opt_state = jax.tree.map(lambda n, o: jnp.where(finite, n, o), (params, opt_state), old)
        new = {"params": params, "opt_state": opt_state, "step": state["step"] + 1}
        metrics = {"loss": loss, "grad_norm": grad_norm, "learning_rate": learning_rate, "skipped": ~finite}
        return new, metrics | _token_counts(batch, network(state["params"]).config.vocab_size)

    return train_step


def make_validation_step(
    network: ApplyFn, loss_chunk: int, first_loss: int = 0, prefix_lm_length: int | None = None
) -> Callable[[Params, Batch], tuple[jax.Array, jax.Array, jax.Array, jax.Array]]:
    """(params, batch) → sum of losses in nats, number of positions with a loss; the same of those after a pause alone.

    A position is after a pause where its input token is one: there the model has just had time to think.
    """
    loss_sum = functools.partial(
        batch_loss_sum, network=network, loss_chunk=loss_chunk, first_loss=first_loss, prefix_lm_length=prefix_lm_length
    )

    def validation_step(params: Params, batch: Batch) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
        weights_BxT, is_pause_BxT = batch["loss_weights"], batch["inputs"] >= network(params).config.vocab_size
        loss, losses_BxT = _loss_and_losses(params, batch, loss_sum)
        after_pause_BxT = weights_BxT * is_pause_BxT
        return loss, jnp.sum(weights_BxT), jnp.sum(losses_BxT * after_pause_BxT), jnp.sum(after_pause_BxT)

    return validation_step


def make_debug_step(
    network: ApplyFn, *, accumulation: int, loss_chunk: int, first_loss: int = 0, prefix_lm_length: int | None = None
) -> Callable[[Params, Batch], dict[str, Any]]:
    """(params, batch) → what a training step computes on the way, float32.

    `loss` and `grad_norm` as the step has them; `row_losses` [B], each row's mean over its positions with a loss, and
    `grad_norms`, a tree like the parameters.
    """
    loss_sum = functools.partial(
        batch_loss_sum, network=network, loss_chunk=loss_chunk, first_loss=first_loss, prefix_lm_length=prefix_lm_length
    )

    def debug_step(params: Params, batch: Batch) -> dict[str, Any]:
        loss, grads = _mean_gradient(params, batch, loss_sum, accumulation)
        weights_BxT = batch["loss_weights"]
        _, losses_BxT = _loss_and_losses(params, batch, loss_sum)
        row_losses_B = jnp.sum(losses_BxT * weights_BxT, axis=1) / jnp.maximum(jnp.sum(weights_BxT, axis=1), 1.0)
        grad_norms = jax.tree.map(jnp.linalg.norm, grads)
        return {"loss": loss, "grad_norm": optax.tree.norm(grads), "row_losses": row_losses_B, "grad_norms": grad_norms}

    return debug_step


def _loss_and_losses(params: Params, batch: Batch, loss_sum: LossSum) -> tuple[jax.Array, jax.Array]:
    """The weighted sum, and the loss of each position [B, T], any number where its weight is 0.

    The sum over weight · loss is linear in the weights: its derivative is the loss of each position.
    """
    return jax.value_and_grad(lambda weights: loss_sum(params, {**batch, "loss_weights": weights}))(
        batch["loss_weights"]
    )


def _mean_gradient(params: Params, batch: Batch, loss_sum: LossSum, accumulation: int) -> tuple[jax.Array, Params]:
    """Loss and gradient of the mean over *all* positions with a loss, summed microbatch by microbatch.

    Pauses make the number of such positions differ between microbatches: a mean of their means would be another
    loss. So each microbatch's sum is divided by the whole batch's count.
    """
    count = jnp.maximum(jnp.sum(batch["loss_weights"]), 1.0)

    def loss_part(params: Params, micro: Batch) -> jax.Array:
        return loss_sum(params, micro) / count

    if accumulation == 1:
        return jax.value_and_grad(loss_part)(params, batch)

    def add(total: tuple[jax.Array, Params], micro: Batch) -> tuple[Any, None]:
        part = jax.value_and_grad(loss_part)(params, micro)
        return jax.tree.map(jnp.add, total, part), None

    zero = (jnp.zeros((), jnp.float32), jax.tree.map(jnp.zeros_like, params))
    # Microbatch j gets rows j, j + k, …: each device's rows are spread over all of them, none is moved.
    micros = jax.tree.map(lambda x: jnp.swapaxes(x.reshape(-1, accumulation, *x.shape[1:]), 0, 1), batch)
    total, _ = jax.lax.scan(add, zero, micros)
    return total


def _token_counts(batch: Batch, vocab_size: int) -> Metrics:
    """Text, pause and loss-carrying positions of the batch: int32."""
    real_BxT = batch["segment_ids"] > 0
    pause_BxT = batch["inputs"] >= vocab_size
    return {
        "text_tokens": jnp.sum(real_BxT & ~pause_BxT, dtype=jnp.int32),
        "pause_tokens": jnp.sum(real_BxT & pause_BxT, dtype=jnp.int32),
        "loss_tokens": jnp.sum(batch["loss_weights"] > 0, dtype=jnp.int32),
    }

"""One training step and one validation step as pure functions of (state, batch).

A batch is a dict of [B, T] arrays `inputs targets loss_weights positions segment_ids`; in finetuning there is
`prefix_lm_length` [B] too: how many positions at the row's start see each other both ways.
The state is a plain dict: `params`, `opt_state`, `step`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from pause_jax.training.objective import Batch, Metrics, Objective, Params

State = dict[str, Any]


def new_state(params: Params, optimizer: optax.GradientTransformation) -> State:
    """The state before the first step."""
    return {"params": params, "opt_state": optimizer.init(params), "step": jnp.zeros((), jnp.int32)}


def make_train_step(
    objective: Objective,
    optimizer: optax.GradientTransformationExtraArgs,
    schedule: optax.Schedule,
    *,
    vocab_size: int,
    accumulation: int,
) -> Callable[[State, Batch], tuple[State, Metrics]]:
    """The training step. Where loss or gradient is not finite, only `step` changes: no update is made.

    Args:
      vocab_size: ids from it on are pauses.
      accumulation: microbatches that the batch is cut into.
    """

    def train_step(state: State, batch: Batch) -> tuple[State, Metrics]:
        (loss, of_objective), grads = _mean_gradient(objective, state, batch, accumulation)
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
        return new, metrics | of_objective | _token_counts(batch, objective.weights(batch), vocab_size)

    return train_step


def make_validation_step(
    objective: Objective, *, vocab_size: int
) -> Callable[[Params, Batch], tuple[jax.Array, jax.Array, jax.Array, jax.Array]]:
    """(params, batch) → sum of losses in nats, number of positions with a loss; then both for positions after a pause.

    A position is after a pause where its input token is one: there the model has just had time to think.
    """

    def validation_step(params: Params, batch: Batch) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
        weights_BxT, is_pause_BxT = objective.weights(batch), batch["inputs"] >= vocab_size
        loss, losses_BxT = _loss_and_losses(objective, {"params": params, "step": jnp.zeros((), jnp.int32)}, batch)
        after_pause_BxT = weights_BxT * is_pause_BxT
        return loss, jnp.sum(weights_BxT), jnp.sum(losses_BxT * after_pause_BxT), jnp.sum(after_pause_BxT)

    return validation_step


def make_debug_step(objective: Objective, *, accumulation: int) -> Callable[[State, Batch], dict[str, Any]]:
    """(params and step of a state, batch) → what a training step computes on the way, float32.

    `loss` and `grad_norm` as in the step; `row_losses` [B], each row's mean over its positions with a loss, and
    `grad_norms`, a tree like the parameters.
    """

    def debug_step(state: State, batch: Batch) -> dict[str, Any]:
        (loss, _), grads = _mean_gradient(objective, state, batch, accumulation)
        weights_BxT = objective.weights(batch)
        _, losses_BxT = _loss_and_losses(objective, state, batch)
        row_losses_B = jnp.sum(losses_BxT * weights_BxT, axis=1) / jnp.maximum(jnp.sum(weights_BxT, axis=1), 1.0)
        grad_norms = jax.tree.map(jnp.linalg.norm, grads)
        return {"loss": loss, "grad_norm": optax.tree.norm(grads), "row_losses": row_losses_B, "grad_norms": grad_norms}

    return debug_step


def _loss_and_losses(objective: Objective, state: State, batch: Batch) -> tuple[jax.Array, jax.Array]:
    """The weighted sum, and the loss of each position [B, T], any number where its weight is 0.

    The sum over weight · loss is linear in the weights: its derivative is the loss of each position.
    """

    def loss_sum(weights_BxT: jax.Array) -> jax.Array:
        return objective.loss_sum(state["params"], {**batch, "loss_weights": weights_BxT}, state["step"])[0]

    return jax.value_and_grad(loss_sum)(objective.weights(batch))


def _mean_gradient(
    objective: Objective, state: State, batch: Batch, accumulation: int
) -> tuple[tuple[jax.Array, Metrics], Params]:
    """Loss, the objective's metrics and the gradient, each a mean over *all* positions of the batch with a loss.

    They are summed microbatch by microbatch. Pauses make the number of such positions differ between microbatches: a
    mean of their means would be another loss. So each microbatch's sum is divided by the whole batch's count.
    """
    batch = {**batch, "loss_weights": objective.weights(batch)}
    count = jnp.maximum(jnp.sum(batch["loss_weights"]), 1.0)

    def loss_part(params: Params, micro: Batch) -> tuple[jax.Array, Metrics]:
        sums = objective.loss_sum(params, micro, state["step"])
        return jax.tree.map(lambda x: x / count, sums)

    loss_and_gradient = jax.value_and_grad(loss_part, has_aux=True)
    if accumulation == 1:
        return loss_and_gradient(state["params"], batch)

    def add(total: Any, micro: Batch) -> tuple[Any, None]:
        part = loss_and_gradient(state["params"], micro)
        return jax.tree.map(jnp.add, total, part), None

    # Microbatch j gets rows j, j + k, …: each device's rows are spread over all of them, none is moved.
    micros = jax.tree.map(lambda x: jnp.swapaxes(x.reshape(-1, accumulation, *x.shape[1:]), 0, 1), batch)
    sums = jax.eval_shape(loss_part, state["params"], jax.tree.map(lambda x: x[0], micros))
    zero = (jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), sums), jax.tree.map(jnp.zeros_like, state["params"]))
    total, _ = jax.lax.scan(add, zero, micros)
    return total


def _token_counts(batch: Batch, weights_BxT: jax.Array, vocab_size: int) -> Metrics:
    """Text, pause and loss-carrying positions of the batch: int32."""
    real_BxT = batch["segment_ids"] > 0
    pause_BxT = batch["inputs"] >= vocab_size
    return {
        "text_tokens": jnp.sum(real_BxT & ~pause_BxT, dtype=jnp.int32),
        "pause_tokens": jnp.sum(real_BxT & pause_BxT, dtype=jnp.int32),
        "loss_tokens": jnp.sum(weights_BxT > 0, dtype=jnp.int32),
    }

"""Cross-entropy over text tokens, in chunks of positions, so that [B, T, V] logits need never exist.

Letters: B rows, T positions, D width, V vocabulary, C positions of a chunk, N = B · C.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from pause_jax.model.ops.matmul import OverRows, sum_over_rows
from pause_jax.model.partitioning import constrain

Gradients = tuple[jax.Array, jax.Array, jax.Array]  # by hidden vectors [B, T, D], head [V, D] and weights [B, T]


@functools.partial(jax.custom_vjp, nondiff_argnums=(4, 5))
def head_loss(
    hidden_BxTxD: jax.Array,
    head_VxD: jax.Array,
    targets_BxT: jax.Array,
    weights_BxT: jax.Array,
    chunk: int = 0,
    over_rows: OverRows = sum_over_rows,
) -> jax.Array:
    """Sum over positions of weight · (−log p(target)), in nats, float32.

    Where its gradient is asked for, it is computed with the loss, chunk by chunk: by the logits it is p − 1 at the
    target, p elsewhere, so that nothing of their size is kept or computed a second time.

    Arguments as of `ops.head_loss`.

    Args:
      over_rows: computes the head's gradient, a product of two arrays along their rows.
    """
    head = head_VxD.astype(hidden_BxTxD.dtype)

    def add(total: jax.Array, hidden: jax.Array, targets: jax.Array, weights: jax.Array) -> tuple[jax.Array, None]:
        losses_N, _ = _losses(head, _rows(hidden), targets)
        return total + jnp.sum(losses_N * weights.ravel()), None

    total, _ = _over_chunks(add, jnp.zeros((), jnp.float32), hidden_BxTxD, targets_BxT, weights_BxT, chunk)
    return total


def _forward(
    hidden_BxTxD: jax.Array,
    head_VxD: jax.Array,
    targets_BxT: jax.Array,
    weights_BxT: jax.Array,
    chunk: int,
    over_rows: OverRows,
) -> tuple[jax.Array, Gradients]:
    head = head_VxD.astype(hidden_BxTxD.dtype)

    def add(total: Any, hidden: jax.Array, targets: jax.Array, weights: jax.Array) -> tuple[Any, Any]:
        hidden_NxD, weights_N = _rows(hidden), weights.ravel()
        losses_N, log_p_NxV = _losses(head, hidden_NxD, targets)
        is_target_NxV = jnp.arange(head.shape[0])[None] == targets.reshape(-1, 1)
        by_logits_NxV = ((jnp.exp(log_p_NxV) - is_target_NxV) * weights_N[:, None]).astype(head.dtype)
        by_hidden_NxD = jnp.dot(by_logits_NxV, head, preferred_element_type=jnp.float32).astype(head.dtype)
        by_head_VxD = over_rows(by_logits_NxV, hidden_NxD)
        total = (total[0] + jnp.sum(losses_N * weights_N), total[1] + by_head_VxD)
        return total, (by_hidden_NxD.reshape(hidden.shape), losses_N.reshape(targets.shape))

    zero = (jnp.zeros((), jnp.float32), jnp.zeros(head.shape, jnp.float32))
    (loss, by_head), (by_hidden, losses) = _over_chunks(add, zero, hidden_BxTxD, targets_BxT, weights_BxT, chunk)
    return loss, (by_hidden, by_head.astype(head_VxD.dtype), losses)


def _backward(chunk: int, over_rows: OverRows, gradients: Gradients, by_loss: jax.Array) -> tuple[Any, ...]:
    by_hidden, by_head, by_weights = ((by_loss * gradient).astype(gradient.dtype) for gradient in gradients)
    return by_hidden, by_head, None, by_weights


head_loss.defvjp(_forward, _backward)


def _losses(head_VxD: jax.Array, hidden_NxD: jax.Array, targets_BxC: jax.Array) -> tuple[jax.Array, jax.Array]:
    """−log p(target) [N], and log p [N, V]."""
    logits_NxV = jnp.einsum("nd,vd->nv", hidden_NxD, head_VxD, preferred_element_type=jnp.float32)
    logits_NxV = _rows(constrain(logits_NxV.reshape(*targets_BxC.shape, -1), "batch", "length", "vocab"))
    # The target's logit as a product of its own: picking it out of the logits doubles the time on a CPU.
    targets_NxD = head_VxD[targets_BxC.ravel()]
    target_N = jnp.einsum("nd,nd->n", hidden_NxD, targets_NxD, preferred_element_type=jnp.float32)
    log_sum_N = jax.nn.logsumexp(logits_NxV, axis=-1)
    return log_sum_N - target_N, logits_NxV - log_sum_N[:, None]


def _rows(x_BxCxX: jax.Array) -> jax.Array:
    """As a matrix."""
    return x_BxCxX.reshape(-1, x_BxCxX.shape[-1])


def _over_chunks(
    add: Callable[..., tuple[Any, Any]],
    total: Any,
    hidden_BxTxD: jax.Array,
    targets_BxT: jax.Array,
    weights_BxT: jax.Array,
    chunk: int,
) -> tuple[Any, Any]:
    """`add(total, *chunk of each array)` → (total, parts), chunk after chunk: the last total, and the parts joined."""
    arrays = hidden_BxTxD, jnp.where(weights_BxT > 0, targets_BxT, 0), weights_BxT
    batch, length = targets_BxT.shape
    if not 0 < chunk < length:
        return add(total, *arrays)
    padding = -length % chunk

    def split(x: jax.Array) -> jax.Array:
        x = jnp.pad(x, [(0, 0), (0, padding)] + [(0, 0)] * (x.ndim - 2))
        return jnp.moveaxis(x.reshape(batch, -1, chunk, *x.shape[2:]), 1, 0)

    def join(x: jax.Array) -> jax.Array:
        return jnp.moveaxis(x, 0, 1).reshape(batch, -1, *x.shape[3:])[:, :length]

    total, parts = jax.lax.scan(lambda total, one: add(total, *one), total, tuple(map(split, arrays)))
    return total, jax.tree.map(join, parts)

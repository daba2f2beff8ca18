"""Cross-entropy over text tokens, in chunks of positions, so that [B, T, V] logits need never exist.

Letters: B rows, T positions, D width, V vocabulary, C positions of a chunk, N = B · C.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from pause_jax.model.ops.losses import Sums, Terms
from pause_jax.model.ops.matmul import OverRows, sum_over_rows
from pause_jax.model.partitioning import constrain

Gradients = tuple[jax.Array, jax.Array, jax.Array]  # by hidden vectors [B, T, D], head [V, D] and weights [B, T]


@functools.partial(jax.custom_vjp, nondiff_argnums=(4, 5, 6))
def head_loss(
    hidden_BxTxD: jax.Array,
    head_VxD: jax.Array,
    targets_BxT: jax.Array,
    weights_BxT: jax.Array,
    chunk: int = 0,
    terms: Terms = (),
    over_rows: OverRows = sum_over_rows,
) -> Sums:
    """Sum over positions of weight · (−log p(target) + Σ coefficient · term), float32; and what each term adds to it.

    Where its gradient is asked for, it is computed with the loss, chunk by chunk: by the logits it is p − 1 at the
    target, p elsewhere, so that nothing of their size is kept or computed a second time. A term adds its derivative
    by log Z times p, and at the target its derivative by the target's logit. The terms' own sums are for the log:
    no gradient comes through them.

    Arguments as of `ops.head_loss`.

    Args:
      over_rows: computes the head's gradient, a product of two arrays along their rows.
    """
    head = head_VxD.astype(hidden_BxTxD.dtype)

    def add(total: Sums, hidden: jax.Array, targets: jax.Array, weights: jax.Array) -> tuple[Sums, None]:
        logits = _logits(head, _rows(hidden), targets)
        losses_N, added = _losses(logits, terms)
        return _add_sums(total, losses_N, added, weights.ravel()), None

    total, _ = _over_chunks(add, _no_sums(terms), hidden_BxTxD, targets_BxT, weights_BxT, chunk)
    return total


def _forward(
    hidden_BxTxD: jax.Array,
    head_VxD: jax.Array,
    targets_BxT: jax.Array,
    weights_BxT: jax.Array,
    chunk: int,
    terms: Terms,
    over_rows: OverRows,
) -> tuple[Sums, Gradients]:
    head = head_VxD.astype(hidden_BxTxD.dtype)

    def add(total: Any, hidden: jax.Array, targets: jax.Array, weights: jax.Array) -> tuple[Any, Any]:
        hidden_NxD, weights_N = _rows(hidden), weights.ravel()
        logits = _logits(head, hidden_NxD, targets)
        losses_N, added = _losses(logits, terms)
        is_target_NxV = jnp.arange(head.shape[0])[None] == targets.reshape(-1, 1)
        by_logits_NxV = (_by_logits(logits, is_target_NxV, terms) * weights_N[:, None]).astype(head.dtype)
        by_hidden_NxD = jnp.dot(by_logits_NxV, head, preferred_element_type=jnp.float32).astype(head.dtype)
        by_head_VxD = over_rows(by_logits_NxV, hidden_NxD)
        total = (_add_sums(total[0], losses_N, added, weights_N), total[1] + by_head_VxD)
        return total, (by_hidden_NxD.reshape(hidden.shape), losses_N.reshape(targets.shape))

    zero = (_no_sums(terms), jnp.zeros(head.shape, jnp.float32))
    (sums, by_head), (by_hidden, losses) = _over_chunks(add, zero, hidden_BxTxD, targets_BxT, weights_BxT, chunk)
    return sums, (by_hidden, by_head.astype(head_VxD.dtype), losses)


def _backward(chunk: int, terms: Terms, over_rows: OverRows, gradients: Gradients, by_sums: Sums) -> tuple[Any, ...]:
    by_loss, _ = by_sums
    by_hidden, by_head, by_weights = ((by_loss * gradient).astype(gradient.dtype) for gradient in gradients)
    return by_hidden, by_head, None, by_weights


head_loss.defvjp(_forward, _backward)


@dataclasses.dataclass(frozen=True)
class _Logits:
    """What a chunk's losses and their gradients are made of."""

    log_p_NxV: jax.Array
    log_z_N: jax.Array  # Z: the sum of exp(logits)
    target_N: jax.Array  # the target's logit


def _logits(head_VxD: jax.Array, hidden_NxD: jax.Array, targets_BxC: jax.Array) -> _Logits:
    logits_NxV = jnp.einsum("nd,vd->nv", hidden_NxD, head_VxD, preferred_element_type=jnp.float32)
    logits_NxV = _rows(constrain(logits_NxV.reshape(*targets_BxC.shape, -1), "batch", "length", "vocab"))
    # The target's logit as a product of its own: picking it out of the logits doubles the time on a CPU.
    targets_NxD = head_VxD[targets_BxC.ravel()]
    target_N = jnp.einsum("nd,nd->n", hidden_NxD, targets_NxD, preferred_element_type=jnp.float32)
    log_z_N = jax.nn.logsumexp(logits_NxV, axis=-1)
    return _Logits(logits_NxV - log_z_N[:, None], log_z_N, target_N)


def _losses(logits: _Logits, terms: Terms) -> tuple[jax.Array, list[jax.Array]]:
    """The loss of each position [N], and of it what each term adds [N]."""
    added = [coefficient * term(logits.log_z_N, logits.target_N) for coefficient, term in terms]
    return sum(added, logits.log_z_N - logits.target_N), added


def _by_logits(logits: _Logits, is_target_NxV: jax.Array, terms: Terms) -> jax.Array:
    """Derivatives of the losses by the logits [N, V]."""
    p_NxV = jnp.exp(logits.log_p_NxV)
    gradient_NxV = p_NxV - is_target_NxV
    for coefficient, term in terms:
        _, derivatives = jax.vjp(term, logits.log_z_N, logits.target_N)
        by_log_z_N, by_target_N = derivatives(jnp.full_like(logits.log_z_N, coefficient))
        gradient_NxV += by_log_z_N[:, None] * p_NxV + by_target_N[:, None] * is_target_NxV
    return gradient_NxV


def _no_sums(terms: Terms) -> Sums:
    zero = jnp.zeros((), jnp.float32)
    return zero, (zero,) * len(terms)


def _add_sums(total: Sums, losses_N: jax.Array, added: list[jax.Array], weights_N: jax.Array) -> Sums:
    loss, terms = total
    more = (jnp.sum(cost_N * weights_N) for cost_N in added)
    return loss + jnp.sum(losses_N * weights_N), tuple(map(jnp.add, terms, more))


def _rows(x_BxCxX: jax.Array) -> jax.Array:
    """As a matrix: on a CPU products of matrices are much faster than batches of products, transposes included."""
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

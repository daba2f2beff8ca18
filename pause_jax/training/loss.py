"""Cross-entropy over text tokens, in chunks of positions, so that [B, T, V] logits need never exist.

Letters: B rows, T positions, D width, V vocabulary, C positions of a chunk.
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp

from pause_jax.model.partitioning import constrain


def cross_entropy_sum(hidden_BxTxD: jax.Array, head_VxD: jax.Array, targets_BxT: jax.Array, weights_BxT: jax.Array,
                      chunk: int = 0) -> jax.Array:  # fmt: skip
    """Sum over positions of weight · (−log p(target)), in nats, float32.

    Args:
      hidden_BxTxD: the decoder's output; its dtype is that of the matmul, whose sums are float32.
      head_VxD: the output matrix.
      targets_BxT: int32; where the weight is 0 any value, pauses (≥ V) included.
      weights_BxT: float32.
      chunk: positions of each row whose logits exist at a time, recomputed for the gradient; 0: all, kept.
    """
    targets_BxT = jnp.where(weights_BxT > 0, targets_BxT, 0)
    head_VxD = head_VxD.astype(hidden_BxTxD.dtype)
    length = hidden_BxTxD.shape[1]
    if not 0 < chunk < length:
        return _chunk_sum(head_VxD, hidden_BxTxD, targets_BxT, weights_BxT)
    padding = -length % chunk

    def split(x: jax.Array) -> jax.Array:
        x = jnp.pad(x, [(0, 0), (0, padding)] + [(0, 0)] * (x.ndim - 2))
        return jnp.moveaxis(x.reshape(x.shape[0], -1, chunk, *x.shape[2:]), 1, 0)

    chunk_sum = jax.checkpoint(functools.partial(_chunk_sum, head_VxD))

    def add(total: jax.Array, one: tuple[jax.Array, ...]) -> tuple[jax.Array, None]:
        return total + chunk_sum(*one), None

    total, _ = jax.lax.scan(
        add, jnp.zeros((), jnp.float32), (split(hidden_BxTxD), split(targets_BxT), split(weights_BxT))
    )
    return total


def _chunk_sum(
    head_VxD: jax.Array, hidden_BxCxD: jax.Array, targets_BxC: jax.Array, weights_BxC: jax.Array
) -> jax.Array:
    logits_BxCxV = jnp.einsum("bcd,vd->bcv", hidden_BxCxD, head_VxD, preferred_element_type=jnp.float32)
    logits_BxCxV = constrain(logits_BxCxV, "batch", "length", "vocab")
    # The label's logit as a product of its own: picking it out of the logits doubles the time on a CPU.
    label_BxC = jnp.einsum("bcd,bcd->bc", hidden_BxCxD, head_VxD[targets_BxC], preferred_element_type=jnp.float32)
    losses_BxC = jax.nn.logsumexp(logits_BxCxV, axis=-1) - label_BxC
    return jnp.sum(losses_BxC * weights_BxC)

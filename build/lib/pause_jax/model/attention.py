"""Who may attend to whom, and attention itself.

Letters: B rows, T query positions, S key positions, H query heads, K key/value heads, G = H / K, E head size.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp

from pause_jax.errors import UserError
from pause_jax.model.partitioning import constrain

_SMALLEST_BLOCK = 64  # queries: products of less than that are no faster


@dataclasses.dataclass(frozen=True)
class Mask:
    """The one description of a mask: each back end makes of it what its kernel wants, or raises.

    Key s may be attended to from query t when both are in one segment, segment 0 (padding) excepted, and
    either s is not after t, or both are among the first `bidirectional` positions.
    """

    q_segments_BxT: jax.Array
    k_segments_BxS: jax.Array
    first_query: jax.Array | int = 0  # index among the keys of query 0: 0 without a cache
    bidirectional: jax.Array | int = 0  # the same for all rows, or int32 [B]

    def may_attend_BxTxS(self) -> jax.Array:
        """The mask as booleans."""
        t_1xTx1 = self.first_query + jnp.arange(self.q_segments_BxT.shape[1])[None, :, None]
        s_1x1xS = jnp.arange(self.k_segments_BxS.shape[1])[None, None, :]
        both_ways = jnp.reshape(self.bidirectional, (-1, 1, 1))
        in_order = (s_1x1xS <= t_1xTx1) | ((t_1xTx1 < both_ways) & (s_1x1xS < both_ways))
        q_BxTx1, k_Bx1xS = self.q_segments_BxT[:, :, None], self.k_segments_BxS[:, None, :]
        return in_order & (q_BxTx1 == k_Bx1xS) & (k_Bx1xS > 0)


def attend(q_BxTxHxE: jax.Array, k_BxSxKxE: jax.Array, v_BxSxKxE: jax.Array, mask: Mask, backend: str,
           blocks: int = 1) -> jax.Array:  # fmt: skip
    """Softmax attention, scaled by 1/sqrt(E), as [B, T, H, E] in the dtype of `q`; softmax in float32.

    All back ends (`Execution.attention`) give the same but for rounding, and but for padding queries, whose output is
    some finite numbers.

    Args:
      blocks: of "xla": how many blocks the queries are cut into, each of which leaves out the keys that come after it.

    Raises:
      UserError: the back end cannot serve the mask, the shapes or the dtype; there is none that is used instead.
      NotImplementedError: there is no such back end.
    """
    if backend == "xla":
        return _attend_xla(q_BxTxHxE, k_BxSxKxE, v_BxSxKxE, mask, blocks)
    if backend == "cudnn":
        return _attend_cudnn(q_BxTxHxE, k_BxSxKxE, v_BxSxKxE, mask)
    if backend == "splash":
        from pause_jax.model import splash  # Pallas takes a second to import

        return splash.attend(q_BxTxHxE, k_BxSxKxE, v_BxSxKxE, mask)
    raise NotImplementedError(f"attention back end {backend!r}: there are 'xla', 'splash' and 'cudnn'")


def _attend_xla(q_BxTxHxE: jax.Array, k_BxSxKxE: jax.Array, v_BxSxKxE: jax.Array, mask: Mask, blocks: int) -> jax.Array:
    batch, length, heads, size = q_BxTxHxE.shape
    kv_heads = k_BxSxKxE.shape[2]
    # Heads first: on a CPU products of matrices that lie together are faster, transposes included.
    q_BxKxGxTxE = q_BxTxHxE.reshape(batch, length, kv_heads, heads // kv_heads, size).transpose(0, 2, 3, 1, 4)
    k_BxKxSxE, v_BxKxSxE = jnp.swapaxes(k_BxSxKxE, 1, 2), jnp.swapaxes(v_BxSxKxE, 1, 2)
    may_attend_BxTxS = mask.may_attend_BxTxS()
    outs = []
    for start, end, keys in _blocks(length, k_BxSxKxE.shape[1], mask, blocks):
        block = slice(start, end)
        q_BxKxRxE = q_BxKxGxTxE[:, :, :, block].reshape(batch, kv_heads, -1, size)  # R = G · queries of the block
        may_attend = may_attend_BxTxS[:, block, :keys]
        out_BxKxRxE = _attend_block(q_BxKxRxE, k_BxKxSxE[:, :, :keys], v_BxKxSxE[:, :, :keys], may_attend)
        outs.append(out_BxKxRxE.reshape(*q_BxKxGxTxE.shape[:3], end - start, size))
    out_BxKxGxTxE = jnp.concatenate(outs, axis=3)
    return out_BxKxGxTxE.transpose(0, 3, 1, 2, 4).reshape(q_BxTxHxE.shape).astype(q_BxTxHxE.dtype)


@jax.custom_vjp
def _attend_block(q_BxKxRxE: jax.Array, k_BxKxSxE: jax.Array, v_BxKxSxE: jax.Array,
                  may_attend_BxTxS: jax.Array) -> jax.Array:  # fmt: skip
    """Attention of R = G · T queries, float32. Sums are divided by after the product with the values, and the gradient
    takes its row sums from gradient · output: both are of size E where XLA's own go over all keys."""
    return _attend_block_forward(q_BxKxRxE, k_BxKxSxE, v_BxKxSxE, may_attend_BxTxS)[0]


def _attend_block_forward(q: jax.Array, k: jax.Array, v: jax.Array, may_attend: jax.Array) -> tuple[jax.Array, Any]:
    batch, kv_heads, _, size = q.shape
    _, queries, keys = may_attend.shape
    q = q * size**-0.5
    scores = jnp.einsum("bkre,bkse->bkrs", q, k, preferred_element_type=jnp.float32)
    # finite, so that a padding query, which may attend to nothing, gives numbers rather than NaN
    masked = jnp.where(may_attend[:, None, None], scores.reshape(batch, kv_heads, -1, queries, keys), -1e30)
    masked = masked.reshape(scores.shape)
    weights = jnp.exp(masked - jnp.max(masked, axis=-1, keepdims=True))
    sums_BxKxRx1 = jnp.sum(weights, axis=-1, keepdims=True)
    weights = weights.astype(v.dtype)
    out = jnp.einsum("bkrs,bkse->bkre", weights, v, preferred_element_type=jnp.float32) / sums_BxKxRx1
    return out, (q, k, v, weights, sums_BxKxRx1, out)


def _attend_block_backward(kept: Any, gradient_BxKxRxE: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array, None]:
    q, k, v, weights, sums_BxKxRx1, out = kept
    gradient = gradient_BxKxRxE / sums_BxKxRx1
    row_sums_BxKxRx1 = jnp.sum(gradient * out, axis=-1, keepdims=True)
    gradient = gradient.astype(v.dtype)
    of_v = jnp.einsum("bkrs,bkre->bkse", weights, gradient, preferred_element_type=jnp.float32)
    of_weights = jnp.einsum("bkre,bkse->bkrs", gradient, v, preferred_element_type=jnp.float32)
    of_scores = (weights * (of_weights - row_sums_BxKxRx1)).astype(k.dtype)
    of_q = jnp.einsum("bkrs,bkse->bkre", of_scores, k, preferred_element_type=jnp.float32) * q.shape[-1] ** -0.5
    of_k = jnp.einsum("bkrs,bkre->bkse", of_scores, q, preferred_element_type=jnp.float32)
    return of_q.astype(q.dtype), of_k.astype(k.dtype), of_v.astype(v.dtype), None


_attend_block.defvjp(_attend_block_forward, _attend_block_backward)


def _blocks(queries: int, keys: int, mask: Mask, count: int) -> Iterator[tuple[int, int, int]]:
    """(first query, end of the queries, how many of the keys they may see) of each block, in at most `count`."""
    if count == 1 or not isinstance(mask.first_query, int) or not isinstance(mask.bidirectional, int):
        yield 0, queries, keys  # what can be left out is not known when this is compiled
        return
    size = max(_SMALLEST_BLOCK, -(-queries // count))
    for start in range(0, queries, size):
        end = min(start + size, queries)
        seen = mask.first_query + end
        both_ways = mask.bidirectional if mask.first_query + start < mask.bidirectional else 0
        yield start, end, min(max(seen, both_ways), keys)


def _attend_cudnn(q_BxTxHxE: jax.Array, k_BxSxKxE: jax.Array, v_BxSxKxE: jax.Array, mask: Mask) -> jax.Array:
    """cuDNN's kernel, with the whole mask in memory. Unverified until it has run on a GPU."""
    length = q_BxTxHxE.shape[1]
    # a padding query may attend to everything, lest it attend to nothing
    mask_BxTxS = mask.may_attend_BxTxS() | (mask.q_segments_BxT == 0)[:, :, None]
    odd_t, odd_s = (n % 2 for n in mask_BxTxS.shape[1:])  # its backward pass wants even lengths
    mask_Bx1xTxS = jnp.pad(mask_BxTxS, [(0, 0), (0, odd_t), (0, odd_s)])[:, None]
    q, k, v = (
        constrain(jnp.pad(x, [(0, 0), (0, odd), (0, 0), (0, 0)]), "batch", None, "row_heads", "head")
        for x, odd in ((q_BxTxHxE, odd_t), (k_BxSxKxE, odd_s), (v_BxSxKxE, odd_s))
    )
    try:
        out = jax.nn.dot_product_attention(q, k, v, mask=mask_Bx1xTxS, implementation="cudnn")
    except (NotImplementedError, RuntimeError) as error:
        shapes = f"queries {q_BxTxHxE.shape} and keys {k_BxSxKxE.shape} in {q_BxTxHxE.dtype}"
        raise UserError(
            f"config.run.execution.attention = 'cudnn' cannot serve {shapes}: {error} "
            "Set --config.run.execution.attention=xla"
        ) from error
    return out[:, :length]

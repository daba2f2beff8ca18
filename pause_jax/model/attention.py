"""Attention. Who may attend to whom is said in mask.py.

Letters: B rows, T query positions, S key positions, H query heads, K key/value heads, G = H / K, E head size.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp

from pause_jax.errors import UserError
from pause_jax.model.mask import Mask, query_blocks
from pause_jax.model.partitioning import constrain
from pause_jax.model.products import as_operand, takes_copies, turned

_SMALLEST_BLOCK = 64  # queries: products of less than that are no faster


def attend(
    q_BxTxHxE: jax.Array,
    k_BxSxKxE: jax.Array,
    v_BxSxKxE: jax.Array,
    mask: Mask,
    backend: str,
    blocks: int = 1,
    row_major: bool = False,
) -> jax.Array:
    """Softmax attention, scaled by 1/sqrt(E), as [B, T, H, E] in the dtype of `q`; softmax in float32.

    All back ends (`Execution.attention`) give the same but for rounding, and but for padding queries, whose output is
    some finite numbers.

    Args:
      blocks: of "xla": how many blocks the queries are cut into, each of which leaves out the keys that come after it.
      row_major: of "xla": as of `Execution.row_major`.

    Raises:
      UserError: the back end cannot serve the mask, the shapes or the dtype; there is none that is used instead.
      NotImplementedError: there is no such back end.
    """
    if backend == "xla":
        return _attend_xla(q_BxTxHxE, k_BxSxKxE, v_BxSxKxE, mask, blocks, row_major)
    if backend == "cudnn":
        return _attend_cudnn(q_BxTxHxE, k_BxSxKxE, v_BxSxKxE, mask)
    if backend == "splash":
        from pause_jax.model import splash  # Pallas takes a second to import

        return splash.attend(q_BxTxHxE, k_BxSxKxE, v_BxSxKxE, mask)
    raise NotImplementedError(f"attention back end {backend!r}: there are 'xla', 'splash' and 'cudnn'")


def _attend_xla(
    q_BxTxHxE: jax.Array, k_BxSxKxE: jax.Array, v_BxSxKxE: jax.Array, mask: Mask, blocks: int, row_major: bool
) -> jax.Array:
    batch, length, heads, size = q_BxTxHxE.shape
    kv_heads = k_BxSxKxE.shape[2]
    # Heads first: on a CPU products of matrices that lie together are faster, transposes included.
    q_BxTxKxGxE = q_BxTxHxE.reshape(batch, length, kv_heads, heads // kv_heads, size)
    q_BxKxGxTxE = as_operand(q_BxTxKxGxE.transpose(0, 2, 3, 1, 4), row_major)
    k_BxKxSxE, v_BxKxSxE = (as_operand(jnp.swapaxes(x, 1, 2), row_major) for x in (k_BxSxKxE, v_BxSxKxE))
    spans = tuple(_blocks(length, k_BxSxKxE.shape[1], mask, blocks))
    out_BxKxGxTxE = _attend_blocks(q_BxKxGxTxE, k_BxKxSxE, v_BxKxSxE, mask.may_attend_BxTxS(), spans, row_major)
    return out_BxKxGxTxE.transpose(0, 3, 1, 2, 4).reshape(q_BxTxHxE.shape).astype(q_BxTxHxE.dtype)


_Spans = tuple[tuple[int, int, int], ...]  # of `_blocks`


@functools.partial(jax.custom_vjp, nondiff_argnums=(4, 5))
def _attend_blocks(
    q_BxKxGxTxE: jax.Array,
    k_BxKxSxE: jax.Array,
    v_BxKxSxE: jax.Array,
    may_attend_BxTxS: jax.Array,
    spans: _Spans,
    row_major: bool,
) -> jax.Array:
    """Attention, block by block of queries, float32. Sums are divided by after the product with the values, and the
    gradient takes its row sums from gradient · output: both are of size E where XLA's own go over all keys."""
    return _attend_blocks_forward(q_BxKxGxTxE, k_BxKxSxE, v_BxKxSxE, may_attend_BxTxS, spans, row_major)[0]


def _attend_blocks_forward(
    q_BxKxGxTxE: jax.Array,
    k_BxKxSxE: jax.Array,
    v_BxKxSxE: jax.Array,
    may_attend_BxTxS: jax.Array,
    spans: _Spans,
    row_major: bool,
) -> tuple[jax.Array, Any]:
    outs, kept = [], []
    q_BxKxGxTxE = q_BxKxGxTxE * q_BxKxGxTxE.shape[-1] ** -0.5
    for start, end, keys in spans:
        q_BxKxRxE = _rows(q_BxKxGxTxE[:, :, :, start:end])
        k, v, may_attend = k_BxKxSxE[:, :, :keys], v_BxKxSxE[:, :, :keys], may_attend_BxTxS[:, start:end, :keys]
        scores_BxKxRxS = jnp.einsum("bkre,bkse->bkrs", q_BxKxRxE, k, preferred_element_type=jnp.float32)
        by_group = scores_BxKxRxS.reshape(*scores_BxKxRxS.shape[:2], -1, end - start, keys)
        # finite, so that a padding query, which may attend to nothing, gives numbers rather than NaN
        masked_BxKxRxS = jnp.where(may_attend[:, None, None], by_group, -1e30).reshape(scores_BxKxRxS.shape)
        weights = jnp.exp(masked_BxKxRxS - jnp.max(masked_BxKxRxS, axis=-1, keepdims=True))
        sums_BxKxRx1 = jnp.sum(weights, axis=-1, keepdims=True)
        weights = weights.astype(v.dtype)
        out_BxKxRxE = jnp.einsum("bkrs,bkse->bkre", weights, v, preferred_element_type=jnp.float32) / sums_BxKxRx1
        outs.append(out_BxKxRxE.reshape(q_BxKxGxTxE[:, :, :, start:end].shape))
        kept.append((weights, sums_BxKxRx1))
    out_BxKxGxTxE = jnp.concatenate(outs, axis=3)
    return out_BxKxGxTxE, (q_BxKxGxTxE, k_BxKxSxE, v_BxKxSxE, out_BxKxGxTxE, kept)


def _attend_blocks_backward(
    spans: _Spans, row_major: bool, residuals: Any, gradient_BxKxGxTxE: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array, None]:
    q_BxKxGxTxE, k_BxKxSxE, v_BxKxSxE, out_BxKxGxTxE, kept = residuals
    dtype, scale = k_BxKxSxE.dtype, q_BxKxGxTxE.shape[-1] ** -0.5
    of_k, of_v = (jnp.zeros(x.shape, jnp.float32) for x in (k_BxKxSxE, v_BxKxSxE))
    of_q = []
    for (start, end, keys), (weights, sums_BxKxRx1) in zip(spans, kept, strict=True):
        q, out, gradient = (_rows(x[:, :, :, start:end]) for x in (q_BxKxGxTxE, out_BxKxGxTxE, gradient_BxKxGxTxE))
        k, v = k_BxKxSxE[:, :, :keys], v_BxKxSxE[:, :, :keys]
        gradient = gradient / sums_BxKxRx1
        row_sums_BxKxRx1 = jnp.sum(gradient * out, axis=-1, keepdims=True)
        gradient = gradient.astype(dtype)
        of_weights = jnp.einsum("bkre,bkse->bkrs", gradient, v, preferred_element_type=jnp.float32)
        of_scores = (weights * (of_weights - row_sums_BxKxRx1)).astype(dtype)
        of_q_BxKxRxE = jnp.einsum("bkrs,bkse->bkre", of_scores, k, preferred_element_type=jnp.float32) * scale
        of_q.append(of_q_BxKxRxE.reshape(q_BxKxGxTxE[:, :, :, start:end].shape))
        of_k = _add_first(of_k, _over_queries(of_scores, q, row_major))
        of_v = _add_first(of_v, _over_queries(weights, gradient, row_major))
    return jnp.concatenate(of_q, axis=3).astype(dtype), of_k.astype(dtype), of_v.astype(dtype), None


_attend_blocks.defvjp(_attend_blocks_forward, _attend_blocks_backward)


def _rows(x_BxKxGxTxE: jax.Array) -> jax.Array:
    """As [B, K, R, E]: R = G · T."""
    batch, kv_heads, _, _, size = x_BxKxGxTxE.shape
    return x_BxKxGxTxE.reshape(batch, kv_heads, -1, size)


def _over_queries(x_BxKxRxS: jax.Array, y_BxKxRxE: jax.Array, row_major: bool) -> jax.Array:
    """xᵀ · y [B, K, S, E], float32."""
    if not takes_copies(x_BxKxRxS, row_major):
        return jnp.einsum("bkrs,bkre->bkse", x_BxKxRxS, y_BxKxRxE, preferred_element_type=jnp.float32)
    return jnp.einsum("bksr,bkre->bkse", turned(x_BxKxRxS), y_BxKxRxE, preferred_element_type=jnp.float32)


def _add_first(total_BxKxSxE: jax.Array, x_BxKxSxE: jax.Array) -> jax.Array:
    """`x`, of the first keys, added to `total`, in place."""
    first = total_BxKxSxE[:, :, : x_BxKxSxE.shape[2]]
    return jax.lax.dynamic_update_slice(total_BxKxSxE, first + x_BxKxSxE, (0, 0, 0, 0))


def _blocks(queries: int, keys: int, mask: Mask, count: int) -> Iterator[tuple[int, int, int]]:
    if count == 1 or not mask.is_static:  # what can be left out is not known when this is compiled
        return iter([(0, queries, keys)])
    size = max(_SMALLEST_BLOCK, -(-queries // count))
    return query_blocks(
        queries,
        keys,
        size,
        first_query=mask.first_query,  # type: ignore[arg-type] # it is static
        prefix_lm_length=mask.prefix_lm_length,  # type: ignore[arg-type]
        rule=mask.rule,
    )


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

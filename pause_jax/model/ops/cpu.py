"""The operations in the form that is fastest on XLA's CPU back end; docs/performance.md has each trick's measurement.

Letters: see `ops/__init__.py`; G = H / K, R rows of a product.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp

from pause_jax.model.mask import Mask, query_blocks
from pause_jax.model.ops import chunked_loss
from pause_jax.model.ops.losses import Sums, Terms
from pause_jax.model.ops.matmul import matmul
from pause_jax.model.ops.matmul import sum_over_rows as plain_sum_over_rows

# A product of so many rows or fewer with a matrix is computed with the matrix on the left, which takes a third of the
# time; before decoding, kernels are transposed for that, in a copy.
FEW_ROWS = 32
FEW_TOKENS = 8  # fewer are decoded sooner than kernels are transposed for it
QUERY_BLOCKS = 4  # of attention, at most; each leaves out the keys after those that its queries may see
_SMALLEST_BLOCK = 64  # queries: products of less than that are no faster


def linear(x: jax.Array, kernel: jax.Array, transposed: bool) -> jax.Array:
    """See `ops.linear`. One matrix product over all rows: twice as fast as a batched one, backward pass included."""
    if not transposed:
        return matmul(x.reshape(-1, x.shape[-1]), kernel, sum_over_rows).reshape(*x.shape[:-1], -1)
    if math.prod(x.shape[:-1]) <= FEW_ROWS:
        return _times_few_rows(kernel, x.reshape(-1, x.shape[-1])).reshape(*x.shape[:-1], -1)
    return jnp.einsum("...i,oi->...o", x, kernel, preferred_element_type=jnp.float32)


def transposes_for_decoding(rows: int, new_tokens: int) -> bool:
    """See `ops.transposes_for_decoding`."""
    return 1 < rows <= FEW_ROWS and new_tokens >= FEW_TOKENS


def head_loss(
    hidden_BxTxD: jax.Array,
    head_VxD: jax.Array,
    targets_BxT: jax.Array,
    weights_BxT: jax.Array,
    chunk: int = 0,
    terms: Terms = (),
) -> Sums:
    """See `ops.head_loss`."""
    return chunked_loss.head_loss(hidden_BxTxD, head_VxD, targets_BxT, weights_BxT, chunk, terms, sum_over_rows)


def attention(
    q_BxTxHxE: jax.Array, k_BxSxKxE: jax.Array, v_BxSxKxE: jax.Array, mask: Mask, kernel: str = "xla"
) -> jax.Array:
    """See `ops.attention`."""
    batch, length, heads, size = q_BxTxHxE.shape
    keys, num_kv_heads = k_BxSxKxE.shape[1:3]
    # Heads first: products of matrices that lie together are faster, transposes included.
    q_BxTxKxGxE = q_BxTxHxE.reshape(batch, length, num_kv_heads, heads // num_kv_heads, size)
    q_BxKxGxTxE = _as_operand(q_BxTxKxGxE.transpose(0, 2, 3, 1, 4))
    k_BxKxSxE, v_BxKxSxE = (_as_operand(jnp.swapaxes(x, 1, 2)) for x in (k_BxSxKxE, v_BxSxKxE))
    if mask.is_static:
        assert isinstance(mask.first_query, int) and isinstance(mask.prefix_lm_length, int)
        spans = tuple(query_spans(length, keys, mask.first_query, mask.prefix_lm_length, mask.rule))
    else:  # what can be left out is not known when this is compiled
        spans = ((0, length, keys),)
    out_BxKxGxTxE = _attend_blocks(q_BxKxGxTxE, k_BxKxSxE, v_BxKxSxE, mask.may_attend_BxTxS(), spans)
    return out_BxKxGxTxE.transpose(0, 3, 1, 2, 4).reshape(q_BxTxHxE.shape).astype(q_BxTxHxE.dtype)


def query_spans(
    queries: int, keys: int, first_query: int = 0, prefix_lm_length: int = 0, rule: str = "prefix_lm"
) -> Iterator[tuple[int, int, int]]:
    """(first query, end of the queries, how many of the keys they may see) of each block of attention's queries."""
    size = max(_SMALLEST_BLOCK, -(-queries // QUERY_BLOCKS))
    return query_blocks(queries, keys, size, first_query=first_query, prefix_lm_length=prefix_lm_length, rule=rule)


_Spans = tuple[tuple[int, int, int], ...]  # of `query_spans`


@functools.partial(jax.custom_vjp, nondiff_argnums=(4,))
def _attend_blocks(
    q_BxKxGxTxE: jax.Array,
    k_BxKxSxE: jax.Array,
    v_BxKxSxE: jax.Array,
    may_attend_BxTxS: jax.Array,
    spans: _Spans,
) -> jax.Array:
    """Attention, block by block of queries, float32.

    The softmax's sums are divided by after the product with the values, and the gradient takes its row sums from
    gradient · output: both touch arrays of size E where XLA's own forms go over all keys.
    """
    return _attend_blocks_forward(q_BxKxGxTxE, k_BxKxSxE, v_BxKxSxE, may_attend_BxTxS, spans)[0]


def _attend_blocks_forward(
    q_BxKxGxTxE: jax.Array,
    k_BxKxSxE: jax.Array,
    v_BxKxSxE: jax.Array,
    may_attend_BxTxS: jax.Array,
    spans: _Spans,
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
    spans: _Spans, residuals: Any, gradient_BxKxGxTxE: jax.Array
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
        of_k = _add_first(of_k, _over_queries(of_scores, q))
        of_v = _add_first(of_v, _over_queries(weights, gradient))
    return jnp.concatenate(of_q, axis=3).astype(dtype), of_k.astype(dtype), of_v.astype(dtype), None


_attend_blocks.defvjp(_attend_blocks_forward, _attend_blocks_backward)


def _rows(x_BxKxGxTxE: jax.Array) -> jax.Array:
    """As [B, K, R, E]: R = G · T."""
    batch, num_kv_heads, _, _, size = x_BxKxGxTxE.shape
    return x_BxKxGxTxE.reshape(batch, num_kv_heads, -1, size)


def _over_queries(x_BxKxRxS: jax.Array, y_BxKxRxE: jax.Array) -> jax.Array:
    """xᵀ · y [B, K, S, E], float32."""
    if not _takes_copies(x_BxKxRxS):
        return jnp.einsum("bkrs,bkre->bkse", x_BxKxRxS, y_BxKxRxE, preferred_element_type=jnp.float32)
    return jnp.einsum("bksr,bkre->bkse", _turned(x_BxKxRxS), y_BxKxRxE, preferred_element_type=jnp.float32)


def _add_first(total_BxKxSxE: jax.Array, x_BxKxSxE: jax.Array) -> jax.Array:
    """`x`, of the first keys, added to `total`, in place."""
    first = total_BxKxSxE[:, :, : x_BxKxSxE.shape[2]]
    return jax.lax.dynamic_update_slice(total_BxKxSxE, first + x_BxKxSxE, (0, 0, 0, 0))


def sum_over_rows(x_RxI: jax.Array, y_RxO: jax.Array) -> jax.Array:
    """xᵀ · y [I, O], float32."""
    if not _takes_copies(x_RxI):
        return plain_sum_over_rows(x_RxI, y_RxO)
    if x_RxI.shape[1] <= y_RxO.shape[1]:
        return jnp.einsum("ir,ro->io", _turned(x_RxI), y_RxO, preferred_element_type=jnp.float32)
    product_OxI = jnp.einsum("or,ri->oi", _turned(y_RxO), x_RxI, preferred_element_type=jnp.float32)
    return jax.lax.optimization_barrier(product_OxI).T  # without it XLA transposes x after all, the larger one


def _times_few_rows(matrix_OxI: jax.Array, x_RxI: jax.Array) -> jax.Array:
    """x · matrixᵀ [R, O], float32, with the matrix on the left."""
    return jnp.einsum("oi,ri->or", matrix_OxI, x_RxI, preferred_element_type=jnp.float32).T


def _takes_copies(x: jax.Array) -> bool:
    """Whether transposes of `x` are copied, so that their rows lie together, before they are operands.

    XLA's CPU back end computes bfloat16 products of uncopied transposes in float32, in three times the time where the
    CPU has instructions for bfloat16.
    """
    return x.dtype == jnp.bfloat16


def _as_operand(x: jax.Array) -> jax.Array:
    """`x`, which is a transpose; copied so that its rows lie together in memory where it `_takes_copies`."""
    return _by_rows(x) if _takes_copies(x) else x


def _turned(x: jax.Array) -> jax.Array:
    """A copy of `x` with its last two axes exchanged."""
    return _by_rows(jnp.swapaxes(x, -1, -2))


def _by_rows(x: jax.Array) -> jax.Array:
    # The shape [1, ...] takes the layout of nothing before it, and the barrier keeps XLA from folding it away.
    return jax.lax.optimization_barrier(x[None])[0]

"""The decoder's forward pass, layer by layer, with the attention weights and the residual stream of each layer.

The residual stream is the decoder's own; the attention weights, which its kernels do not return, are computed again
beside it. One layer's are in memory at a time.

Letters: B rows, T positions, S key positions, D width, N layers, H query heads, K key/value heads, G = H / K, E head
size.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from pause_jax.config.model import Execution, ModelConfig
from pause_jax.model import decoder, rope
from pause_jax.model.layers import Attention, ForwardContext
from pause_jax.model.mask import Mask

PLAIN = Execution(kernels="reference", attention="xla", scan_layers="off", remat="none")  # runs on every platform


@dataclasses.dataclass(frozen=True)
class LayerView:
    """The attention of one layer, and the residual stream after it."""

    attention_BxHxTxS: jax.Array  # float32; each query's weights sum to 1, those of padding queries mean nothing
    residual_BxTxD: jax.Array  # after the layer, in the compute dtype, before any final norm


@functools.partial(jax.jit, static_argnames="config")
def embed(params: dict[str, Any], config: ModelConfig, ids_BxT: Any, positions_BxT: Any) -> jax.Array:
    """The residual stream before the first layer [B, T, D]."""
    return decoder.bind(params, config, PLAIN).embed(ids_BxT, positions_BxT)


def run_layers(
    params: dict[str, Any],
    config: ModelConfig,
    residual_BxTxD: jax.Array,
    positions_BxT: Any,
    segments_BxT: Any,
    prefix_lm_length: int,
) -> Iterator[LayerView]:
    """Each of the N layers in turn, the first on `residual_BxTxD` from `embed`; arguments as of the decoder.

    All layers are one compilation.
    """
    for layer in range(config.num_layers):
        attention, residual_BxTxD = _run_layer(
            params,
            residual_BxTxD,
            positions_BxT,
            segments_BxT,
            jnp.int32(layer),
            config=config,
            prefix_lm_length=prefix_lm_length,
        )
        yield LayerView(attention, residual_BxTxD)


@functools.partial(jax.jit, static_argnames=("config", "prefix_lm_length"))
def _run_layer(
    params: dict[str, Any],
    x_BxTxD: jax.Array,
    positions_BxT: jax.Array,
    segments_BxT: jax.Array,
    number: jax.Array,
    *,
    config: ModelConfig,
    prefix_lm_length: int,
) -> tuple[jax.Array, jax.Array]:
    """(attention weights, the residual stream after the layer) of layer `number`."""
    graph, stacked = nnx.split(decoder.bind(params, config, PLAIN).layers)
    layer = nnx.merge(graph, jax.tree.map(lambda leaf: leaf[number], stacked))
    context = ForwardContext(
        mask=Mask(segments_BxT, segments_BxT, 0, prefix_lm_length, config.mask),
        cos_sin=rope.angles(positions_BxT, config) if config.positions == "rope" else None,
    )
    read = x_BxTxD if layer.post_norm else layer.attention_norm(x_BxTxD)
    written, _ = layer(x_BxTxD, context, None, number, PLAIN)
    return attention_weights(layer.attention, read, context), written


def attention_weights(attention: Attention, x_BxTxD: jax.Array, context: ForwardContext) -> jax.Array:
    """The softmax weights [B, H, T, S] by which a layer's attention averages values, float32.

    Args:
      x_BxTxD: what the attention reads: the residual stream, normalised where the norm comes first.
    """
    q, k = attention.q(x_BxTxD, PLAIN), attention.k(x_BxTxD, PLAIN)
    if attention.q_norm is not None and attention.k_norm is not None:
        q, k = attention.q_norm(q), attention.k_norm(k)
    if context.cos_sin is not None:
        q, k = rope.rotate(q, context.cos_sin), rope.rotate(k, context.cos_sin)
    batch, length, heads, size = q.shape
    q_BxTxKxGxE = q.reshape(batch, length, k.shape[2], -1, size)
    scores = jnp.einsum("btkge,bske->bkgts", q_BxTxKxGxE, k, preferred_element_type=jnp.float32) * size**-0.5
    may_attend_Bx1xTxS = context.mask.may_attend_BxTxS()[:, None]
    scores_BxHxTxS = scores.reshape(batch, heads, length, -1)
    return jax.nn.softmax(jnp.where(may_attend_Bx1xTxS, scores_BxHxTxS, -1e30), axis=-1)

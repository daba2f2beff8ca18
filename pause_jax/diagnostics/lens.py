"""The logit lens: what a run would answer if the network ended after an earlier layer, at each of its pauses.

The residual stream goes through the final norm and the head as if the layer were the last; after the last layer that
is what the run itself predicts.

Letters: B rows, T positions, L positions looked at, D width, V vocabulary.
"""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp

from pause_jax.config.model import ModelConfig
from pause_jax.diagnostics.layers import PLAIN
from pause_jax.model import decoder


@functools.partial(jax.jit, static_argnames="config")
def look(
    params: dict[str, Any],
    residual_BxTxD: jax.Array,
    at_BxL: jax.Array,
    token_B: jax.Array,
    *,
    config: ModelConfig,
) -> tuple[jax.Array, jax.Array]:
    """(log p of a token in nats, float32; its rank, int32), both [B, L].

    Rank 1: no text token is likelier. A network with norms after the sums has no final norm, and none is applied.

    Args:
      residual_BxTxD: after some layer.
      at_BxL: int32, the positions of each row to look at.
      token_B: int32, each row's token.
    """
    model = decoder.bind(params, config, PLAIN)
    looked_at_BxLxD = jnp.take_along_axis(residual_BxTxD, at_BxL[..., None], axis=1)

    def of_row(row: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        residual_LxD, token = row
        hidden_LxD = residual_LxD if model.final_norm is None else model.final_norm(residual_LxD)
        log_p_LxV = jax.nn.log_softmax(model.logits(hidden_LxD[None])[0], axis=-1)
        log_p_L = jnp.take(log_p_LxV, token, axis=1)
        return log_p_L, 1 + jnp.sum(log_p_LxV > log_p_L[:, None], axis=1, dtype=jnp.int32)

    return jax.lax.map(of_row, (looked_at_BxLxD, token_B))  # row by row: the logits of one are in memory

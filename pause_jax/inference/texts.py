"""The logits at every position of one text, and its loss: for looking at, as nothing is kept for an answer.

Letters: T tokens, M pauses, C positions of context, B rows, V vocabulary.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from pause_jax.config.model import Execution, ModelConfig
from pause_jax.inference import sharded
from pause_jax.inference.rows import check_positions, context_rows, filled
from pause_jax.model import decoder
from pause_jax.pauses import downstream


def logits(
    params: dict[str, Any],
    config: ModelConfig,
    execution: Execution,
    num_pause_tokens: int,
    ids: Sequence[int],
    m_inf: int,
    *,
    attention: downstream.PrefixAttention,
    mesh: Mesh | None = None,
) -> np.ndarray:
    """What the model says after each token of a text and each of the `m_inf` pauses behind it: float32 [T + M, V].

    Raises:
      UserError: as `context_rows`, or it is more positions than the model has learned.
    """
    check_positions(len(ids), m_inf, 1, config, "a text")
    rows = context_rows(
        filled([ids], sharded.row_parts(mesh)), m_inf, vocab_size=config.vocab_size, num_pause_tokens=num_pause_tokens
    )
    found = _logits(
        params,
        rows.ids_BxC,
        rows.positions_BxC,
        rows.segments_BxC,
        config=config,
        execution=execution,
        num_pause_tokens=num_pause_tokens,
        mesh=mesh,
        prefix_lm_length=downstream.prefix_lm_length(attention, rows.prompt_length, m_inf),
    )
    return sharded.fetch(found)[0, -len(ids) - m_inf :]


def loss(logits_TxV: np.ndarray, targets_T: Sequence[int]) -> float:
    """The mean of −log p(target) in nats."""
    exact_TxV = logits_TxV.astype(np.float64)
    most_T = exact_TxV.max(axis=-1)
    log_sums_T = most_T + np.log(np.exp(exact_TxV - most_T[:, None]).sum(axis=-1))
    return float(np.mean(log_sums_T - exact_TxV[np.arange(len(targets_T)), targets_T]))


@functools.partial(jax.jit, static_argnames=("config", "execution", "num_pause_tokens", "mesh", "prefix_lm_length"))
def _logits(
    params: dict[str, Any],
    ids_BxC: jax.Array,
    positions_BxC: jax.Array,
    segments_BxC: jax.Array,
    *,
    config: ModelConfig,
    execution: Execution,
    num_pause_tokens: int,
    mesh: Mesh | None,
    prefix_lm_length: int,
) -> jax.Array:
    with sharded.on(mesh):
        model = decoder.bind(params, config, execution, num_pause_tokens)
        hidden_BxCxD, _ = model(ids_BxC, positions_BxC, segments_BxC, prefix_lm_length=prefix_lm_length)
        return model.logits(hidden_BxCxD)

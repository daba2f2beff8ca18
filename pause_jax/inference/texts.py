"""The logits at every position of one text, and its loss; there is no cache to decode from.

Letters: T tokens, M pauses, C positions of context, B rows, V vocabulary.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import jax
import numpy as np

from pause_jax.distributed.sharding import with_mesh
from pause_jax.inference import multihost
from pause_jax.inference.prefill import PromptFormat
from pause_jax.inference.rows import check_positions, pad_batch
from pause_jax.network import Network, Params
from pause_jax.pauses import downstream


def logits(
    network: Network, params: Params, ids: Sequence[int], m_inf: int, prompt_format: PromptFormat = PromptFormat()
) -> np.ndarray:
    """The logits at each token of a text and each of the `m_inf` pauses after it: float32 [T + M, V].

    Raises:
      UserError: as `downstream.context_rows`, or it is more positions than the model has learned.
    """
    check_positions(len(ids), m_inf, 1, network.config, "a text")
    rows = downstream.context_rows(
        pad_batch([ids], multihost.row_parts(network.mesh)),
        m_inf,
        tokens=network.pause_tokens(prompt_format.filler),
        bucket=prompt_format.bucket,
    )
    found = _logits(
        params,
        rows.ids_BxC,
        rows.positions_BxC,
        rows.segments_BxC,
        network=network,
        prefix_lm_length=downstream.prefix_lm_length(prompt_format.attention, rows.prompt_length, m_inf),
    )
    return multihost.fetch(found)[0, -len(ids) - m_inf :]


def loss(logits_TxV: np.ndarray, targets_T: Sequence[int]) -> float:
    """The mean of −log p(target) in nats."""
    exact_TxV = logits_TxV.astype(np.float64)
    most_T = exact_TxV.max(axis=-1)
    log_sums_T = most_T + np.log(np.exp(exact_TxV - most_T[:, None]).sum(axis=-1))
    return float(np.mean(log_sums_T - exact_TxV[np.arange(len(targets_T)), targets_T]))


@functools.partial(jax.jit, static_argnames=("network", "prefix_lm_length"))
def _logits(
    params: Params,
    ids_BxC: jax.Array,
    positions_BxC: jax.Array,
    segments_BxC: jax.Array,
    *,
    network: Network,
    prefix_lm_length: int,
) -> jax.Array:
    with with_mesh(network.mesh):
        model = network.bind(params)
        hidden_BxCxD, _ = model(ids_BxC, positions_BxC, segments_BxC, prefix_lm_length=prefix_lm_length)
        return model.logits(hidden_BxCxD)

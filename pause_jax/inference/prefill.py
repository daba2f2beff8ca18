"""Reading prompts and their pauses in one pass (paper section 3.1, Alg. 3).

Letters: B rows, C positions of context (prompt and pauses), V vocabulary, S positions of the cache.
"""

from __future__ import annotations

import functools
from typing import Any, cast

import jax

from pause_jax import pauses
from pause_jax.inference.rows import ContextRows
from pause_jax.model import decoder
from pause_jax.model.config import Execution, ModelConfig
from pause_jax.model.layers import Cache


def next_token_logits(
    params: dict[str, Any],
    config: ModelConfig,
    execution: Execution,
    n_pauses: int,
    rows: ContextRows,
    *,
    attention: pauses.PrefixAttention,
    cache_length: int,
) -> tuple[jax.Array, Cache]:
    """Logits of each row's first answer token, float32 [B, V], and a cache of `cache_length` >= C positions.

    They are the output at the last pause (without pauses: at the last prompt token). All outputs before it are
    ignored, and their logits never computed. Compiled once for each shape and setting.
    """
    return _prefill(
        params,
        rows.ids_BxC,
        rows.positions_BxC,
        rows.segments_BxC,
        config=config,
        execution=execution,
        n_pauses=n_pauses,
        bidirectional=pauses.bidirectional_length(attention, rows.prompt_length, rows.num_pauses),
        answer_position=pauses.first_answer_position(rows.prompt_length, rows.num_pauses),
        cache_length=cache_length,
    )


_STATIC = ("config", "execution", "n_pauses", "bidirectional", "answer_position", "cache_length")


@functools.partial(jax.jit, static_argnames=_STATIC)
def _prefill(
    params: dict[str, Any],
    ids_BxC: jax.Array,
    positions_BxC: jax.Array,
    segments_BxC: jax.Array,
    *,
    config: ModelConfig,
    execution: Execution,
    n_pauses: int,
    bidirectional: int,
    answer_position: int,
    cache_length: int,
) -> tuple[jax.Array, Cache]:
    model = decoder.bind(params, config, execution, n_pauses)
    cache = decoder.empty_cache(config, len(ids_BxC), cache_length)
    hidden_BxCxD, filled = model(ids_BxC, positions_BxC, segments_BxC, bidirectional=bidirectional, cache=cache)
    return model.logits(hidden_BxCxD[:, answer_position][:, None])[:, 0], cast(Cache, filled)

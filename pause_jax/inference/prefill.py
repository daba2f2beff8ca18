"""Prompts and their pauses, read in one pass (paper section 3.1, Alg. 3), for one M_inf or for several at once.

Where no prompt token sees a pause and no pause a later one (`can_share`), several M_inf are one pass: the pauses of a
smaller M_inf are the first of those of the largest, and so are their keys and values. An answer after M pauses goes on
from the output at the M-th; what the cache holds beyond is later, hence not seen, and is overwritten.

Letters: B rows, C positions of context (prompt and pauses), K numbers of pauses read at once, V vocabulary.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Sequence
from typing import cast

import jax
import jax.numpy as jnp
import numpy as np

from pause_jax.distributed.sharding import with_mesh
from pause_jax.inference import multihost
from pause_jax.inference.rows import pad_batch
from pause_jax.model import decoder
from pause_jax.model.layers import Cache
from pause_jax.network import Network, Params
from pause_jax.pauses import downstream
from pause_jax.pauses.downstream import BUCKET, round_up


@dataclasses.dataclass(frozen=True)
class PromptFormat:
    """How prompts and their pauses are read."""

    attention: downstream.PrefixAttention = "prefix_and_pauses"  # over both; "causal" for a pretrained run
    filler: int | None = None  # id of an ordinary token that takes the pauses' place
    bucket: int = BUCKET  # prompts are padded to a multiple of it; each length is a compilation


@dataclasses.dataclass(frozen=True)
class Prefill:
    """The result of reading prompts and pauses: what decoding starts from."""

    logits_BxV: jax.Array  # float32, of the first answer token
    next_positions_B: np.ndarray  # int32, that token's position
    cache: Cache
    num_rows: int  # the rows after these are padding, so that a mesh can cut the batch
    shared: bool = False  # other prefills have the same cache: it must not be donated


def can_share(attention: downstream.PrefixAttention, placement: downstream.Placement) -> bool:
    """Whether a prompt's keys and values are the same for every M_inf."""
    return attention != "prefix_and_pauses" and placement != "prepend"


def prefill(
    network: Network,
    params: Params,
    prompts: Sequence[Sequence[int]],
    m_infs: Sequence[int],
    prompt_format: PromptFormat,
    *,
    extra_cache_length: int,
) -> Iterator[Prefill]:
    """Read the prompts with each number of pauses after them: one `Prefill` for each of `m_infs`, in order.

    All numbers of pauses share one pass where they can (`can_share`); else each has its own, run when the iterator gets
    there. Outputs before the last pause (without pauses: the last prompt token) are ignored, and their logits never
    computed. Compiled once for each shape and setting.

    Args:
      prompts: ids, one sequence a row; pauses before a prompt are its own.
      extra_cache_length: positions of the cache for what comes after the pauses.

    Raises:
      UserError: as `downstream.context_rows`.
    """
    padded = pad_batch(prompts, round_up(len(prompts), multihost.row_parts(network.mesh)))
    attention, tokens = prompt_format.attention, network.pause_tokens(prompt_format.filler)
    shared = len(m_infs) > 1 and can_share(attention, "filler" if tokens.filler is not None else "append")
    for together in [m_infs] if shared else [[m_inf] for m_inf in m_infs]:
        most = max(together)
        rows = downstream.context_rows(padded, most, tokens=tokens, bucket=prompt_format.bucket)
        logits, cache = _prefill(
            params,
            rows.ids_BxC,
            rows.positions_BxC,
            rows.segments_BxC,
            network=network,
            prefix_lm_length=downstream.prefix_lm_length(attention, rows.prompt_length, most),
            answer_positions=tuple(downstream.first_answer_position(rows.prompt_length, m) for m in together),
            # Rounded up, so that the decoding of all M_inf up to the next multiple is one compilation.
            cache_length=round_up(rows.ids_BxC.shape[1] + extra_cache_length, BUCKET),
        )
        for m_inf, logits_BxV in zip(together, logits, strict=True):
            index = np.int32(rows.prompt_length + m_inf)
            yield Prefill(
                logits_BxV,
                rows.next_positions_B - np.int32(most - m_inf),
                dataclasses.replace(cache, index=index),
                len(prompts),
                shared,
            )


@functools.partial(jax.jit, static_argnames=("network", "prefix_lm_length", "answer_positions", "cache_length"))
def _prefill(
    params: Params,
    ids_BxC: jax.Array,
    positions_BxC: jax.Array,
    segments_BxC: jax.Array,
    *,
    network: Network,
    prefix_lm_length: int,
    answer_positions: tuple[int, ...],
    cache_length: int,
) -> tuple[tuple[jax.Array, ...], Cache]:
    """Logits [B, V] at each of `answer_positions`, and the cache of all positions."""
    with with_mesh(network.mesh):
        model = network.bind(params)
        cache = decoder.empty_cache(network.config, len(ids_BxC), cache_length)
        hidden_BxCxD, filled = model(
            ids_BxC, positions_BxC, segments_BxC, prefix_lm_length=prefix_lm_length, cache=cache
        )
        logits_BxKxV = model.logits(hidden_BxCxD[:, jnp.array(answer_positions)])
    return tuple(logits_BxKxV[:, k] for k in range(len(answer_positions))), cast(Cache, filled)

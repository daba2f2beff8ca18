"""Answers, token by token, after the prompt and its pauses (paper section 3.1, Alg. 3).

Letters: B rows, N new tokens, V vocabulary, S positions of the cache.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from typing import cast

import jax
import jax.numpy as jnp
import numpy as np

from pause_jax.distributed.sharding import with_mesh
from pause_jax.errors import UserError
from pause_jax.inference import multihost
from pause_jax.inference.prefill import Prefill, PromptFormat, prefill
from pause_jax.inference.rows import check_positions
from pause_jax.inference.sampling import Sampling, sample
from pause_jax.model.layers import Cache
from pause_jax.network import Network, Params

GREEDY = Sampling()


@dataclasses.dataclass(frozen=True)
class Decoding:
    """How answers are decoded."""

    max_new_tokens: int
    eos_id: int  # ends an answer, and is not returned
    sampling: Sampling = GREEDY
    seed: int = 0  # of the sampling: a row's sample depends on it, the row's prompt and the row's number alone
    first_row: int = 0  # number of the first row: where a data set is answered batch by batch, how many came before

    def validate(self) -> None:
        """Raises UserError for values out of range."""
        self.sampling.validate()
        if self.max_new_tokens < 1:
            raise UserError(f"max_new_tokens is {self.max_new_tokens}, but must be at least 1")


def generate(
    network: Network,
    params: Params,
    prompts: Sequence[Sequence[int]],
    m_inf: int,
    decoding: Decoding,
    prompt_format: PromptFormat = PromptFormat(),
) -> list[list[int]]:
    """The model's answer to each prompt: up to `max_new_tokens` ids, ended by EOS, which is not returned.

    The prompts and `m_inf` pauses each are read at once; the last pause's output is the first answer token; each
    answer token is fed back, and no further pauses are. It ends when all rows have ended.

    Args:
      prompts: ids, one sequence a row; the rows are one batch.

    Raises:
      UserError: settings out of range, an empty prompt, more positions than the model has learned.
    """
    decoding.validate()
    if not prompts:
        return []
    check_positions(max(map(len, prompts)), m_inf, decoding.max_new_tokens, network.config)
    (read,) = prefill(network, params, prompts, [m_inf], prompt_format, extra_cache_length=decoding.max_new_tokens - 1)
    return decode(network, params, read, decoding)


def decode(network: Network, params: Params, prefill: Prefill, decoding: Decoding) -> list[list[int]]:
    """The answers to prompts that have been read: ids without EOS, as of `generate`.

    A prefill that is not shared cannot be used again: the answers are written into its cache.
    """
    first_row = decoding.first_row
    row_numbers_B = np.arange(first_row, first_row + len(prefill.next_positions_B), dtype=np.uint32)
    run = _decode_in_copy if prefill.shared else _decode_in_place
    ids_BxN, _ = run(
        params,
        prefill.cache,
        prefill.logits_BxV,
        prefill.next_positions_B,
        row_numbers_B,
        decoding.seed,
        decoding.eos_id,
        network=network,
        max_new_tokens=decoding.max_new_tokens,
        sampling=decoding.sampling,
    )
    return [_until(decoding.eos_id, ids) for ids in multihost.fetch(ids_BxN).tolist()[: prefill.num_rows]]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class _Answers:
    """What has been decoded so far."""

    ids_BxN: jax.Array  # int32, EOS where nothing is written
    ended_B: jax.Array  # bool: EOS has been chosen
    count: jax.Array  # int32 []: tokens written in rows that have not ended
    cache: Cache


def _decode(
    params: Params,
    cache: Cache,
    logits_BxV: jax.Array,
    positions_B: jax.Array,
    row_numbers_B: jax.Array,
    seed: jax.Array,
    eos_id: jax.Array,
    *,
    network: Network,
    max_new_tokens: int,
    sampling: Sampling,
) -> tuple[jax.Array, Cache]:
    """New ids [B, N], EOS from a row's end on; and the cache, returned so that a donated one's memory is reused.

    Args:
      logits_BxV: of the first new token.
      positions_B: int32, that token's position.
    """
    model = network.bind(params)
    row_keys_B = jax.vmap(jax.random.fold_in, (None, 0))(jax.random.key(seed), row_numbers_B)
    batch = len(logits_BxV)
    layers = model.layers_for_decoding(batch, max_new_tokens)

    def choose(answers: _Answers, logits_BxV: jax.Array, cache: Cache) -> _Answers:
        keys_B = jax.vmap(jax.random.fold_in, (0, None))(row_keys_B, answers.count)
        ids_B = jnp.where(answers.ended_B, eos_id, sample(logits_BxV, keys_B, sampling))
        ids_BxN = answers.ids_BxN.at[:, answers.count].set(ids_B)
        return _Answers(ids_BxN, answers.ended_B | (ids_B == eos_id), answers.count + 1, cache)

    def read_and_choose(answers: _Answers) -> _Answers:
        last = answers.count - 1
        ids_Bx1, positions_Bx1 = answers.ids_BxN[:, last][:, None], (positions_B + last)[:, None]
        ones_Bx1 = jnp.ones_like(ids_Bx1)
        hidden_Bx1xD, cache = model(ids_Bx1, positions_Bx1, ones_Bx1, cache=answers.cache, layers=layers)
        return choose(answers, model.logits(hidden_Bx1xD)[:, 0], cast(Cache, cache))

    def unfinished(answers: _Answers) -> jax.Array:
        return (answers.count < max_new_tokens) & ~jnp.all(answers.ended_B)

    ids_BxN = jnp.full((batch, max_new_tokens), eos_id, jnp.int32)
    nothing = _Answers(ids_BxN, jnp.zeros(batch, bool), jnp.zeros((), jnp.int32), cache)
    with with_mesh(network.mesh):
        answers = jax.lax.while_loop(unfinished, read_and_choose, choose(nothing, logits_BxV, cache))
    return answers.ids_BxN, answers.cache


_STATIC = ("network", "max_new_tokens", "sampling")
_decode_in_copy = functools.partial(jax.jit, static_argnames=_STATIC)(_decode)
_decode_in_place = functools.partial(jax.jit, static_argnames=_STATIC, donate_argnames="cache")(_decode)


def _until(end: int, ids: list[int]) -> list[int]:
    return ids[: ids.index(end)] if end in ids else ids

"""Answers, token by token, after the prompt and its pauses (paper section 3.1, Alg. 3).

Letters: B rows, N new tokens, V vocabulary, S positions of the cache.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from pause_jax.config.model import Execution, ModelConfig
from pause_jax.errors import UserError
from pause_jax.inference import sharded
from pause_jax.inference.prefill import Reading, read
from pause_jax.inference.rows import BUCKET, check_positions
from pause_jax.inference.sampling import Sampling, sample
from pause_jax.model import decoder
from pause_jax.model.layers import Cache
from pause_jax.pauses import downstream

GREEDY = Sampling()


def generate(
    params: dict[str, Any],
    config: ModelConfig,
    execution: Execution,
    num_pause_tokens: int,
    prompts: Sequence[Sequence[int]],
    *,
    m_inf: int,
    attention: downstream.PrefixAttention = "prefix_and_pauses",
    max_new_tokens: int,
    eos_id: int,
    sampling: Sampling = GREEDY,
    seed: int = 0,
    first_row: int = 0,
    bucket: int = BUCKET,
    filler: int | None = None,
    mesh: Mesh | None = None,
) -> list[list[int]]:
    """What the model answers to each prompt: up to `max_new_tokens` ids, ended by EOS, which is not returned.

    The prompts and `m_inf` pauses each are read at once; the last pause's output is the first answer token; each
    answer token is fed back, and no further pauses are. Ends when all rows have.

    Args:
      prompts: ids, one sequence a row; the rows are one batch.
      attention: over prompt and pauses; "causal" for a model that was only pretrained.
      seed: of the sampling. A row's sample depends on it, the row's prompt and the row's number alone.
      first_row: number of the first row: where a data set is answered batch by batch, how many came before.
      bucket: prompts are padded to a multiple of it; each length is a compilation.
      filler: an ordinary token that takes the pauses' place.
      mesh: where the rows are to lie; None: wherever the parameters are.

    Raises:
      UserError: settings out of range, an empty prompt, more positions than the model has learned.
    """
    sampling.validate()
    if max_new_tokens < 1:
        raise UserError(f"max_new_tokens is {max_new_tokens}, but must be at least 1")
    if not prompts:
        return []
    check_positions(max(map(len, prompts)), m_inf, max_new_tokens, config)
    (reading,) = read(
        params,
        config,
        execution,
        num_pause_tokens,
        prompts,
        [m_inf],
        attention=attention,
        room=max_new_tokens - 1,
        bucket=bucket,
        filler=filler,
        mesh=mesh,
    )
    return write(
        params,
        config,
        execution,
        num_pause_tokens,
        reading,
        max_new_tokens=max_new_tokens,
        eos_id=eos_id,
        sampling=sampling,
        seed=seed,
        first_row=first_row,
        mesh=mesh,
    )


def write(
    params: dict[str, Any],
    config: ModelConfig,
    execution: Execution,
    num_pause_tokens: int,
    reading: Reading,
    *,
    max_new_tokens: int,
    eos_id: int,
    sampling: Sampling = GREEDY,
    seed: int = 0,
    first_row: int = 0,
    mesh: Mesh | None = None,
) -> list[list[int]]:
    """The answers to prompts that have been read. Arguments as of `generate`.

    It is the last use of a reading that is not shared: the answers are written into its cache.
    """
    row_numbers_B = np.arange(first_row, first_row + len(reading.next_positions_B), dtype=np.uint32)
    decode = _decode_in_copy if reading.shared else _decode_in_place
    ids_BxN, _ = decode(
        params,
        reading.cache,
        reading.logits_BxV,
        reading.next_positions_B,
        row_numbers_B,
        seed,
        eos_id,
        config=config,
        execution=execution,
        num_pause_tokens=num_pause_tokens,
        max_new_tokens=max_new_tokens,
        sampling=sampling,
        mesh=mesh,
    )
    return [_until(eos_id, ids) for ids in sharded.fetch(ids_BxN).tolist()[: reading.num_rows]]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class _Answers:
    """What has been written so far."""

    ids_BxN: jax.Array  # int32, EOS where nothing is written
    ended_B: jax.Array  # bool: EOS has been chosen
    count: jax.Array  # int32 []: tokens written in rows that have not ended
    cache: Cache


def _decode(
    params: dict[str, Any],
    cache: Cache,
    logits_BxV: jax.Array,
    positions_B: jax.Array,
    row_numbers_B: jax.Array,
    seed: jax.Array,
    eos_id: jax.Array,
    *,
    config: ModelConfig,
    execution: Execution,
    num_pause_tokens: int,
    max_new_tokens: int,
    sampling: Sampling,
    mesh: Mesh | None,
) -> tuple[jax.Array, Cache]:
    """New ids [B, N], EOS from a row's end on; and the cache, so that a donated one's memory serves throughout.

    Args:
      logits_BxV: of the first new token.
      positions_B: int32, that token's position.
    """
    model = decoder.bind(params, config, execution, num_pause_tokens)
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
    with sharded.on(mesh):
        answers = jax.lax.while_loop(unfinished, read_and_choose, choose(nothing, logits_BxV, cache))
    return answers.ids_BxN, answers.cache


_STATIC = ("config", "execution", "num_pause_tokens", "max_new_tokens", "sampling", "mesh")
_decode_in_copy = functools.partial(jax.jit, static_argnames=_STATIC)(_decode)
_decode_in_place = functools.partial(jax.jit, static_argnames=_STATIC, donate_argnames="cache")(_decode)


def _until(end: int, ids: list[int]) -> list[int]:
    return ids[: ids.index(end)] if end in ids else ids

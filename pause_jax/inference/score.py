"""How likely a model finds given answers, after the prompt and its pauses (paper section 3.1, Alg. 3).

Prompt and pauses are read once, however many options there are: each option goes on from their keys and values.

Letters: B rows, O options of each, A positions of an option, V vocabulary.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from pause_jax import pauses
from pause_jax.errors import UserError
from pause_jax.inference import sharded
from pause_jax.inference.prefill import Reading, read
from pause_jax.inference.rows import BUCKET, check_positions, filled
from pause_jax.model import decoder
from pause_jax.model.config import Execution, ModelConfig
from pause_jax.model.layers import Cache


def score(
    params: dict[str, Any],
    config: ModelConfig,
    execution: Execution,
    n_pauses: int,
    prompts: Sequence[Sequence[int]],
    options: Sequence[Sequence[Sequence[int]]],
    *,
    m_inf: int,
    attention: pauses.PrefixAttention = "prefix_and_pauses",
    option_length: int,
    bucket: int = BUCKET,
    filler: int | None = None,
    mesh: Mesh | None = None,
) -> list[list[float]]:
    """log p(option | prompt, pauses) in nats, of each row's options: the sum over an option's tokens.

    Args:
      prompts: ids, one sequence a row; the rows are one batch.
      options: of each row as many as it has: ids, all below the vocabulary's size; EOS counts where it is given.
      option_length: positions for an option, so that batches of one setting are one compilation.
      bucket, filler, mesh: as of `generate`.

    Raises:
      UserError: as `generate`; an option is empty or longer than `option_length`.
    """
    if not prompts:
        return []
    _check_lengths(options, option_length)
    longest = max(len(option) for mine in options for option in mine)
    check_positions(max(map(len, prompts)), m_inf, longest, config)
    (reading,) = read(
        params, config, execution, n_pauses, prompts, [m_inf],
        attention=attention, room=option_length - 1, bucket=bucket, filler=filler, mesh=mesh,
    )  # fmt: skip
    log_p, _ = score_read(params, config, execution, n_pauses, reading, options, option_length=option_length, mesh=mesh)
    return log_p


def score_read(
    params: dict[str, Any],
    config: ModelConfig,
    execution: Execution,
    n_pauses: int,
    reading: Reading,
    options: Sequence[Sequence[Sequence[int]]],
    *,
    option_length: int,
    compare: bool = False,
    mesh: Mesh | None = None,
) -> tuple[list[list[float]], list[list[bool]]]:
    """log p of options after prompts that have been read; the reading stays as it is. Arguments as of `score`.

    And, where `compare` asks for it, which options are what greedy decoding would write.
    """
    _check_lengths(options, option_length)
    ids_BxOxA, is_token_BxOxA = _as_arrays(filled(options, len(reading.next_positions_B)), option_length)
    sums_BxO, is_greedy_BxO = _score(
        params, reading.cache, reading.logits_BxV, reading.next_positions_B, ids_BxOxA, is_token_BxOxA,
        config=config, execution=execution, n_pauses=n_pauses, mesh=mesh, compare=compare,
    )  # fmt: skip
    return _rows(sums_BxO, options), [] if is_greedy_BxO is None else _rows(is_greedy_BxO, options)


def _rows(array_BxO: jax.Array, options: Sequence[Sequence[Sequence[int]]]) -> list[list[Any]]:
    """Of each row of options, what the array has for them."""
    return [row[: len(mine)] for row, mine in zip(sharded.fetch(array_BxO).tolist(), options, strict=False)]


def _check_lengths(options: Sequence[Sequence[Sequence[int]]], option_length: int) -> None:
    for row, mine in enumerate(options):
        for number, option in enumerate(mine):
            if not 1 <= len(option) <= option_length:
                raise UserError(
                    f"option {number} of row {row} has {len(option)} tokens, but must have 1 to {option_length}"
                )


def _as_arrays(options: Sequence[Sequence[Sequence[int]]], option_length: int) -> tuple[np.ndarray, np.ndarray]:
    """ids_BxOxA in int32, and which of them are tokens of an option; O is that of the row that has most."""
    shape = (len(options), max(map(len, options)), option_length)
    ids_BxOxA, is_token_BxOxA = np.zeros(shape, np.int32), np.zeros(shape, bool)
    for row, mine in enumerate(options):
        for number, option in enumerate(mine):
            ids_BxOxA[row, number, : len(option)] = option
            is_token_BxOxA[row, number, : len(option)] = True
    return ids_BxOxA, is_token_BxOxA


@functools.partial(jax.jit, static_argnames=("config", "execution", "n_pauses", "mesh", "compare"))
def _score(
    params: dict[str, Any],
    cache: Cache,
    logits_BxV: jax.Array,
    positions_B: jax.Array,
    ids_BxOxA: jax.Array,
    is_token_BxOxA: jax.Array,
    *,
    config: ModelConfig,
    execution: Execution,
    n_pauses: int,
    mesh: Mesh | None,
    compare: bool,
) -> tuple[jax.Array, jax.Array | None]:
    """Sums of log p, [B, O]; and where `compare` asks for it, whether all of an option's tokens are the likeliest.

    Args:
      cache: of prompts and pauses; each option goes on from it.
      logits_BxV: of an option's first token.
      positions_B: int32, that token's position.
    """
    model = decoder.bind(params, config, execution, n_pauses)
    positions_BxA = positions_B[:, None] + jnp.arange(ids_BxOxA.shape[2] - 1)[None]

    def of_option(option: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array | None]:
        ids_BxA, is_token_BxA = option
        logits_BxAxV = logits_BxV[:, None]
        if ids_BxA.shape[1] > 1:  # the last token is only predicted
            read_BxA = ids_BxA[:, :-1]
            hidden_BxAxD, _ = model(read_BxA, positions_BxA, is_token_BxA[:, :-1].astype(jnp.int32), cache=cache)
            logits_BxAxV = jnp.concatenate([logits_BxAxV, model.logits(hidden_BxAxD)], axis=1)
        log_p_BxA = jnp.take_along_axis(jax.nn.log_softmax(logits_BxAxV), ids_BxA[..., None], axis=-1)[..., 0]
        sums_B = jnp.sum(jnp.where(is_token_BxA, log_p_BxA, 0.0), axis=-1)
        if not compare:
            return sums_B, None
        return sums_B, jnp.all((jnp.argmax(logits_BxAxV, axis=-1) == ids_BxA) | ~is_token_BxA, axis=-1)

    by_option = (jnp.moveaxis(ids_BxOxA, 1, 0), jnp.moveaxis(is_token_BxOxA, 1, 0))
    with sharded.on(mesh):
        sums_OxB, is_greedy_OxB = jax.lax.map(of_option, by_option)  # one after the other: the memory of one
    return sums_OxB.T, None if is_greedy_OxB is None else is_greedy_OxB.T

"""How likely a model finds given answers, after the prompt and its pauses (paper section 3.1, Alg. 3).

Prompt and pauses are read once, however many options there are: options continue from their keys and values, in groups
of similar length.

Letters: B rows, A positions of an option, V vocabulary.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from pause_jax.distributed.sharding import with_mesh
from pause_jax.errors import UserError
from pause_jax.inference import multihost
from pause_jax.inference.prefill import Prefill, PromptFormat, prefill
from pause_jax.inference.rows import check_positions
from pause_jax.model.layers import Cache
from pause_jax.network import Network, Params
from pause_jax.pauses.downstream import round_up

_STEP = 8  # lengths of options are rounded up to a multiple: each is a compilation

Group = list[tuple[int, int | None]]  # (row, number of the option in it) at each place of a batch; None: padding


def score(
    network: Network,
    params: Params,
    prompts: Sequence[Sequence[int]],
    options: Sequence[Sequence[Sequence[int]]],
    m_inf: int,
    prompt_format: PromptFormat = PromptFormat(),
    *,
    option_length: int,
) -> list[list[float]]:
    """log p(option | prompt, pauses) in nats of each row's options: the sum over an option's tokens.

    Args:
      prompts: ids, one sequence a row; the rows are one batch.
      options: for each row any number of options: ids below the vocabulary's size; EOS counts where it is given.
      option_length: positions that an option may have.

    Raises:
      UserError: as `decode.generate`; an option is empty or longer than `option_length`.
    """
    if not prompts:
        return []
    _check_lengths(options, option_length)
    longest = max(len(option) for row_options in options for option in row_options)
    check_positions(max(map(len, prompts)), m_inf, longest, network.config)
    (read,) = prefill(network, params, prompts, [m_inf], prompt_format, extra_cache_length=option_length - 1)
    log_p, _ = score_from_prefill(network, params, read, options, option_length=option_length)
    return log_p


def score_from_prefill(
    network: Network,
    params: Params,
    prefill: Prefill,
    options: Sequence[Sequence[Sequence[int]]],
    *,
    option_length: int,
    compare: bool = False,
) -> tuple[list[list[float]], list[list[bool]]]:
    """log p of options after prompts that have been read; the prefill stays as it is. Arguments as of `score`.

    Returns:
      log p of each row's options; and with `compare` which of them greedy decoding would give, else [].
    """
    _check_lengths(options, option_length)
    is_cut = multihost.row_parts(network.mesh) > 1
    num_rows = len(prefill.next_positions_B)
    # Groups of half the size are closer in length: for lengths like HellaSwag's, a third less is padding.
    groups = _groups(options, num_rows if is_cut else -(-num_rows // 2), stays_in_row=is_cut)
    scored = [
        _score(
            params,
            prefill.cache,
            prefill.logits_BxV,
            prefill.next_positions_B,
            *_as_arrays(options, group, option_length),
            None if is_cut else np.array([row for row, _ in group]),
            network=network,
            compare=compare,
        )
        for group in groups
    ]
    log_p = _by_row(groups, [sums_B for sums_B, _ in scored], options)
    return log_p, _by_row(groups, [is_greedy_B for _, is_greedy_B in scored], options) if compare else []


def _by_row(groups: list[Group], values: Sequence[Any], options: Sequence[Sequence[Sequence[int]]]) -> list[list[Any]]:
    """The values of the groups' arrays [B], sorted by row and option."""
    found: list[list[Any]] = [[None] * len(row_options) for row_options in options]
    for group, values_B in zip(groups, values, strict=True):
        for (row, number), value in zip(group, multihost.fetch(values_B).tolist(), strict=True):
            if number is not None:
                found[row][number] = value
    return found


def _groups(options: Sequence[Sequence[Sequence[int]]], size: int, *, stays_in_row: bool) -> list[Group]:
    """All options, `size` at a time, those of similar length together, the longest first.

    Args:
      stays_in_row: an option gets the place of its row, so that no cache is moved between devices; `size` is then the
        number of rows.
    """
    by_length = [
        sorted(((row, number) for number in range(len(row_options))), key=lambda at: -len(options[at[0]][at[1]]))
        for row, row_options in enumerate(options)
    ]
    if stays_in_row:
        by_length += [[]] * (size - len(options))
        return [
            [row_options[turn] if turn < len(row_options) else (row, None) for row, row_options in enumerate(by_length)]
            for turn in range(max(map(len, by_length)))
        ]
    order = sorted((at for row_options in by_length for at in row_options), key=lambda at: -len(options[at[0]][at[1]]))
    groups: list[Group] = [list(order[start : start + size]) for start in range(0, len(order), size)]
    groups[-1] += [(0, None)] * (size - len(groups[-1]))
    return groups


def _check_lengths(options: Sequence[Sequence[Sequence[int]]], option_length: int) -> None:
    for row, row_options in enumerate(options):
        for number, option in enumerate(row_options):
            if not 1 <= len(option) <= option_length:
                raise UserError(
                    f"option {number} of row {row} has {len(option)} tokens, but must have 1 to {option_length}"
                )


def _as_arrays(
    options: Sequence[Sequence[Sequence[int]]], group: Group, option_length: int
) -> tuple[np.ndarray, np.ndarray]:
    """ids_BxA in int32, and which are tokens of an option; A is the longest one's length, rounded up for few shapes."""
    row_options = [() if number is None else options[row][number] for row, number in group]
    shape = (len(group), min(round_up(max(map(len, row_options)), _STEP), option_length))
    ids_BxA, is_token_BxA = np.zeros(shape, np.int32), np.zeros(shape, bool)
    for place, option in enumerate(row_options):
        ids_BxA[place, : len(option)] = option
        is_token_BxA[place, : len(option)] = True
    return ids_BxA, is_token_BxA


@functools.partial(jax.jit, static_argnames=("network", "compare"))
def _score(
    params: Params,
    cache: Cache,
    logits_BxV: jax.Array,
    positions_B: jax.Array,
    ids_BxA: jax.Array,
    is_token_BxA: jax.Array,
    rows_B: jax.Array | None,
    *,
    network: Network,
    compare: bool,
) -> tuple[jax.Array, jax.Array | None]:
    """Sums of log p, [B]; and where `compare` asks for it, whether all of an option's tokens are the likeliest.

    Args:
      cache: of prompts and pauses; each option goes on from it.
      logits_BxV: of an option's first token.
      positions_B: int32, that token's position.
      rows_B: the row of each option; None where option b is of row b.
    """
    model = network.bind(params)
    with with_mesh(network.mesh):
        if rows_B is not None:
            k, v = cache.k_NxBxSxKxE[:, rows_B], cache.v_NxBxSxKxE[:, rows_B]
            cache = dataclasses.replace(cache, k_NxBxSxKxE=k, v_NxBxSxKxE=v, segments_BxS=cache.segments_BxS[rows_B])
            logits_BxV, positions_B = logits_BxV[rows_B], positions_B[rows_B]
        log_p_BxA, is_greedy_BxA = _of_tokens(logits_BxV[:, None], ids_BxA[:, :1])
        if ids_BxA.shape[1] > 1:  # the last token is only predicted
            positions_BxA = positions_B[:, None] + jnp.arange(ids_BxA.shape[1] - 1)[None]
            segments_BxA = is_token_BxA[:, :-1].astype(jnp.int32)
            hidden_BxAxD, _ = model(ids_BxA[:, :-1], positions_BxA, segments_BxA, cache=cache)
            rest = _of_tokens(model.logits(hidden_BxAxD), ids_BxA[:, 1:])
            log_p_BxA = jnp.concatenate([log_p_BxA, rest[0]], axis=1)
            is_greedy_BxA = jnp.concatenate([is_greedy_BxA, rest[1]], axis=1)
        sums_B = jnp.sum(jnp.where(is_token_BxA, log_p_BxA, 0.0), axis=-1)
        return sums_B, jnp.all(is_greedy_BxA | ~is_token_BxA, axis=-1) if compare else None


def _of_tokens(logits_BxAxV: jax.Array, ids_BxA: jax.Array) -> tuple[jax.Array, jax.Array]:
    """log p of each token, and whether it is the likeliest (compiled to nothing where that is not used)."""
    logit_BxA = jnp.take_along_axis(logits_BxAxV, ids_BxA[..., None], axis=-1)[..., 0]
    log_p_BxA = logit_BxA - jax.nn.logsumexp(logits_BxAxV, axis=-1)  # needs no second array as large as the logits
    return log_p_BxA, jnp.argmax(logits_BxAxV, axis=-1) == ids_BxA

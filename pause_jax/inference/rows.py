"""Prompts of any length as rows that end in their last pause (paper section 3.1, Alg. 3). NumPy only.

Letters: B rows, P prompt positions (left padding included), M pauses, C = P + M positions of context.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from pause_jax.config.model import ModelConfig
from pause_jax.errors import UserError
from pause_jax.pauses import downstream, insertion

BUCKET = 32  # lengths are rounded up to a multiple of it: each new length is a new compilation


@dataclasses.dataclass(frozen=True)
class ContextRows:
    """Prompts, right-aligned, and their pauses; int32 arrays. Padding has id, position and segment 0."""

    ids_BxC: np.ndarray
    positions_BxC: np.ndarray  # from 0 at each prompt's first token; pauses count
    segments_BxC: np.ndarray  # 1, or 0 in padding
    prompt_length: int  # P
    num_pauses: int  # M

    @property
    def next_positions_B(self) -> np.ndarray:
        """The position of each row's first answer token: how many tokens and pauses come before it."""
        return self.positions_BxC[:, -1] + 1


def context_rows(
    prompts: Sequence[Sequence[int]],
    m_inf: int,
    *,
    vocab_size: int,
    num_pause_tokens: int,
    bucket: int = BUCKET,
    filler: int | None = None,
) -> ContextRows:
    """Prompts right-aligned to P, the multiple of `bucket` that holds the longest, then `m_inf` pauses each.

    A prompt may hold pauses of its own (prepended ones, say), which then count as prompt. With `filler`, that ordinary
    token takes the pauses' place.

    >>> context_rows([[5], [6, 7, 8]], 2, vocab_size=100, num_pause_tokens=1, bucket=4).ids_BxC
    array([[  0,   0,   0,   5, 100, 100],
           [  0,   6,   7,   8, 100, 100]], dtype=int32)

    Raises:
      UserError: `m_inf` is negative, or positive where the model has no pauses; a prompt is empty, or has an id that
        the model does not know.
    """
    if m_inf < 0:
        raise UserError(f"m_inf is {m_inf}, but must not be negative: give the number of pauses after the prompt")
    _check_prompts(prompts, vocab_size + num_pause_tokens)
    prompt_length = round_up(max(map(len, prompts)), bucket)
    if filler is None:
        pauses_M = downstream.pause_ids(m_inf, vocab_size=vocab_size, num_pause_tokens=num_pause_tokens)
    else:
        pauses_M = np.full(m_inf, filler, np.int32)
    ids_BxC = np.zeros((len(prompts), prompt_length + m_inf), np.int32)
    segments_BxC = np.zeros_like(ids_BxC)
    for row, prompt in enumerate(prompts):
        start = prompt_length - len(prompt)
        ids_BxC[row, start:] = np.concatenate([prompt, pauses_M])
        segments_BxC[row, start:] = 1
    return ContextRows(ids_BxC, insertion.positions(segments_BxC), segments_BxC, prompt_length, m_inf)


def filled[Row](rows: Sequence[Row], size: int) -> list[Row]:
    """An incomplete batch, its first row repeated to the size of the others, whose compilation then serves it."""
    return [*rows, *[rows[0]] * (size - len(rows))]


def check_positions(
    prompt_length: int, num_pauses: int, max_new_tokens: int, config: ModelConfig, prompt: str = "a prompt"
) -> None:
    """Raises UserError where the answer runs out of learned positions; rotary ones have no end.

    All but the last new token are read back, so a row needs prompt + pauses + new tokens - 1 positions. Padding
    needs none.

    Args:
      prompt: what it is called in the sentence.
    """
    needed = prompt_length + num_pauses + max_new_tokens - 1
    if config.positions == "learned" and needed > config.max_positions:
        raise UserError(
            f"{prompt} of {prompt_length} tokens, {num_pauses} pauses and {max_new_tokens} new tokens need {needed} "
            f"positions, but the model has learned {config.max_positions} (config.model.max_positions): shorten the "
            "prompt, or ask for fewer pauses or new tokens"
        )


def round_up(length: int, multiple: int) -> int:
    """The smallest multiple that is not below `length`."""
    return -(-length // multiple) * multiple


def _check_prompts(prompts: Sequence[Sequence[int]], num_ids: int) -> None:
    for row, prompt in enumerate(prompts):
        if len(prompt) == 0:
            raise UserError(f"prompt {row} is empty: give at least one token, there is nothing to answer")
        unknown = [i for i in prompt if not 0 <= i < num_ids]
        if unknown:
            raise UserError(
                f"prompt {row} has the id {unknown[0]}, but the model knows 0 to {num_ids - 1}: "
                "was it encoded with another vocabulary than the model's?"
            )

"""Pauses in finetuning and at inference: prompt, pauses, target, and the loss on the target (paper section 3.1).

Pure NumPy functions on integer arrays; rows z[0..T] out, of which position k reads z[k] and predicts z[k+1].

Shapes: B rows, P prompt positions, M pauses, C positions of context (prompt and pauses), A positions of the target,
T positions of a row, Z = T + 1 elements of z: the last one is only ever a target. Segment 0 is padding.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np

from pause_jax.errors import UserError
from pause_jax.pauses import insertion

BUCKET = 32  # lengths of prompts are rounded up to a multiple of it: each new length is a new compilation

Placement = Literal["append", "prepend", "filler"]  # the last: an ordinary token in the pauses' place

# Attention within prompt and pauses. "prefix_and_pauses": both ways among all of them; "prefix_only": both ways within
# the prompt, causal from the pauses on; "causal": causal throughout.
PrefixAttention = Literal["prefix_and_pauses", "prefix_only", "causal"]

Hints = Literal["none", "pauses", "prompt"]  # the positions that are supervised with intermediate results


@dataclasses.dataclass(frozen=True)
class PauseTokens:
    """The ids that are put where pauses go: V + j, the j-th pause token, or one ordinary token."""

    vocab_size: int  # V
    count: int  # distinct pause tokens
    filler: int | None = None  # the ordinary token in the pauses' place, for placement "filler" alone

    def ids(self, num_pauses: int) -> np.ndarray:
        """The ids of one run of M pauses, [M] in int32: V + j, where j counts modulo `count`; or M fillers.

        >>> PauseTokens(vocab_size=100, count=2).ids(3)
        array([100, 101, 100], dtype=int32)

        Raises:
          UserError: M is negative, or positive where there are no pause tokens.
        """
        if num_pauses < 0:
            raise UserError(f"the number of pauses is {num_pauses}, but must not be negative: check m_ft and m_inf")
        if self.filler is not None:
            return np.full(num_pauses, self.filler, np.int32)
        if num_pauses and self.count < 1:
            raise UserError(
                f"{num_pauses} pauses are asked for, but config.model.num_pause_tokens = 0 gives the model none: "
                "set --config.model.num_pause_tokens=1"
            )
        return (self.vocab_size + np.arange(num_pauses) % max(self.count, 1)).astype(np.int32)


def add_pauses(
    prompt_N: Sequence[int] | np.ndarray, num_pauses: int, *, placement: Placement, tokens: PauseTokens
) -> np.ndarray:
    """The new prefix of finetuning and inference: a prompt and its M pauses, [N + M] in int32 (paper section 3.1).

    `append` (the paper's default) puts them after the prompt, `prepend` before it, `filler` puts M copies of the
    ordinary token `tokens.filler` after it instead. Left padding, if any, is added to the result, not to the prompt.

    >>> pause = PauseTokens(vocab_size=100, count=1)
    >>> add_pauses([1, 2, 3], 2, placement="append", tokens=pause)
    array([  1,   2,   3, 100, 100], dtype=int32)
    >>> add_pauses([1, 2, 3], 2, placement="prepend", tokens=pause)
    array([100, 100,   1,   2,   3], dtype=int32)
    """
    prompt_N, pauses_M = np.asarray(prompt_N, np.int32), tokens.ids(num_pauses)
    return np.concatenate([pauses_M, prompt_N] if placement == "prepend" else [prompt_N, pauses_M])


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
    prompts: Sequence[Sequence[int]], m_inf: int, *, tokens: PauseTokens, bucket: int = BUCKET
) -> ContextRows:
    """Prompts right-aligned to P, the multiple of `bucket` that holds the longest, then `m_inf` pauses each.

    A prompt may hold pauses of its own (prepended ones, say), which then count as prompt.

    >>> context_rows([[5], [6, 7, 8]], 2, tokens=PauseTokens(vocab_size=100, count=1), bucket=4).ids_BxC
    array([[  0,   0,   0,   5, 100, 100],
           [  0,   6,   7,   8, 100, 100]], dtype=int32)

    Raises:
      UserError: `m_inf` is negative, or positive where the model has no pauses; a prompt is empty, or has an id that
        the model does not know.
    """
    if m_inf < 0:
        raise UserError(f"m_inf is {m_inf}, but must not be negative: give the number of pauses after the prompt")
    _check_prompts(prompts, tokens.vocab_size + tokens.count)
    prompt_length = round_up(max(map(len, prompts)), bucket)
    pauses_M = tokens.ids(m_inf)
    ids_BxC = np.zeros((len(prompts), prompt_length + m_inf), np.int32)
    segments_BxC = np.zeros_like(ids_BxC)
    for row, prompt in enumerate(prompts):
        start = prompt_length - len(prompt)
        ids_BxC[row, start:] = np.concatenate([prompt, pauses_M])
        segments_BxC[row, start:] = 1
    return ContextRows(ids_BxC, insertion.positions(segments_BxC), segments_BxC, prompt_length, m_inf)


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


def prefix_lm_length[Number: (int, np.ndarray)](
    attention: PrefixAttention, prompt_positions: Number, num_pauses: Number
) -> Number:
    """How many positions at a row's start see each other in both directions.

    The row has `prompt_positions` positions of prompt (left padding and prepended pauses included), `num_pauses` after
    them, then the target. The counts are numbers, or arrays with one for each row. `prefix_and_pauses` is the literal
    reading of the paper (section 3.1; our default).

    >>> [prefix_lm_length(a, 5, 3) for a in ("prefix_and_pauses", "prefix_only", "causal")]
    [8, 5, 0]
    """
    lengths = {
        "prefix_and_pauses": prompt_positions + num_pauses,
        "prefix_only": prompt_positions,
        "causal": num_pauses * 0,
    }
    return lengths[attention]


def prefix_lm_length_of_prompt(
    attention: PrefixAttention, placement: Placement, prompt_length: int, num_pauses: int
) -> int:
    """How many positions of a prompt and its pauses, which come before or after it, see each other in both directions.

    >>> [prefix_lm_length_of_prompt("prefix_only", placement, 5, 3) for placement in ("append", "prepend")]
    [5, 8]
    """
    before = num_pauses if placement == "prepend" else 0
    return prefix_lm_length(attention, prompt_length + before, num_pauses - before)


class FinetuneRows(NamedTuple):
    """Rows z[0..T] of finetuning, and which positions carry loss."""

    ids_BxZ: np.ndarray  # int32
    segments_BxZ: np.ndarray  # int32, 1, or 0 in padding
    loss_weights_BxT: np.ndarray  # float32


def finetune_rows(
    prompts_BxP: np.ndarray,
    prompt_lengths_B: np.ndarray,
    num_pauses_B: np.ndarray,
    targets_BxA: np.ndarray,
    target_lengths_B: np.ndarray,
    *,
    context_length: int,
    placement: Placement,
    tokens: PauseTokens,
) -> FinetuneRows:
    """Prompts with their pauses, right-aligned, then the targets: Z = `context_length` + A (eq. 4).

    The last element of each context is next to its target. The loss is on the target's tokens alone, EOS included,
    the first of them predicted from the context's end: from the last pause, if pauses are appended. What `add_pauses`
    does to one prompt, this does to all rows at once.

    Two rows: the prompt 1 2 with two pauses (100) and the target 7 8, the prompt 3 without any and the target 9:

    >>> rows = finetune_rows(np.array([[1, 2], [0, 3]]), np.array([2, 1]), np.array([2, 0]),
    ...                      np.array([[7, 8], [9, 0]]), np.array([2, 1]),
    ...                      context_length=4, placement="append", tokens=PauseTokens(vocab_size=100, count=1))
    >>> rows.ids_BxZ
    array([[  1,   2, 100, 100,   7,   8],
           [  0,   0,   0,   3,   9,   0]], dtype=int32)
    >>> rows.loss_weights_BxT.astype(int)
    array([[0, 0, 0, 1, 1],
           [0, 0, 0, 1, 0]])

    Args:
      prompts_BxP: int, right-aligned; the last `prompt_lengths_B` of each row are the prompt.
      num_pauses_B: int, with `prompt_lengths_B` at most `context_length`.
      targets_BxA: int, left-aligned.
      placement, tokens: as of `add_pauses`.

    Raises:
      UserError: pauses where there are no pause tokens.
    """
    most = int(num_pauses_B.max(initial=0))
    run_M = tokens.ids(most)
    lengths_Bx1, pauses_Bx1 = prompt_lengths_B[:, None], num_pauses_B[:, None]
    in_front = int(placement == "prepend")
    prompt_end_Bx1 = context_length - pauses_Bx1 * (1 - in_front)
    first_pause_Bx1 = context_length - pauses_Bx1 - lengths_Bx1 * in_front
    c_C = np.arange(context_length)
    is_prompt_BxC = (c_C >= prompt_end_Bx1 - lengths_Bx1) & (c_C < prompt_end_Bx1)
    is_pause_BxC = (c_C >= first_pause_Bx1) & (c_C < first_pause_Bx1 + pauses_Bx1)
    ids_BxC = np.zeros(is_prompt_BxC.shape, np.int32)
    source_BxC = np.clip(c_C - prompt_end_Bx1 + prompts_BxP.shape[1], 0, prompts_BxP.shape[1] - 1)
    np.copyto(ids_BxC, np.take_along_axis(prompts_BxP, source_BxC, axis=1), where=is_prompt_BxC)
    if most:
        np.copyto(ids_BxC, run_M[np.clip(c_C - first_pause_Bx1, 0, most - 1)], where=is_pause_BxC)
    is_target_BxA = np.arange(targets_BxA.shape[1]) < target_lengths_B[:, None]
    ids_BxZ = np.concatenate([ids_BxC, np.where(is_target_BxA, targets_BxA, 0)], axis=1).astype(np.int32)
    segments_BxZ = np.concatenate([is_prompt_BxC | is_pause_BxC, is_target_BxA], axis=1).astype(np.int32)
    loss_weights_BxT = np.concatenate([np.zeros_like(is_pause_BxC[:, 1:]), is_target_BxA], axis=1).astype(np.float32)
    return FinetuneRows(ids_BxZ, segments_BxZ, loss_weights_BxT)


def put_hints(
    targets_BxT: np.ndarray,
    loss_weights_BxT: np.ndarray,
    hints_BxH: np.ndarray,
    is_hint_BxH: np.ndarray,
    first_B: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Targets and loss weights with hints in place of what would have been predicted there (London & Kanade, 2025).

    Row b's positions from `first_B[b]` on predict its hints, each with weight 1, where `is_hint_BxH`. What the network
    reads stays as it was: pauses stay pauses.

    >>> targets, weights = put_hints(np.array([[2, 100, 100, 7]]), np.array([[0, 0, 0, 1]]), np.array([[5, 6, 9]]),
    ...                              is_hint_BxH=np.array([[True, True, False]]), first_B=np.array([1]))
    >>> targets, weights
    (array([[2, 5, 6, 7]]), array([[0, 1, 1, 1]]))
    """
    if not hints_BxH.shape[1]:
        return targets_BxT, loss_weights_BxT
    hint_BxT = np.arange(targets_BxT.shape[1]) - first_B[:, None]  # the index of the hint at each position
    at_BxT = np.clip(hint_BxT, 0, hints_BxH.shape[1] - 1)
    is_hint_BxT = (hint_BxT == at_BxT) & np.take_along_axis(is_hint_BxH, at_BxT, axis=1)
    targets_BxT = np.where(is_hint_BxT, np.take_along_axis(hints_BxH, at_BxT, axis=1), targets_BxT)
    return targets_BxT, np.where(is_hint_BxT, 1, loss_weights_BxT).astype(loss_weights_BxT.dtype)


def first_answer_position(prompt_length: int, num_pauses: int) -> int:
    """Index in the new prefix whose output is the first answer token; all outputs before it are ignored.

    It is the prefix's last index: that of the last pause; with M = 0, or pauses prepended, of the last prompt token.

    >>> first_answer_position(3, 2), first_answer_position(3, 0)  # p1 p2 p3 _ _ and p1 p2 p3, indices from 0
    (4, 2)

    Raises:
      UserError: nothing to read the answer from.
    """
    if num_pauses < 0:
        raise UserError(f"the number of pauses is {num_pauses}, but must not be negative: check m_ft and m_inf")
    if prompt_length + num_pauses < 1:
        raise UserError("the prompt is empty and has no pauses: there is no position to read the answer from")
    return prompt_length + num_pauses - 1

"""Pauses in pretraining: where they go, and which positions of a row carry loss (paper section 3.1).

Pure NumPy functions on integer arrays; text in, rows z[0..T] out, of which position k reads z[k] and predicts z[k+1].

Shapes: B rows, N text tokens of a block, M pauses put into it, S = N + M slots that they are put into,
T positions of a row, Z = T + 1 elements of z: the last one, the look-ahead, is only ever a target.
Segment ids number the documents of a row from 1; 0 is padding, whose id and position are 0 too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np

from pause_jax.errors import UserError
from pause_jax.pauses import policies


class Rows(NamedTuple):
    """Rows z[0..T] and the segment that each element belongs to, both int32."""

    ids_BxZ: np.ndarray
    segments_BxZ: np.ndarray


def num_pauses(length: int, rate: float) -> int:
    """How many pauses are put into a block: round(rate * length), ties to even.

    >>> num_pauses(2048, 0.1)  # the paper's 10 %: 204.8
    205
    """
    return round(rate * length)


def text_tokens_per_block(length: int, rate: float, mode: Literal["trim", "exact"], max_rate: float = 0.0) -> int:
    """N, the text tokens that a block takes from the corpus, its look-ahead not counted.

    `trim` (the paper) takes T, inserts M pauses and cuts the tail that no longer fits: that text is lost.
    `exact` takes T - M, which then fill the row to its end: no text is lost.

    >>> text_tokens_per_block(2048, 0.1, "trim"), text_tokens_per_block(2048, 0.1, "exact")
    (2048, 1843)

    Args:
      max_rate: if more than `rate`, blocks have up to so many pauses, in mode `trim` alone.

    Raises:
      UserError: as many pauses as positions.
    """
    field, largest = ("max_rate", max_rate) if max_rate > rate else ("rate", rate)
    pauses = num_pauses(length, largest)
    if pauses >= length:
        raise UserError(
            f"config.pauses.{field} = {largest} puts {pauses} pauses into config.data.length = {length} positions: no "
            "block may be shorter than its pauses, so lower the rate"
        )
    return length if mode == "trim" else length - pauses


def random_words(seed: int, epoch: int, block: int, num_words: int, component: int = 0) -> np.ndarray:
    """The first `num_words` uint64 words of the random stream that belongs to (seed, epoch, block, component).

    Raw words of the counter-based generator Philox4x64-10: a pure function of its arguments, the same for any NumPy,
    which a `Generator` method does not promise. Streams are 2^64 counter values apart, so they never overlap.

    Args:
      component: of a mixture; blocks of the same number in different corpora have different words.
    """
    return np.random.Philox(key=[seed, epoch], counter=[0, block, component, 0]).random_raw(num_words)


class Blocks(NamedTuple):
    """The numbers that identify blocks, and so choose their random words."""

    epoch_B: Sequence[int] | np.ndarray
    block_B: Sequence[int] | np.ndarray
    component_B: Sequence[int] | np.ndarray | None = None  # the corpus of a mixture that each is from; None: all 0


def draw_slots(
    blocks: Blocks,
    *,
    seed: int,
    num_slots: int,
    num_pauses: int,
    fewest_pauses: int | None = None,
    policy: str = "uniform",
    burst: int = 0,
    starts_BxN1: np.ndarray | None = None,
) -> np.ndarray:
    """Which of the S slots of each block hold its M pauses: is_pause_BxS, bool.

    A block's slots depend on (seed, epoch, block, component) and, for policies that look at text, on its own text, but
    never on the rows beside it.

    Args:
      num_pauses: M, fewer than `num_slots`.
      fewest_pauses: if given, each block draws its own number of pauses, `fewest_pauses` to M, all equally likely; the
        slots that it then leaves unused are its last ones, and `insert` cuts them off in mode `trim`.
      policy: its name in `policies.POLICIES`.
      burst, starts_BxN1: of `policies.Draw`.
    """
    place = policies.POLICIES[policy].place
    is_pause_BxS = np.zeros((len(blocks.block_B), num_slots), bool)
    if num_pauses == 0:
        return is_pause_BxS
    words_BxW = np.empty((len(blocks.block_B), num_slots + 1), np.uint64)  # for the slots, and one to draw the number
    component_B = np.zeros(len(blocks.block_B), int) if blocks.component_B is None else blocks.component_B
    for row, (epoch, block, component) in enumerate(zip(blocks.epoch_B, blocks.block_B, component_B, strict=True)):
        words_BxW[row] = random_words(seed, int(epoch), int(block), num_slots + 1, int(component))
    if fewest_pauses is None:
        return place(policies.Draw(words_BxW[:, :-1], num_pauses, burst, starts_BxN1))
    pauses_B = fewest_pauses + words_BxW[:, -1] % np.uint64(num_pauses - fewest_pauses + 1)
    for row, pauses in enumerate(pauses_B.tolist()):
        if not pauses:
            continue
        slots = num_slots - num_pauses + pauses
        starts_1xN1 = None if starts_BxN1 is None else starts_BxN1[row : row + 1]
        is_pause_BxS[row, :slots] = place(policies.Draw(words_BxW[row : row + 1, :slots], pauses, burst, starts_1xN1))
    return is_pause_BxS


def insert(
    text_BxN1: np.ndarray,
    segments_BxN1: np.ndarray,
    is_pause_BxS: np.ndarray,
    *,
    length: int,
    vocab_size: int,
    num_pause_tokens: int,
) -> Rows:
    """Text of blocks with pauses in the given slots, as rows of Z = `length` + 1 (paper section 3.1, eq. 3).

    The N text tokens fill the slots that hold no pause; the look-ahead text token follows the last slot; the first Z
    elements are kept. With S = T + M slots (`trim`) that cuts the tail, with S = T (`exact`) nothing is cut, without
    pauses both are the standard row. A pause belongs to the segment of the token before it, at the start of the row to
    that of the token after it; where this is padding, so is the pause.

    The paper's example, N = 8 and M = 3 (A..H are 1..8, I is the look-ahead, the pause is 100):

    >>> text, slots = np.arange(1, 10)[None], np.array([[0, 0, 1, 0, 0, 1, 1, 0, 0, 0, 0]], bool)
    >>> insert(text, np.ones_like(text), slots, length=8, vocab_size=100, num_pause_tokens=1).ids_BxZ
    array([[  1,   2, 100,   3,   4, 100, 100,   5,   6]], dtype=int32)

    Args:
      text_BxN1: int, N text tokens and the look-ahead.
      segments_BxN1: int, their segments.
      is_pause_BxS: bool, M of S = N + M slots in each row, or fewer (a range, in `trim`); S >= `length`.
      vocab_size: where pause ids start, hence the model's vocabulary, not the tokenizer's.
      num_pause_tokens: distinct pause tokens, used in turn within a run of pauses.

    Raises:
      UserError: there are pauses to insert, but num_pause_tokens is 0.
    """
    if num_pause_tokens < 1 and is_pause_BxS.any():
        raise UserError(
            "config.model.num_pause_tokens = 0 gives the model no pause to insert: "
            "set --config.model.num_pause_tokens=1"
        )
    look_ahead_Bx1 = np.zeros_like(is_pause_BxS[:, :1])
    is_pause_BxZ = np.concatenate([is_pause_BxS, look_ahead_Bx1], axis=1)[:, : length + 1]
    # The text token at or before each element; for pauses that start the row, the one after them: number 0.
    source_BxZ = np.maximum(np.cumsum(~is_pause_BxZ, axis=1) - 1, 0)
    ids_BxZ = np.take_along_axis(text_BxN1, source_BxZ, axis=1)
    segments_BxZ = np.take_along_axis(segments_BxN1, source_BxZ, axis=1)
    if num_pause_tokens:
        pause_ids_BxZ = vocab_size + _index_in_run(is_pause_BxZ) % num_pause_tokens
        ids_BxZ = np.where(is_pause_BxZ, pause_ids_BxZ, ids_BxZ)
    ids_BxZ = np.where(segments_BxZ == 0, 0, ids_BxZ)
    return Rows(ids_BxZ.astype(np.int32), segments_BxZ.astype(np.int32))


def _index_in_run(is_pause_BxZ: np.ndarray) -> np.ndarray:
    """For each pause, how many pauses precede it without a gap; -1 where there is no pause."""
    k_Z = np.arange(is_pause_BxZ.shape[1])
    last_text_BxZ = np.maximum.accumulate(np.where(is_pause_BxZ, -1, k_Z), axis=1)
    return k_Z - last_text_BxZ - 1


def positions(segments_BxT: np.ndarray) -> np.ndarray:
    """Position of each element within its segment, pauses counted; 0 in padding. int32, the shape of the argument.

    >>> positions(np.array([[1, 1, 1, 2, 2, 0, 0]]))
    array([[0, 1, 2, 0, 1, 0, 0]], dtype=int32)
    """
    k_T = np.arange(segments_BxT.shape[1])
    starts_BxT = np.ones(segments_BxT.shape, bool)
    starts_BxT[:, 1:] = segments_BxT[:, 1:] != segments_BxT[:, :-1]
    start_BxT = np.maximum.accumulate(np.where(starts_BxT, k_T, 0), axis=1)
    return np.where(segments_BxT == 0, 0, k_T - start_BxT).astype(np.int32)


def loss_weights(ids_BxZ: np.ndarray, segments_BxZ: np.ndarray, *, vocab_size: int) -> np.ndarray:
    """Weight of the loss of each position, weights_BxT in float32: 0 or 1 (paper section 3.1, S_ignore).

    Position k predicts z[k+1]. Its weight is 0 where z[k+1] is a pause, padding, or in another segment than z[k],
    else 1: only the target decides, so a pause that is followed by text carries loss.

    The paper's example, A B _ C D _ _ E F:

    >>> ids = np.array([[1, 2, 100, 3, 4, 100, 100, 5, 6]])
    >>> loss_weights(ids, np.ones_like(ids), vocab_size=100).astype(int)
    array([[1, 0, 1, 1, 0, 0, 1, 1]])
    """
    target_is_text_BxT = ids_BxZ[:, 1:] < vocab_size
    target_is_not_padding_BxT = segments_BxZ[:, 1:] != 0
    same_segment_BxT = segments_BxZ[:, 1:] == segments_BxZ[:, :-1]
    return (target_is_text_BxT & target_is_not_padding_BxT & same_segment_BxT).astype(np.float32)


def model_features(ids_BxZ: np.ndarray, segments_BxZ: np.ndarray, *, vocab_size: int) -> dict[str, np.ndarray]:
    """The five features of rows z[0..T], each [B, T], Z = T + 1.

    inputs, targets, positions, segment_ids (those of the inputs): int32; loss_weights: float32.
    A target of weight 0 may be a pause, so >= vocab_size: a loss must not look it up in the output head unclipped.
    """
    return {
        "inputs": ids_BxZ[:, :-1],
        "targets": ids_BxZ[:, 1:],
        "loss_weights": loss_weights(ids_BxZ, segments_BxZ, vocab_size=vocab_size),
        "positions": positions(segments_BxZ[:, :-1]),
        "segment_ids": segments_BxZ[:, :-1],
    }

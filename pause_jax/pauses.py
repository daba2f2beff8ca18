"""The method: where pauses go, which ids they get, which positions carry loss (paper sections 3.1 and 3.2).

Pure NumPy functions on integer arrays; text in, rows z[0..L] out, of which position k reads z[k] and predicts z[k+1].

Shapes: B rows, N text tokens of a block, M pauses put into it, S = N + M slots that they are put into,
L positions of a row, T = L + 1 elements of z: the last one, the look-ahead, is only ever a target.
Segment ids number the documents of a row from 1; 0 is padding, whose id and position are 0 too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np

from pause_jax import policies
from pause_jax.errors import UserError
from pause_jax.policies import Policy

Placement = Literal["append", "prepend", "filler"]  # the last: an ordinary token in the pauses' place
# Among prompt and pauses: all see all; the prompt sees itself and the pauses, in order, all before; all in order.
PrefixAttention = Literal["prefix_and_pauses", "prefix_only", "causal"]
Hints = Literal["none", "pauses", "prompt"]  # whose targets are intermediate results


class Rows(NamedTuple):
    """Rows z[0..L] and the segment that each element belongs to, both int32."""

    ids_BxT: np.ndarray
    segments_BxT: np.ndarray


# --- How many


def num_pauses(length: int, rate: float) -> int:
    """Pauses put into a block: round(rate * length), a tie going to the even number.

    >>> num_pauses(2048, 0.1)  # the paper's 10 %: 204.8
    205
    """
    return round(rate * length)


def text_tokens_per_block(length: int, rate: float, mode: Literal["trim", "exact"], max_rate: float = 0.0) -> int:
    """N, the text tokens that a block takes from the corpus, its look-ahead not counted.

    `trim` (the paper) takes L, inserts M pauses and cuts the tail that no longer fits: that text is lost.
    `exact` takes L - M, which then fill the row to its end: no text is lost.

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


# --- Where


def random_words(seed: int, epoch: int, block: int, num_words: int, component: int = 0) -> np.ndarray:
    """The first `num_words` uint64 words of the random stream that belongs to (seed, epoch, block, component).

    Raw words of the counter-based generator Philox4x64-10: a pure function of its arguments, the same for any NumPy,
    which a `Generator` method does not promise. Streams are 2^64 counter values apart, so they never overlap.

    Args:
      component: of a mixture; blocks of the same number in different corpora have different words.
    """
    return np.random.Philox(key=[seed, epoch], counter=[0, block, component, 0]).random_raw(num_words)


def draw_slots(
    *,
    seed: int,
    epoch_B: Sequence[int] | np.ndarray,
    block_B: Sequence[int] | np.ndarray,
    num_slots: int,
    num_pauses: int,
    component_B: Sequence[int] | np.ndarray | None = None,
    fewest_pauses: int | None = None,
    policy: Policy = "uniform",
    burst: int = 0,
    starts_BxN1: np.ndarray | None = None,
) -> np.ndarray:
    """Which of the S slots of each block hold its M pauses: is_pause_BxS, bool.

    A block's slots depend on (seed, epoch, block, component) alone, and by policy `boundary` on its text, but never on
    the rows beside it.

    Args:
      num_pauses: M, fewer than `num_slots`.
      component_B: which corpus of a mixture each block is of; 0, if None.
      fewest_pauses: if given, each block draws its own number of pauses, `fewest_pauses` to M, all equally likely; the
        slots that it has no use for are its last ones, and `insert` cuts them off in mode `trim`.
      policy: see `policies`.
      burst: the length of runs, for `burst` alone.
      starts_BxN1: where pauses may go, for `boundary` alone (`policies.starts`).
    """
    is_pause_BxS = np.zeros((len(block_B), num_slots), bool)
    if num_pauses == 0:
        return is_pause_BxS
    words_BxW = np.empty((len(block_B), num_slots + 1), np.uint64)  # for the slots, and one to draw the number
    component_B = np.zeros(len(block_B), int) if component_B is None else component_B
    for row, (epoch, block, component) in enumerate(zip(epoch_B, block_B, component_B, strict=True)):
        words_BxW[row] = random_words(seed, int(epoch), int(block), num_slots + 1, int(component))
    if fewest_pauses is None:
        return _slots(policy, words_BxW[:, :-1], num_pauses, burst, starts_BxN1)
    pauses_B = fewest_pauses + words_BxW[:, -1] % np.uint64(num_pauses - fewest_pauses + 1)
    for row, pauses in enumerate(pauses_B.tolist()):
        if not pauses:
            continue
        slots = num_slots - num_pauses + pauses
        starts_1xN1 = None if starts_BxN1 is None else starts_BxN1[row : row + 1]
        is_pause_BxS[row, :slots] = _slots(policy, words_BxW[row : row + 1, :slots], pauses, burst, starts_1xN1)
    return is_pause_BxS


def _slots(
    policy: Policy, words_BxS: np.ndarray, num_pauses: int, burst: int, starts_BxN1: np.ndarray | None
) -> np.ndarray:
    """Slots of blocks that have the same number of pauses."""
    num_slots = words_BxS.shape[1]
    words_BxN1 = words_BxS[:, : num_slots - num_pauses + 1]
    match policy:
        case "uniform":
            return policies.uniform_slots(words_BxS, num_pauses)
        case "fixed":
            return np.broadcast_to(policies.fixed_slots(num_slots, num_pauses), words_BxS.shape)
        case "burst":
            return policies.burst_slots(words_BxN1, num_pauses, burst)
        case "boundary":
            assert starts_BxN1 is not None, "boundary wants to know where words start"
            return policies.boundary_slots(words_BxN1, starts_BxN1, num_pauses)


# --- Insertion for pretraining


def insert(
    text_BxN1: np.ndarray,
    segments_BxN1: np.ndarray,
    is_pause_BxS: np.ndarray,
    *,
    length: int,
    vocab_size: int,
    n_pauses: int,
) -> Rows:
    """Text of blocks with pauses in the given slots, as rows of T = `length` + 1 (paper section 3.1, eq. 3).

    The N text tokens fill the slots that hold no pause; the look-ahead text token follows the last slot; the first T
    elements are kept. With S = L + M slots (`trim`) that cuts the tail, with S = L (`exact`) nothing is cut, without
    pauses both are the standard row. A pause belongs to the segment of the token before it, at the start of the row to
    that of the token after it; where this is padding, so is the pause.

    The paper's example, N = 8 and M = 3 (A..H are 1..8, I is the look-ahead, the pause is 100):

    >>> text, slots = np.arange(1, 10)[None], np.array([[0, 0, 1, 0, 0, 1, 1, 0, 0, 0, 0]], bool)
    >>> insert(text, np.ones_like(text), slots, length=8, vocab_size=100, n_pauses=1).ids_BxT
    array([[  1,   2, 100,   3,   4, 100, 100,   5,   6]], dtype=int32)

    Args:
      text_BxN1: int, N text tokens and the look-ahead.
      segments_BxN1: int, their segments.
      is_pause_BxS: bool, M of S = N + M slots in each row, or fewer (a range, in `trim`); S >= `length`.
      vocab_size: where pause ids start, hence the model's vocabulary, not the tokenizer's.
      n_pauses: distinct pause tokens, used in turn within a run of pauses.

    Raises:
      UserError: there are pauses to insert, but n_pauses is 0.
    """
    if n_pauses < 1 and is_pause_BxS.any():
        raise UserError("config.pauses.n_pauses = 0 gives the model no pause to insert: set --config.pauses.n_pauses=1")
    look_ahead_Bx1 = np.zeros_like(is_pause_BxS[:, :1])
    is_pause_BxT = np.concatenate([is_pause_BxS, look_ahead_Bx1], axis=1)[:, : length + 1]
    # The text token at or before each element; for pauses that start the row, the one after them: number 0.
    source_BxT = np.maximum(np.cumsum(~is_pause_BxT, axis=1) - 1, 0)
    ids_BxT = np.take_along_axis(text_BxN1, source_BxT, axis=1)
    segments_BxT = np.take_along_axis(segments_BxN1, source_BxT, axis=1)
    if n_pauses:
        pause_ids_BxT = vocab_size + _index_in_run(is_pause_BxT) % n_pauses
        ids_BxT = np.where(is_pause_BxT, pause_ids_BxT, ids_BxT)
    ids_BxT = np.where(segments_BxT == 0, 0, ids_BxT)
    return Rows(ids_BxT.astype(np.int32), segments_BxT.astype(np.int32))


def _index_in_run(is_pause_BxT: np.ndarray) -> np.ndarray:
    """For each pause, how many pauses precede it without a gap; -1 where there is no pause."""
    k_T = np.arange(is_pause_BxT.shape[1])
    last_text_BxT = np.maximum.accumulate(np.where(is_pause_BxT, -1, k_T), axis=1)
    return k_T - last_text_BxT - 1


# --- Features of rows


def positions(segments_BxL: np.ndarray) -> np.ndarray:
    """Position of each element within its segment, pauses counted; 0 in padding. int32, the shape of the argument.

    >>> positions(np.array([[1, 1, 1, 2, 2, 0, 0]]))
    array([[0, 1, 2, 0, 1, 0, 0]], dtype=int32)
    """
    k_L = np.arange(segments_BxL.shape[1])
    starts_BxL = np.ones(segments_BxL.shape, bool)
    starts_BxL[:, 1:] = segments_BxL[:, 1:] != segments_BxL[:, :-1]
    start_BxL = np.maximum.accumulate(np.where(starts_BxL, k_L, 0), axis=1)
    return np.where(segments_BxL == 0, 0, k_L - start_BxL).astype(np.int32)


def loss_weights(ids_BxT: np.ndarray, segments_BxT: np.ndarray, *, vocab_size: int) -> np.ndarray:
    """Weight of the loss of each position, weights_BxL in float32: 0 or 1 (paper section 3.1, S_ignore).

    Position k predicts z[k+1]. Its weight is 0 where z[k+1] is a pause, padding, or in another segment than z[k],
    else 1: only the target decides, so a pause that is followed by text carries loss.

    The paper's example, A B _ C D _ _ E F:

    >>> ids = np.array([[1, 2, 100, 3, 4, 100, 100, 5, 6]])
    >>> loss_weights(ids, np.ones_like(ids), vocab_size=100).astype(int)
    array([[1, 0, 1, 1, 0, 0, 1, 1]])
    """
    target_is_text_BxL = ids_BxT[:, 1:] < vocab_size
    target_is_not_padding_BxL = segments_BxT[:, 1:] != 0
    same_segment_BxL = segments_BxT[:, 1:] == segments_BxT[:, :-1]
    return (target_is_text_BxL & target_is_not_padding_BxL & same_segment_BxL).astype(np.float32)


# --- Finetuning and inference


def pause_ids(num_pauses: int, *, vocab_size: int, n_pauses: int) -> np.ndarray:
    """The ids of one run of M pauses, [M] in int32: vocab_size + j, where j counts modulo n_pauses.

    >>> pause_ids(3, vocab_size=100, n_pauses=2)
    array([100, 101, 100], dtype=int32)

    Raises:
      UserError: M is negative, or positive where n_pauses is 0.
    """
    if num_pauses < 0:
        raise UserError(f"the number of pauses is {num_pauses}, but must not be negative: check m_ft and m_inf")
    if num_pauses and n_pauses < 1:
        raise UserError(
            f"{num_pauses} pauses are asked for, but config.pauses.n_pauses = 0 gives the model none: "
            "set --config.pauses.n_pauses=1"
        )
    return (vocab_size + np.arange(num_pauses) % max(n_pauses, 1)).astype(np.int32)


def add_pauses(
    prompt_N: Sequence[int] | np.ndarray,
    num_pauses: int,
    *,
    placement: Placement,
    vocab_size: int,
    n_pauses: int,
    filler: int = 0,
) -> np.ndarray:
    """The new prefix of finetuning and inference: a prompt and its M pauses, [N + M] in int32 (paper section 3.1).

    `append` (the paper's default) puts them after the prompt, `prepend` before it, `filler` puts M copies of the
    ordinary token `filler` after it instead. Left padding, if any, is added to the result, not to the prompt.

    >>> add_pauses([1, 2, 3], 2, placement="append", vocab_size=100, n_pauses=1)
    array([  1,   2,   3, 100, 100], dtype=int32)
    >>> add_pauses([1, 2, 3], 2, placement="prepend", vocab_size=100, n_pauses=1)
    array([100, 100,   1,   2,   3], dtype=int32)
    """
    prompt_N = np.asarray(prompt_N, np.int32)
    if placement == "filler":
        return np.concatenate([prompt_N, np.full(num_pauses, filler, np.int32)])
    pauses_M = pause_ids(num_pauses, vocab_size=vocab_size, n_pauses=n_pauses)
    return np.concatenate([pauses_M, prompt_N] if placement == "prepend" else [prompt_N, pauses_M])


def bidirectional_length[Number: (int, np.ndarray)](
    attention: PrefixAttention, prefix_length: Number, num_pauses: Number
) -> Number:
    """How many positions at a row's start see each other in both directions.

    The row has `prefix_length` positions of prompt (left padding and prepended pauses included), `num_pauses` after
    them, then the target: numbers, or arrays of a row's each. `prefix_and_pauses` is the paper's literal reading
    (section 3.1; our default).

    >>> [bidirectional_length(a, 5, 3) for a in ("prefix_and_pauses", "prefix_only", "causal")]
    [8, 5, 0]
    """
    lengths = {"prefix_and_pauses": prefix_length + num_pauses, "prefix_only": prefix_length, "causal": num_pauses * 0}
    return lengths[attention]


def two_way(attention: PrefixAttention, placement: Placement, prompt_length: int, num_pauses: int) -> int:
    """Of a prompt and its pauses, before or after it: how many positions see each other in both directions.

    >>> two_way("prefix_only", "append", 5, 3), two_way("prefix_only", "prepend", 5, 3)
    (5, 8)
    """
    before = num_pauses if placement == "prepend" else 0
    return bidirectional_length(attention, prompt_length + before, num_pauses - before)


class FinetuneRows(NamedTuple):
    """Rows z[0..L] of finetuning, and which positions carry loss."""

    ids_BxT: np.ndarray  # int32
    segments_BxT: np.ndarray  # int32, 1, or 0 in padding
    loss_weights_BxL: np.ndarray  # float32


def finetune_rows(
    prompts_BxP: np.ndarray,
    prompt_lengths_B: np.ndarray,
    num_pauses_B: np.ndarray,
    targets_BxA: np.ndarray,
    target_lengths_B: np.ndarray,
    *,
    context_length: int,
    placement: Placement,
    vocab_size: int,
    n_pauses: int,
    filler: int = 0,
) -> FinetuneRows:
    """Prompts with their pauses, right-aligned, then the targets: T = `context_length` + A (eq. 4).

    The last element of each context is next to its target. The loss is on the target's tokens alone, EOS included,
    the first of them predicted from the context's end: from the last pause, if pauses are appended. What `add_pauses`
    does to one prompt, this does to all rows at once.

    Two rows: the prompt 1 2 with two pauses (100) and the target 7 8, the prompt 3 without any and the target 9:

    >>> rows = finetune_rows(np.array([[1, 2], [0, 3]]), np.array([2, 1]), np.array([2, 0]),
    ...                      np.array([[7, 8], [9, 0]]), np.array([2, 1]),
    ...                      context_length=4, placement="append", vocab_size=100, n_pauses=1)
    >>> rows.ids_BxT
    array([[  1,   2, 100, 100,   7,   8],
           [  0,   0,   0,   3,   9,   0]], dtype=int32)
    >>> rows.loss_weights_BxL.astype(int)
    array([[0, 0, 0, 1, 1],
           [0, 0, 0, 1, 0]])

    Args:
      prompts_BxP: int, right-aligned; the last `prompt_lengths_B` of each row are the prompt.
      num_pauses_B: int, with `prompt_lengths_B` at most `context_length`.
      targets_BxA: int, left-aligned.
      placement, n_pauses, filler: as of `add_pauses`.

    Raises:
      UserError: pauses where n_pauses is 0.
    """
    most = int(num_pauses_B.max(initial=0))
    if placement == "filler":
        run_M = np.full(most, filler, np.int32)
    else:
        run_M = pause_ids(most, vocab_size=vocab_size, n_pauses=n_pauses)
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
    ids_BxT = np.concatenate([ids_BxC, np.where(is_target_BxA, targets_BxA, 0)], axis=1).astype(np.int32)
    segments_BxT = np.concatenate([is_prompt_BxC | is_pause_BxC, is_target_BxA], axis=1).astype(np.int32)
    loss_weights_BxL = np.concatenate([np.zeros_like(is_pause_BxC[:, 1:]), is_target_BxA], axis=1).astype(np.float32)
    return FinetuneRows(ids_BxT, segments_BxT, loss_weights_BxL)


def put_hints(
    targets_BxL: np.ndarray,
    loss_weights_BxL: np.ndarray,
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
        return targets_BxL, loss_weights_BxL
    hint_BxL = np.arange(targets_BxL.shape[1]) - first_B[:, None]  # which of them
    at_BxL = np.clip(hint_BxL, 0, hints_BxH.shape[1] - 1)
    is_hint_BxL = (hint_BxL == at_BxL) & np.take_along_axis(is_hint_BxH, at_BxL, axis=1)
    targets_BxL = np.where(is_hint_BxL, np.take_along_axis(hints_BxH, at_BxL, axis=1), targets_BxL)
    return targets_BxL, np.where(is_hint_BxL, 1, loss_weights_BxL).astype(loss_weights_BxL.dtype)


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

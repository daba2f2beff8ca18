"""Where pauses go in pretraining: each policy turns a block's random words into the slots that hold its pauses.

Pure NumPy functions, called by `insertion.draw_slots`. Every policy puts exactly M pauses into the S slots of a block,
so that policies are compared at equal numbers of pauses; `trim` then cuts them off with the rest of the tail.
`POLICIES` names them: a new one is a function of a `Draw` and a line there.

  uniform   any M of the slots (paper section 3.1).
  boundary  only before tokens that start a word, or a sentence.
  burst     in runs of k, before tokens drawn uniformly.
  fixed     every k-th slot, as evenly as can be: no randomness, the same places in each block.

Shapes: B rows, N text tokens of a block, N1 = N + 1 with its look-ahead, M pauses, S = N + M slots, V vocabulary.
Gap j of a block is the place before its text token j; the last one, N, is before the look-ahead.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import Literal, NamedTuple

import numpy as np

Boundary = Literal["word", "sentence"]


class Trait(enum.IntFlag):
    """What a token's text tells of words and sentences; `tokenizers/vocabularies.token_traits` computes each id's."""

    BEGINS_WITH_SPACE = 1  # white space, which newlines are too
    ENDS_WITH_SPACE = 2
    ONLY_SPACE = 4
    ENDS_SENTENCE = 8  # . ! or ?, quotes and brackets that close after it left aside
    ONLY_CLOSES = 16  # quotes and brackets that close, and no more
    ENDS_DOCUMENT = 32  # the EOS


# --- Policies


class Draw(NamedTuple):
    """What a policy is given to place pauses: blocks that have the same number of pauses."""

    words_BxS: np.ndarray  # uint64, a random word of each slot
    num_pauses: int  # M
    burst: int = 0  # config.pauses.burst
    starts_BxN1: np.ndarray | None = None  # bool, which tokens start a word or sentence, for policies that need it

    @property
    def words_BxN1(self) -> np.ndarray:
        """A random word of each gap."""
        return self.words_BxS[:, : self.words_BxS.shape[1] - self.num_pauses + 1]


class Policy(NamedTuple):
    """One way of placing pauses."""

    place: Callable[[Draw], np.ndarray]  # → is_pause_BxS, bool, M in each row
    needs_starts: bool = False  # of words or sentences: the tokens' text is looked at


def uniform_slots(words_BxS: np.ndarray, num_pauses: int) -> np.ndarray:
    """M of S slots, uniformly without replacement: those with the M smallest random words (paper section 3.1).

    Runs of pauses are not capped: the paper's "multiple copies at uniformly random locations".

    >>> uniform_slots(np.array([[7, 3, 9, 1, 5]], np.uint64), num_pauses=2).astype(int)
    array([[0, 1, 0, 1, 0]])
    """
    is_pause_BxS = np.zeros(words_BxS.shape, bool)
    chosen_BxM = np.argpartition(words_BxS, num_pauses, axis=1)[:, :num_pauses]
    np.put_along_axis(is_pause_BxS, chosen_BxM, True, axis=1)
    return is_pause_BxS


def fixed_slots(num_slots: int, num_pauses: int) -> np.ndarray:
    """M of S slots at equal distances, is_pause_S: those where (s + 1) * M // S grows. Distances differ by 1 at most.

    >>> fixed_slots(11, 3).astype(int)
    array([0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 1])
    """
    return np.diff(np.arange(num_slots + 1) * num_pauses // num_slots) > 0


def burst_slots(words_BxN1: np.ndarray, num_pauses: int, burst: int) -> np.ndarray:
    """M pauses in runs of `burst`, each in another gap, drawn uniformly; one run, drawn at random, has what remains.

    That run is not the last one of the text: `trim` would cut that one, and keep more pauses than of other policies.
    Runs share a gap only where there are more runs than gaps.

    >>> burst_slots(np.array([[7, 3, 9, 1, 5]], np.uint64), num_pauses=5, burst=3).astype(int)  # in gaps 1 and 3
    array([[0, 1, 1, 0, 0, 1, 1, 1, 0]])
    """
    num_runs = -(-num_pauses // burst)
    runs_BxN1 = spread(words_BxN1, np.ones(words_BxN1.shape, bool), num_runs)
    short_Bx1 = np.argmax(np.where(runs_BxN1 > 0, words_BxN1 | np.uint64(1), 0), axis=1, keepdims=True)
    pauses_BxN1 = runs_BxN1 * burst
    left_Bx1 = np.take_along_axis(pauses_BxN1, short_Bx1, axis=1) - (num_runs * burst - num_pauses)
    np.put_along_axis(pauses_BxN1, short_Bx1, left_Bx1, axis=1)
    return slots_of_gaps(pauses_BxN1, num_pauses)


def boundary_slots(words_BxN1: np.ndarray, starts_BxN1: np.ndarray, num_pauses: int) -> np.ndarray:
    """M pauses in the gaps before starts of words or sentences (`starts`), drawn uniformly without replacement.

    Of more pauses than starts, each start gets the same number, and what remains is drawn. A block without any takes
    all its gaps for starts.

    >>> starts = np.array([[0, 1, 0, 1, 1]], bool)
    >>> boundary_slots(np.array([[1, 9, 2, 7, 8]], np.uint64), starts, num_pauses=2).astype(int)  # in gaps 3 and 4
    array([[0, 0, 0, 1, 0, 1]])
    """
    starts_BxN1 = starts_BxN1 | ~starts_BxN1.any(axis=1, keepdims=True)
    return slots_of_gaps(spread(words_BxN1, starts_BxN1, num_pauses), num_pauses)


# --- Gaps


def spread(words_BxG: np.ndarray, may_hold_BxG: np.ndarray, num_items: int) -> np.ndarray:
    """How many of `num_items` each gap gets: the same number for all that may hold any.

    What remains goes to those of them with the smallest random words, one each: uniformly without replacement. In each
    row at least one gap may hold some.

    >>> words, may_hold = np.array([[1, 9, 2, 7, 8]], np.uint64), np.array([[0, 1, 0, 1, 1]], bool)
    >>> spread(words, may_hold, 1), spread(words, may_hold, 4)
    (array([[0, 0, 0, 1, 0]]), array([[0, 1, 0, 2, 1]]))
    """
    last = np.uint64(2**64 - 1)
    keys_BxG = np.where(may_hold_BxG, np.minimum(words_BxG, last - np.uint64(1)), last)
    each_Bx1, rest_Bx1 = np.divmod(num_items, may_hold_BxG.sum(axis=1, keepdims=True))
    smallest_BxR = np.argpartition(keys_BxG, np.unique(rest_Bx1), axis=1)[:, : rest_Bx1.max()]  # any `rest` first
    counts_BxG = may_hold_BxG * each_Bx1
    gets_one_more_BxG = np.zeros(may_hold_BxG.shape, bool)
    np.put_along_axis(gets_one_more_BxG, smallest_BxR, np.arange(smallest_BxR.shape[1]) < rest_Bx1, axis=1)
    return counts_BxG + gets_one_more_BxG


def slots_of_gaps(pauses_BxN1: np.ndarray, num_pauses: int) -> np.ndarray:
    """is_pause_BxS for the given number of pauses in each gap, M in each row.

    >>> slots_of_gaps(np.array([[0, 2, 0, 1]]), num_pauses=3).astype(int)
    array([[0, 1, 1, 0, 0, 1]])
    """
    num_rows, num_text = pauses_BxN1.shape[0], pauses_BxN1.shape[1] - 1
    text_slots_BxN = np.arange(num_text) + np.cumsum(pauses_BxN1[:, :-1], axis=1)
    is_pause_BxS = np.ones((num_rows, num_text + num_pauses), bool)
    np.put_along_axis(is_pause_BxS, text_slots_BxN, False, axis=1)
    return is_pause_BxS


# --- Starts of words and sentences


def starts(text_BxN1: np.ndarray, segments_BxN1: np.ndarray, traits_V: np.ndarray, boundary: Boundary) -> np.ndarray:
    """Which tokens start a word, or a sentence: starts_BxN1, bool.

    A token starts a word where white space comes before it or is its beginning, but it is not white space alone. A
    sentence starts with a word after . ! or ?; white space, and quotes and brackets that close, may come between. A
    document's start is both. So "e.g. this" starts a sentence, as "this" does after any other dot and white space.

    A block's first token starts nothing, as what comes before it is not known: its gap is the last one of the block
    before. Gaps within padding count as starts, or all the pauses of a last block would crowd into what little text it
    has; there they become padding.

    Ids 0..4 are `a`, a space, `.`, EOS and ` b`, text is `aa. a`, EOS, `a b`, padding twice:

    >>> S = Trait.BEGINS_WITH_SPACE | Trait.ENDS_WITH_SPACE | Trait.ONLY_SPACE
    >>> traits = np.array([0, S, Trait.ENDS_SENTENCE, Trait.ENDS_DOCUMENT, Trait.BEGINS_WITH_SPACE], np.uint8)
    >>> text, segments = np.array([[0, 0, 2, 1, 0, 3, 0, 4, 0, 0]]), np.array([[1, 1, 1, 1, 1, 1, 2, 2, 0, 0]])
    >>> starts(text, segments, traits, "word").astype(int)
    array([[0, 0, 0, 0, 1, 0, 1, 1, 0, 1]])
    >>> starts(text, segments, traits, "sentence").astype(int)
    array([[0, 0, 0, 0, 1, 0, 1, 0, 0, 1]])

    Args:
      segments_BxN1: tells padding, 0.
      traits_V: uint8, the `Trait`s of each id.
    """
    traits_BxN1 = traits_V[text_BxN1]
    before_BxN, at_BxN = traits_BxN1[:, :-1], traits_BxN1[:, 1:]
    is_after_space_BxN = _has(before_BxN, Trait.ENDS_WITH_SPACE | Trait.ENDS_DOCUMENT)
    starts_BxN = is_after_space_BxN | _has(at_BxN, Trait.BEGINS_WITH_SPACE)
    starts_BxN &= ~_has(at_BxN, Trait.ONLY_SPACE | Trait.ENDS_DOCUMENT)
    if boundary == "sentence":
        is_between_BxN = _has(before_BxN, Trait.ONLY_SPACE | Trait.ONLY_CLOSES)
        last_BxN = np.maximum.accumulate(np.where(is_between_BxN, 0, np.arange(before_BxN.shape[1])), axis=1)
        ends_BxN = _has(before_BxN, Trait.ENDS_SENTENCE | Trait.ENDS_DOCUMENT)
        starts_BxN &= np.take_along_axis(ends_BxN, last_BxN, axis=1)
    starts_BxN &= segments_BxN1[:, 1:] != 0
    starts_BxN |= segments_BxN1[:, :-1] == 0
    return np.pad(starts_BxN, ((0, 0), (1, 0)))


def _has(traits: np.ndarray, wanted: Trait) -> np.ndarray:
    """Which elements have any of the wanted traits."""
    return (traits & np.uint8(wanted)) != 0


# --- Policies by their names in config.pauses.policy


def _place_fixed(draw: Draw) -> np.ndarray:
    return np.broadcast_to(fixed_slots(draw.words_BxS.shape[1], draw.num_pauses), draw.words_BxS.shape)


def _place_at_boundaries(draw: Draw) -> np.ndarray:
    assert draw.starts_BxN1 is not None, "the policy 'boundary' needs to know where words start"
    return boundary_slots(draw.words_BxN1, draw.starts_BxN1, draw.num_pauses)


POLICIES: dict[str, Policy] = {
    "uniform": Policy(lambda draw: uniform_slots(draw.words_BxS, draw.num_pauses)),
    "boundary": Policy(_place_at_boundaries, needs_starts=True),
    "burst": Policy(lambda draw: burst_slots(draw.words_BxN1, draw.num_pauses, draw.burst)),
    "fixed": Policy(_place_fixed),
}

"""Where pauses go: what every policy promises, and what each one is, by hand and over random blocks."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pause_jax.pauses import insertion, policies
from pause_jax.pauses.policies import Trait

SPACE = Trait.BEGINS_WITH_SPACE | Trait.ENDS_WITH_SPACE | Trait.ONLY_SPACE
POLICIES = ["uniform", "boundary", "burst", "fixed"]


def draw(policy, *, blocks, num_text, num_pauses, seed=0, burst=3, starts=None, fewest=None):
    """is_pause_BxS of blocks of epoch 0; starts: of each block."""
    return insertion.draw_slots(
        insertion.Blocks([0] * len(blocks), blocks),
        seed=seed,
        num_slots=num_text + num_pauses,
        num_pauses=num_pauses,
        fewest_pauses=fewest,
        policy=policy,
        burst=burst if policy == "burst" else 0,
        starts_BxN1=np.array(starts) if policy == "boundary" else None,
    )


def gaps_of(is_pause_S):
    """The gap of each pause: how many text tokens come before it."""
    return np.cumsum(~is_pause_S)[is_pause_S].tolist()


def run_lengths(is_pause_S):
    return [len(list(run)) for is_pause, run in itertools.groupby(is_pause_S.tolist()) if is_pause]


@st.composite
def cases(draw_value):
    """Three blocks of some policy, whose starts of words differ."""
    num_text = draw_value(st.integers(1, 30))
    row_of_starts = st.lists(st.booleans(), min_size=num_text + 1, max_size=num_text + 1)
    return {
        "policy": draw_value(st.sampled_from(POLICIES)),
        "num_text": num_text,
        "num_pauses": draw_value(st.integers(0, 40)),  # more than gaps, too
        "seed": draw_value(st.integers(0, 2**31 - 1)),
        "burst": draw_value(st.integers(1, 7)),
        "starts": [draw_value(row_of_starts) for _ in range(3)],
    }


# --- Every policy


@given(cases())
@settings(max_examples=300)
def test_each_block_gets_all_of_its_pauses_whatever_blocks_are_beside_it(case):
    slots = draw(blocks=[5, 9, 5], **case)
    assert slots.shape == (3, case["num_text"] + case["num_pauses"]) and slots.dtype == bool
    assert slots.sum(axis=1).tolist() == [case["num_pauses"]] * 3
    for row, block in enumerate([5, 9, 5]):
        alone = draw(blocks=[block], **{**case, "starts": [case["starts"][row]]})
        np.testing.assert_array_equal(alone[0], slots[row])


@given(cases(), st.booleans())
@settings(max_examples=300)
def test_text_keeps_its_order(case, exact):
    num_text, length = case["num_text"], case["num_text"] + (case["num_pauses"] if exact else 0)
    text = np.arange(1, num_text + 2)[None]
    slots = draw(blocks=[3], **{**case, "starts": case["starts"][:1]})
    ids = insertion.insert(text, np.ones_like(text), slots, length=length, vocab_size=100, num_pause_tokens=2).ids_BxZ[
        0
    ]
    kept = ids[ids < 100].tolist()
    assert kept == list(range(1, len(kept) + 1)) and len(ids) == length + 1
    if exact:
        assert kept == text[0].tolist()


@given(cases(), st.integers(0, 40))
@settings(max_examples=300)
def test_a_block_of_a_range_is_the_block_of_its_own_number(case, fewest):
    fewest = min(fewest, case["num_pauses"])
    slots = draw(blocks=[5, 9, 5], fewest=fewest, **case)
    numbers = slots.sum(axis=1).tolist()
    assert numbers[0] == numbers[2] and all(fewest <= number <= case["num_pauses"] for number in numbers)
    for row, (block, number) in enumerate(zip([5, 9, 5], numbers, strict=True)):
        alone = draw(blocks=[block], **{**case, "starts": [case["starts"][row]], "num_pauses": number})[0]
        assert slots[row, : len(alone)].tolist() == alone.tolist() and not slots[row, len(alone) :].any()


@pytest.mark.parametrize("policy", POLICIES)
def test_the_same_for_ever(policy):
    # Golden: a change here is a change of what every run of this policy reads, resumed ones too.
    starts = [[False, True, False, True, True, False, True, True, False]]
    slots = draw(policy, blocks=[5], num_text=8, num_pauses=4, seed=7, starts=starts)
    assert "".join("_" if is_pause else "x" for is_pause in slots[0]) == GOLDEN_SLOTS[policy]


GOLDEN_SLOTS = {
    "uniform": "x_xx_x__xxxx",
    "boundary": "x_xxx_xx_x_x",
    "burst": "x_xxxxxx___x",
    "fixed": "xx_xx_xx_xx_",
}


@pytest.mark.parametrize("policy", ["uniform", "boundary", "burst"])
def test_slots_differ_by_seed_and_block(policy):
    starts = [[True] * 41] * 2
    first, second = (draw(policy, blocks=[0, 1], num_text=40, num_pauses=12, seed=s, starts=starts) for s in (0, 1))
    assert len({row.tobytes() for row in [*first, *second]}) == 4


def test_numbers_of_a_range_are_equally_likely():
    numbers = draw("uniform", blocks=range(6000), num_text=10, num_pauses=7, fewest=2).sum(axis=1)
    counts = np.bincount(numbers, minlength=8)
    assert counts[:2].tolist() == [0, 0]
    assert (abs(counts[2:] - 1000) < 5 * np.sqrt(1000 * 5 / 6)).all()  # 5 standard deviations


# --- Boundary


@given(cases())
@settings(max_examples=300)
def test_boundary_goes_before_starts_alone_and_evenly(case):
    slots = draw(blocks=[1, 2, 3], **{**case, "policy": "boundary"})
    for row, starts in zip(slots, case["starts"], strict=True):
        counts = np.bincount(gaps_of(row), minlength=case["num_text"] + 1)
        allowed = np.array(starts) | (not any(starts))
        assert not counts[~allowed].any()
        assert set((counts[allowed] - case["num_pauses"] // allowed.sum()).tolist()) <= {0, 1}


def test_boundary_takes_every_set_of_starts_equally_often():
    starts = [[False, True, True, False, True, True]] * 6000
    slots = draw("boundary", blocks=range(6000), num_text=5, num_pauses=2, starts=starts)
    sets = [tuple(gaps_of(row)) for row in slots]
    assert set(sets) == set(itertools.combinations([1, 2, 4, 5], 2))
    assert all(abs(sets.count(chosen) - 1000) < 5 * np.sqrt(1000 * 5 / 6) for chosen in set(sets))


def test_the_gaps_of_the_smallest_words_get_one_more():
    # Wide rows, of which each has another number of starts: small ones are sorted whole by any partition.
    words = np.stack([insertion.random_words(0, 0, block, 2000) for block in range(5)])
    may_hold = np.stack([insertion.random_words(1, 0, block, 2000) % np.uint64(block + 2) == 0 for block in range(5)])
    for counts, row, held in zip(policies.spread(words, may_hold, 700), words, may_hold, strict=True):
        each, rest = divmod(700, held.sum())
        expected = each * held
        expected[np.flatnonzero(held)[np.argsort(row[held])[:rest]]] += 1
        assert counts.tolist() == expected.tolist() and rest > 0


# --- Burst


@given(cases())
@settings(max_examples=300)
def test_bursts_have_their_length_but_one(case):
    num_pauses, burst = case["num_pauses"], case["burst"]
    slots = draw(blocks=[1, 2, 3], **{**case, "policy": "burst"})
    if -(-num_pauses // burst) > case["num_text"] + 1:  # more runs than gaps: they cannot be told apart
        return
    expected = [burst] * (num_pauses // burst) + [num_pauses % burst] * (num_pauses % burst > 0)
    assert [sorted(run_lengths(row), reverse=True) for row in slots] == [expected] * 3


def test_bursts_start_anywhere_equally_often():
    slots = draw("burst", blocks=range(6000), num_text=5, num_pauses=3, burst=3)
    counts = np.bincount([gaps_of(row)[0] for row in slots])
    assert len(counts) == 6 and (abs(counts - 1000) < 5 * np.sqrt(1000 * 5 / 6)).all()


def test_the_short_burst_is_any_of_them():
    slots = draw("burst", blocks=range(6000), num_text=20, num_pauses=10, burst=4)
    counts = np.bincount([run_lengths(row).index(2) for row in slots])
    assert len(counts) == 3 and (abs(counts - 2000) < 5 * np.sqrt(2000 * 2 / 3)).all()


# --- Fixed


def test_fixed_by_hand():
    assert policies.fixed_slots(6, 3).astype(int).tolist() == [0, 1, 0, 1, 0, 1]
    assert policies.fixed_slots(7, 2).astype(int).tolist() == [0, 0, 0, 1, 0, 0, 1]


@given(cases())
@settings(max_examples=300)
def test_fixed_distances_differ_by_one_at_most(case):
    slots = draw(blocks=[1, 2, 3], **{**case, "policy": "fixed"})
    assert (slots == slots[0]).all()
    distances = np.diff([-1, *np.flatnonzero(slots[0])])
    assert not len(distances) or distances.max() - distances.min() <= 1


# --- Starts


TRAITS = np.zeros(10, np.uint8)
A, SPACE_ID, DOT, QUOTE, EOS, PIECE, BLANK_DOT = range(7)  # BLANK_DOT: the piece " ."
TRAITS[[SPACE_ID, DOT, QUOTE, EOS, PIECE]] = [
    SPACE,
    Trait.ENDS_SENTENCE,
    Trait.ONLY_CLOSES,
    Trait.ENDS_DOCUMENT,
    Trait.BEGINS_WITH_SPACE,
]
TRAITS[BLANK_DOT] = Trait.BEGINS_WITH_SPACE | Trait.ENDS_SENTENCE


@pytest.mark.parametrize(
    ("text", "words", "sentences"),
    [
        ([A, A, SPACE_ID, A, A], [3], []),
        ([A, SPACE_ID, SPACE_ID, A], [3], []),  # the last space is not a word
        ([A, DOT, A], [], []),  # 3.5
        ([A, DOT, SPACE_ID, SPACE_ID, A], [4], [4]),
        ([A, DOT, QUOTE, SPACE_ID, A], [4], [4]),
        ([A, QUOTE, SPACE_ID, A], [3], []),
        ([A, DOT, A, SPACE_ID, A], [4], []),
        ([A, DOT, PIECE, A, PIECE], [2, 4], [2]),
        ([A, DOT, SPACE_ID, PIECE], [3], [3]),
        ([A, BLANK_DOT, PIECE], [1, 2], [2]),
        ([A, EOS, A, A, EOS, PIECE], [2, 5], [2, 5]),
        ([A, EOS, EOS, SPACE_ID, A], [4], [4]),  # an empty document, and one that begins with a space
        ([SPACE_ID, A, SPACE_ID, A], [1, 3], []),  # what came before the block is not known
        ([QUOTE, SPACE_ID, A], [2], []),
    ],
)
def test_starts_by_hand(text, words, sentences):
    for boundary, expected in (("word", words), ("sentence", sentences)):
        starts = policies.starts(np.array([text]), np.ones((1, len(text)), int), TRAITS, boundary)
        assert np.flatnonzero(starts[0]).tolist() == expected, boundary


def test_gaps_within_padding_count_as_starts():
    # Not the one before it: a pause there would belong to the text.
    text, segments = np.array([[A, DOT, PIECE, EOS, 0, 0]]), np.array([[1, 1, 1, 1, 0, 0]])
    assert policies.starts(text, segments, TRAITS, "sentence").astype(int).tolist() == [[0, 0, 1, 0, 0, 1]]

"""The method, against numbers written by hand from the paper's examples (PAPER.md 1.2 and 1.3)."""

from __future__ import annotations

import collections
import doctest
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pause_jax.errors import UserError
from pause_jax.pauses import downstream, insertion, policies

VOCAB_SIZE = 100
PAUSE = 100
A, B, C, D, E, F, G, H, AHEAD = range(1, 10)


def slots_of(*pause_slots: int, num_slots: int) -> np.ndarray:
    return np.isin(np.arange(num_slots), pause_slots)[None]


def insert(text, segments, slots, *, length, num_pause_tokens=1):
    rows = insertion.insert(
        np.array([text]),
        np.array([segments]),
        slots,
        length=length,
        vocab_size=VOCAB_SIZE,
        num_pause_tokens=num_pause_tokens,
    )
    return rows.ids_BxZ[0].tolist(), rows.segments_BxZ[0].tolist()


def test_worked_examples_in_docstrings():
    for module, at_least in ((insertion, 6), (downstream, 5), (policies, 10)):
        tried = doctest.testmod(module)
        assert tried.attempted >= at_least and tried.failed == 0


def test_counts():
    assert insertion.num_pauses(2048, 0.1) == 205
    assert insertion.num_pauses(256, 0.0) == 0
    assert insertion.text_tokens_per_block(2048, 0.1, "trim") == 2048
    assert insertion.text_tokens_per_block(2048, 0.1, "exact") == 1843
    assert insertion.text_tokens_per_block(8, 0.0, "trim") == insertion.text_tokens_per_block(8, 0.0, "exact") == 8


@pytest.mark.parametrize("mode", ["trim", "exact"])
def test_block_shorter_than_its_pauses(mode):
    assert insertion.text_tokens_per_block(8, 0.85, mode) >= 1  # 7 pauses
    with pytest.raises(UserError, match=r"config\.pauses\.rate = 1\.0 puts 8 pauses into config\.data\.length = 8 "):
        insertion.text_tokens_per_block(8, 1.0, mode)


def test_blocks_of_a_range_are_judged_by_its_largest_rate():
    assert insertion.text_tokens_per_block(8, 0.1, "trim", max_rate=0.85) == 8
    with pytest.raises(
        UserError, match=r"config\.pauses\.max_rate = 1\.0 puts 8 pauses into config\.data\.length = 8 "
    ):
        insertion.text_tokens_per_block(8, 0.1, "trim", max_rate=1.0)


# --- Random words and slots


def test_words_are_philox_4x64_10_for_ever():
    # Golden: NumPy 2.4.6's raw Philox output under key (7, 3), from counter (1, 5, 0, 0), the first that it uses.
    words = insertion.random_words(seed=7, epoch=3, block=5, num_words=5)
    assert words.dtype == np.uint64
    assert words.tolist() == GOLDEN_WORDS
    # Known answer of Random123 (kat_vectors: philox4x64-10, counter and key 0), which NumPy reaches one step later.
    first = np.random.Philox(key=0, counter=[2**64 - 1] * 4).random_raw(4)
    assert [hex(int(word)) for word in first] == [
        "0x16554d9eca36314c",
        "0xdb20fe9d672d0fdc",
        "0xd7e772cee186176b",
        "0x7e68b68aec7ba23b",
    ]


GOLDEN_WORDS = [
    17922390276669424546,
    3113440161763053092,
    14374103901497962078,
    16014377113587159999,
    9632837615940491106,
]


def test_words_differ_by_seed_epoch_block_and_component():
    keys = itertools.product((0, 1), (0, 1), (0, 1), (0, 1))
    words = [tuple(insertion.random_words(s, e, b, 4, component=c).tolist()) for s, e, b, c in keys]
    assert len(set(words)) == 16


def test_the_first_component_has_the_words_of_a_corpus_alone():
    assert insertion.random_words(7, 3, 5, 5, component=0).tolist() == GOLDEN_WORDS


def test_slots_are_those_of_the_smallest_words():
    words = np.array([[50, 10, 40, 20, 30], [1, 2, 3, 4, 5]], np.uint64)
    assert policies.uniform_slots(words, 2).astype(int).tolist() == [[0, 1, 0, 1, 0], [1, 1, 0, 0, 0]]
    assert not policies.uniform_slots(words, 0).any()


def test_all_slot_sets_are_equally_likely():
    slots = insertion.draw_slots(insertion.Blocks([0] * 6000, range(6000)), seed=0, num_slots=4, num_pauses=2)
    counts = collections.Counter(map(tuple, slots.tolist()))
    assert len(counts) == 6 and set(slots.sum(1)) == {2}
    assert all(abs(count - 1000) < 5 * np.sqrt(1000 * 5 / 6) for count in counts.values())  # 5 standard deviations


def test_a_blocks_slots_do_not_depend_on_its_batch():
    batch = insertion.draw_slots(insertion.Blocks([0, 0, 3], [4, 9, 4]), seed=1, num_slots=30, num_pauses=7)
    alone = insertion.draw_slots(insertion.Blocks([3], [4]), seed=1, num_slots=30, num_pauses=7)
    np.testing.assert_array_equal(batch[2], alone[0])
    assert (batch[0] != batch[2]).any() and (batch[0] != batch[1]).any()


def test_a_mixtures_components_have_slots_of_their_own():
    numbers = ([0, 0, 3], [4, 4, 4])
    mixed, alone = (
        insertion.draw_slots(blocks, seed=1, num_slots=30, num_pauses=7)
        for blocks in (insertion.Blocks(*numbers, [0, 2, 0]), insertion.Blocks(*numbers))
    )
    assert (mixed == alone).all(axis=1).tolist() == [True, False, True]


# --- Insertion


def test_trim_is_the_papers_example():
    # A B _ C D _ _ E | F G H: 11 slots, 3 pauses, cut to 8 and the element after them.
    ids, segments = insert([A, B, C, D, E, F, G, H, AHEAD], [1] * 9, slots_of(2, 5, 6, num_slots=11), length=8)
    assert ids == [A, B, PAUSE, C, D, PAUSE, PAUSE, E, F]
    assert segments == [1] * 9
    weights = insertion.loss_weights(np.array([ids]), np.array([segments]), vocab_size=VOCAB_SIZE)
    # The table's k = 1..7, and k = 8, whose target is F here: a block has one more element than the paper's row.
    assert weights.tolist() == [[1, 0, 1, 1, 0, 0, 1, 1]] and weights.dtype == np.float32


def test_trim_when_the_pauses_are_all_cut_off():
    text = [A, B, C, D, AHEAD]
    assert insert(text, [1] * 5, slots_of(4, 5, num_slots=6), length=4)[0] == [A, B, C, D, PAUSE]
    assert insert(text, [1] * 5, slots_of(5, num_slots=5 + 1), length=4)[0] == [A, B, C, D, AHEAD]


def test_exact_fills_the_row_and_the_look_ahead_follows():
    ids, _ = insert([A, B, C, D, E, AHEAD], [1] * 6, slots_of(2, 5, 7, num_slots=8), length=8)
    assert ids == [A, B, PAUSE, C, D, PAUSE, E, PAUSE, AHEAD]


def test_pauses_belong_to_the_token_before_or_at_the_start_to_the_one_after():
    ids, segments = insert([A, B, C, D], [1, 2, 2, 3], slots_of(0, 2, 4, num_slots=6), length=6)
    assert ids == [PAUSE, A, PAUSE, B, PAUSE, C, D]
    assert segments == [1, 1, 1, 2, 2, 2, 3]
    assert insertion.positions(np.array([segments])).tolist() == [[0, 1, 2, 0, 1, 2, 0]]


def test_pauses_in_padding_become_padding():
    ids, segments = insert([A, B, 0, 0], [1, 1, 0, 0], slots_of(2, 4, 5, num_slots=6), length=6)
    assert ids == [A, B, PAUSE, 0, 0, 0, 0]
    assert segments == [1, 1, 1, 0, 0, 0, 0]
    assert insert([0, 0, 0], [0, 0, 0], slots_of(0, 1, num_slots=4), length=4) == ([0] * 5, [0] * 5)


def test_distinct_pauses_count_within_their_run():
    ids, _ = insert([A, B, C, AHEAD], [1] * 4, slots_of(0, 2, 3, 4, num_slots=7), length=7, num_pause_tokens=2)
    assert ids == [PAUSE, A, PAUSE, PAUSE + 1, PAUSE, B, C, AHEAD]


def test_without_pauses_both_modes_give_the_text():
    assert insert([A, B, C, D], [1, 1, 2, 0], slots_of(num_slots=3), length=3, num_pause_tokens=0) == (
        [A, B, C, 0],
        [1, 1, 2, 0],
    )


def test_inserting_pauses_that_the_model_does_not_have():
    with pytest.raises(UserError, match=r"config\.model\.num_pause_tokens = 0"):
        insert([A, B, AHEAD], [1, 1, 1], slots_of(1, num_slots=3), length=3, num_pause_tokens=0)


# --- Positions and loss


def test_positions_restart_in_each_segment():
    segments = np.array([[1, 1, 2, 3, 3, 0], [0, 0, 1, 1, 1, 1], [0, 0, 0, 0, 0, 0]])
    positions = insertion.positions(segments)
    assert positions.tolist() == [[0, 1, 0, 0, 1, 0], [0, 0, 0, 1, 2, 3], [0] * 6]
    assert positions.dtype == np.int32


def test_loss_weights_by_hand():
    ids = np.array([[A, PAUSE, PAUSE, B, C, D, PAUSE + 1, 0, 0]])
    segments = np.array([[1, 1, 1, 1, 1, 2, 2, 0, 0]])
    #                           A->_  _->_  _->B  B->C  C|D  D->_  _|pad  pad
    expected = [0, 0, 1, 1, 0, 0, 0, 0]
    assert insertion.loss_weights(ids, segments, vocab_size=VOCAB_SIZE).tolist() == [expected]


@st.composite
def rows(draw):
    """A row as documents with pauses in them, then padding."""
    num_documents = draw(st.integers(0, 4))
    ids, segments = [], []
    for document in range(1, num_documents + 1):
        tokens = draw(st.lists(st.one_of(st.integers(0, VOCAB_SIZE - 1), st.integers(PAUSE, PAUSE + 2)), min_size=1))
        ids += tokens
        segments += [document] * len(tokens)
    padding = draw(st.integers(2 if not ids else 1, 3))
    return ids + [0] * padding, segments + [0] * padding


@given(rows())
@settings(max_examples=300, deadline=None)
def test_loss_weights_follow_the_rule_at_each_position(row):
    ids, segments = row
    expected = []
    for k in range(len(ids) - 1):
        target_is_pause = ids[k + 1] >= VOCAB_SIZE
        target_is_padding = segments[k + 1] == 0
        target_is_elsewhere = segments[k + 1] != segments[k]
        expected.append(0.0 if target_is_pause or target_is_padding or target_is_elsewhere else 1.0)
    assert insertion.loss_weights(np.array([ids]), np.array([segments]), vocab_size=VOCAB_SIZE).tolist() == [expected]


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_insert_follows_the_rule_at_each_element(data):
    length, num_pauses = data.draw(st.integers(1, 12)), data.draw(st.integers(0, 12))
    exact = data.draw(st.booleans()) and num_pauses < length
    num_slots = length if exact else length + num_pauses
    num_pause_tokens = data.draw(st.integers(1, 3))
    chosen = data.draw(st.sets(st.integers(0, num_slots - 1), min_size=num_pauses, max_size=num_pauses))
    num_text = num_slots - num_pauses
    text = data.draw(st.lists(st.integers(1, 99), min_size=num_text + 1, max_size=num_text + 1))
    num_padding = data.draw(st.integers(0, num_text))
    segments = sorted(data.draw(st.lists(st.integers(1, 3), min_size=len(text), max_size=len(text))))
    segments[len(text) - num_padding :] = [0] * num_padding

    expected_ids, expected_segments, used, run = [], [], 0, 0
    for slot in range(length + 1):
        if slot in chosen:
            segment = segments[max(used - 1, 0)]
            token = PAUSE + run % num_pause_tokens
            run += 1
        else:
            token, segment, run = text[used], segments[used], 0
            used += 1
        expected_ids.append(token if segment else 0)
        expected_segments.append(segment)
    slots = slots_of(*chosen, num_slots=num_slots)
    assert insert(text, segments, slots, length=length, num_pause_tokens=num_pause_tokens) == (
        expected_ids,
        expected_segments,
    )


# --- Finetuning and inference


def test_pauses_appended_to_a_prompt():
    # The paper's N = 3, M_ft = 2, T = 2: p1 p2 p3 _ _ t1 t2, where position 5 (index 4), the last pause, predicts t1.
    prefix = downstream.add_pauses([A, B, C], 2, placement="append", tokens=downstream.PauseTokens(VOCAB_SIZE, 1))
    assert prefix.tolist() == [A, B, C, PAUSE, PAUSE] and prefix.dtype == np.int32
    assert downstream.first_answer_position(3, 2) == 4
    assert prefix[downstream.first_answer_position(3, 2)] == PAUSE


def test_pauses_prepended_to_a_prompt():
    prefix = downstream.add_pauses(
        np.array([A, B, C]), 3, placement="prepend", tokens=downstream.PauseTokens(VOCAB_SIZE, 2)
    )
    assert prefix.tolist() == [PAUSE, PAUSE + 1, PAUSE, A, B, C]
    assert prefix[downstream.first_answer_position(3, 3)] == C


@pytest.mark.parametrize("placement", ["append", "prepend"])
def test_no_pauses_is_the_prompt(placement):
    prefix = downstream.add_pauses([A, B, C], 0, placement=placement, tokens=downstream.PauseTokens(VOCAB_SIZE, 0))
    assert prefix.tolist() == [A, B, C]
    assert prefix[downstream.first_answer_position(3, 0)] == C


def test_impossible_numbers_of_pauses():
    with pytest.raises(UserError, match=r"number of pauses is -1, but must not be negative"):
        downstream.add_pauses([A], -1, placement="append", tokens=downstream.PauseTokens(VOCAB_SIZE, 1))
    with pytest.raises(UserError, match=r"number of pauses is -2, but must not be negative"):
        downstream.first_answer_position(5, -2)
    with pytest.raises(UserError, match=r"2 pauses are asked for, but config\.model\.num_pause_tokens = 0"):
        downstream.add_pauses([A], 2, placement="append", tokens=downstream.PauseTokens(VOCAB_SIZE, 0))
    with pytest.raises(UserError, match="the prompt is empty and has no pauses"):
        downstream.first_answer_position(0, 0)


def test_how_much_is_bidirectional():
    """A prompt of 5 and 3 pauses."""
    assert downstream.prefix_lm_length("prefix_and_pauses", 5, 3) == 8
    assert downstream.prefix_lm_length("prefix_only", 5, 3) == 5
    assert downstream.prefix_lm_length("causal", 5, 3) == 0


@given(data=st.data(), placement=st.sampled_from(["append", "prepend", "filler"]), num_pause_tokens=st.integers(1, 3))
def test_rows_of_finetuning_are_prompts_with_pauses_beside_their_targets(data, placement, num_pause_tokens):
    ids, room = st.integers(3, VOCAB_SIZE - 1), data.draw(st.integers(0, 3))
    rows = data.draw(
        st.lists(st.tuples(st.lists(ids, max_size=6), st.integers(0, 5), st.lists(ids, max_size=4)), min_size=1)
    )
    context_length = max([1, *(len(prompt) + m for prompt, m, _ in rows)]) + room
    prompts_BxP, targets_BxA = np.zeros((len(rows), 6), int), np.zeros((len(rows), 4), int)
    for row, (prompt, _, target) in enumerate(rows):
        prompts_BxP[row, 6 - len(prompt) :] = prompt
        targets_BxA[row, : len(target)] = target
    tokens = downstream.PauseTokens(VOCAB_SIZE, num_pause_tokens, filler=2 if placement == "filler" else None)
    made = downstream.finetune_rows(
        prompts_BxP,
        np.array([len(p) for p, _, _ in rows]),
        np.array([m for _, m, _ in rows]),
        targets_BxA,
        np.array([len(t) for _, _, t in rows]),
        context_length=context_length,
        placement=placement,
        tokens=tokens,
    )
    for row, (prompt, m, target) in enumerate(rows):
        prefix = downstream.add_pauses(prompt, m, placement=placement, tokens=tokens).tolist()
        before, after = [0] * (context_length - len(prefix)), [0] * (4 - len(target))
        assert made.ids_BxZ[row].tolist() == before + prefix + target + after
        assert made.segments_BxZ[row].tolist() == before + [1] * len(prefix + target) + after
        assert made.loss_weights_BxT[row].tolist() == [0] * (context_length - 1) + [1] * len(target) + after

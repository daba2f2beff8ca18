"""Rows of context: hand-written ones, and the mistakes they refuse."""

from __future__ import annotations

import numpy as np
import pytest

from pause_jax.config.model import ModelConfig
from pause_jax.errors import UserError
from pause_jax.inference.rows import check_positions
from pause_jax.pauses.downstream import PauseTokens, context_rows, round_up


def test_prompts_end_where_their_pauses_begin():
    """Three prompts, two pauses from a model with three distinct ones, vocabulary of 10."""
    rows = context_rows([[5], [6, 7, 8], [9, 9, 9, 9, 9]], 2, tokens=PauseTokens(10, 3), bucket=4)
    np.testing.assert_array_equal(
        rows.ids_BxC,
        [
            [0, 0, 0, 0, 0, 0, 0, 5, 10, 11],
            [0, 0, 0, 0, 0, 6, 7, 8, 10, 11],
            [0, 0, 0, 9, 9, 9, 9, 9, 10, 11],
        ],
    )
    np.testing.assert_array_equal(
        rows.positions_BxC,
        [
            [0, 0, 0, 0, 0, 0, 0, 0, 1, 2],
            [0, 0, 0, 0, 0, 0, 1, 2, 3, 4],
            [0, 0, 0, 0, 1, 2, 3, 4, 5, 6],
        ],
    )
    np.testing.assert_array_equal(
        rows.segments_BxC,
        [
            [0, 0, 0, 0, 0, 0, 0, 1, 1, 1],
            [0, 0, 0, 0, 0, 1, 1, 1, 1, 1],
            [0, 0, 0, 1, 1, 1, 1, 1, 1, 1],
        ],
    )
    np.testing.assert_array_equal(rows.next_positions_B, [3, 5, 7])
    assert (rows.prompt_length, rows.num_pauses) == (8, 2)


def test_more_pauses_than_distinct_ones_start_over():
    assert context_rows([[1]], 5, tokens=PauseTokens(10, 2), bucket=1).ids_BxC.tolist() == [[1, 10, 11, 10, 11, 10]]


@pytest.mark.parametrize("length, multiple, wanted", [(1, 32, 32), (32, 32, 32), (33, 32, 64), (0, 32, 0)])
def test_round_up(length, multiple, wanted):
    assert round_up(length, multiple) == wanted


@pytest.mark.parametrize(
    "prompts, m_inf, sentence",
    [
        ([[1]], -1, r"m_inf is -1, but must not be negative"),
        ([[1], []], 0, r"prompt 1 is empty"),
        ([[1], [12]], 0, r"prompt 1 has the id 12, but the model knows 0 to 11"),
        ([[-1]], 0, r"prompt 0 has the id -1"),
    ],
)
def test_mistakes(prompts, m_inf, sentence):
    with pytest.raises(UserError, match=sentence):
        context_rows(prompts, m_inf, tokens=PauseTokens(10, 2))


def test_a_standard_model_has_no_pauses_to_append():
    with pytest.raises(UserError, match="pauses"):
        context_rows([[1]], 1, tokens=PauseTokens(10, 0))
    assert context_rows([[1]], 0, tokens=PauseTokens(10, 0), bucket=1).ids_BxC.tolist() == [[1]]


def test_learned_positions_end_rotary_ones_do_not():
    """3 tokens, 2 pauses, 4 new tokens of which the last is not read back: 8 positions."""
    check_positions(3, 2, 4, ModelConfig(vocab_size=10, max_positions=8))
    check_positions(3, 2, 4, ModelConfig(vocab_size=10, max_positions=7, positions="rope"))
    with pytest.raises(UserError, match=r"^a prompt of 3 tokens, 2 pauses and 4 new tokens need 8 .* learned 7"):
        check_positions(3, 2, 4, ModelConfig(vocab_size=10, max_positions=7))

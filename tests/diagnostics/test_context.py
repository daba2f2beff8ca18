"""Rows, which positions are pauses, and where the lens looks: by hand."""

import numpy as np
import pytest

from pause_jax.diagnostics.context import marked_rows, position_names
from tests.diagnostics.tiny_networks import PROMPTS, V, config_of


@pytest.mark.parametrize(
    ("case", "end_of_first", "pauses", "looked_at", "prefix_lm_length"),
    [
        ("append", [5, 3, 8, 1, V, V + 1, V], [32, 33, 34], [31, 32, 33, 34], 0),
        ("append, prefix_only", [5, 3, 8, 1, V, V + 1, V], [32, 33, 34], [31, 32, 33, 34], 32),
        ("append, prefix_and_pauses", [5, 3, 8, 1, V, V + 1, V], [32, 33, 34], [31, 32, 33, 34], 35),
        ("prepend", [0, V, V + 1, V, 5, 3, 8, 1], [25, 26, 27], [25, 26, 27, 31], 0),
        ("prepend, prefix_and_pauses", [0, V, V + 1, V, 5, 3, 8, 1], [25, 26, 27], [25, 26, 27, 31], 32),
        ("filler", [5, 3, 8, 1, 11, 11, 11], [32, 33, 34], [31, 32, 33, 34], 0),
    ],
)
def test_rows(case, end_of_first, pauses, looked_at, prefix_lm_length):
    context = marked_rows(config_of("gpt", case), PROMPTS, 3, filler=11)
    assert context.ids_BxC[0, -len(end_of_first) :].tolist() == end_of_first
    assert np.flatnonzero(context.is_pause_BxC[0]).tolist() == pauses
    assert context.looked_at_BxL[0].tolist() == looked_at
    assert context.prefix_lm_length == prefix_lm_length
    assert context.is_prompt_BxC.sum(axis=1).tolist() == [4, 2, 7]
    assert context.is_pause_BxC.sum(axis=1).tolist() == [3, 3, 3]


def test_each_row_has_its_own_positions_where_pauses_come_first():
    context = marked_rows(config_of("gpt", "prepend"), PROMPTS, 2)
    assert context.looked_at_BxL.tolist() == [[26, 27, 31], [28, 29, 31], [23, 24, 31]]
    assert context.rows([2, 0]).looked_at_BxL.tolist() == [[23, 24, 31], [26, 27, 31]]
    assert position_names("prepend", 2) == ["pause 1", "pause 2", "prompt"]


def test_long_prompts_lose_their_beginning_as_in_evaluation():
    context = marked_rows(config_of("gpt"), [list(range(1, 12))], 1)
    assert context.ids_BxC[0, -9:].tolist() == [4, 5, 6, 7, 8, 9, 10, 11, V]
    assert context.segments_BxC.sum() == 9

"""Scores of answers against log-softmax of the whole sequence, a row at a time, without padding or cache."""

from __future__ import annotations

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pause_jax.config import MeshConfig
from pause_jax.distributed.mesh import make_mesh
from pause_jax.errors import UserError
from pause_jax.inference.prefill import PromptFormat
from pause_jax.inference.score import _groups, score
from pause_jax.network import Network
from pause_jax.pauses import downstream
from tests.inference.test_decode import FAMILIES, N_PAUSES, PROMPTS, V, params_of, whole_row_logits
from tests.rounding import of_decoder

ANSWERS = [[20, 1], [21, 22, 23, 1], [24]]


def scores(family, prompts=PROMPTS, answers=ANSWERS, **more):
    """Of one option a row."""
    options = [[answer] for answer in answers]
    return [row[0] for row in option_scores(family, prompts, options, **more)]


def option_scores(
    family, prompts, options, m_inf=2, option_length=4, bucket=4, attention="prefix_and_pauses", mesh=None
):
    network, prompt_format = Network(FAMILIES[family], mesh=mesh), PromptFormat(attention, bucket=bucket)
    return score(network, params_of(family), prompts, options, m_inf, prompt_format, option_length=option_length)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("attention", ["prefix_and_pauses", "prefix_only", "causal"])
@pytest.mark.parametrize("m_inf", [0, 3])
def test_scores_equal_the_sum_of_log_probabilities(family, attention, m_inf):
    wanted, largest = [], 0.0
    for prompt, answer in zip(PROMPTS, ANSWERS, strict=True):
        context = [*prompt, *(V + j % N_PAUSES for j in range(m_inf))]
        prefix_lm_length = downstream.prefix_lm_length(attention, len(prompt), m_inf)
        ids = np.array([context + answer], np.int32)
        logits = whole_row_logits(params_of(family), ids, family=family, prefix_lm_length=prefix_lm_length)
        log_p, largest = jax.nn.log_softmax(logits), max(largest, float(np.abs(logits).max()))
        wanted.append(sum(float(log_p[len(context) - 1 + k, token]) for k, token in enumerate(answer)))
    # both sides are float32; of a token, a logit and the sum of all may be off
    of_logits = of_decoder(FAMILIES[family], length=16) * largest
    bound = 2 * 2 * of_logits * max(map(len, ANSWERS))
    np.testing.assert_allclose(scores(family, m_inf=m_inf, attention=attention), wanted, rtol=0, atol=bound)
    assert bound < 1e-3 * np.abs(wanted).max()  # and a wrong score would be seen


def test_a_score_does_not_depend_on_the_rows_beside_it_or_on_room():
    together = scores("gpt")
    alone = [scores("gpt", [p], [a], bucket=8, option_length=5)[0] for p, a in zip(PROMPTS, ANSWERS, strict=True)]
    np.testing.assert_allclose(together, alone, rtol=1e-5)
    assert scores("gpt", [], []) == []


def test_options_of_a_row_are_scored_as_if_alone():
    options = [[[20, 1], [24], [21, 22, 23, 1]], [[24]], [[1], [20, 20]]]
    together = option_scores("llama", PROMPTS, options)
    assert [len(row) for row in together] == [3, 1, 2]
    for prompt, row_options, row in zip(PROMPTS, options, together, strict=True):
        alone = [option_scores("llama", [prompt], [[option]])[0][0] for option in row_options]
        np.testing.assert_allclose(row, alone, rtol=1e-5)
    first_tokens = option_scores("llama", PROMPTS, [[[20], [21]]] * 3, option_length=1)
    longer_room = option_scores("llama", PROMPTS, [[[20], [21]]] * 3)
    np.testing.assert_allclose(first_tokens, longer_room, rtol=1e-5)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.lists(st.integers(1, 20), min_size=1, max_size=5), min_size=1, max_size=6),
    st.integers(0, 2),
    st.booleans(),
)
def test_every_option_is_in_one_group_beside_those_of_its_length(lengths, more_rows, stays_in_row):
    options = [[[1] * length for length in row_options] for row_options in lengths]
    num_rows = len(options) + more_rows
    groups = _groups(options, num_rows, stays_in_row=stays_in_row)
    assert {len(group) for group in groups} == {num_rows}
    places = [at for group in groups for at in group if at[1] is not None]
    assert sorted(places) == [
        (row, number) for row, row_options in enumerate(options) for number in range(len(row_options))
    ]
    if stays_in_row:
        assert all(row == place for group in groups for place, (row, _) in enumerate(group))
        assert len(groups) == max(map(len, options))
    else:
        in_order = [len(options[row][number]) for row, number in places]
        assert in_order == sorted(in_order, reverse=True) and len(groups) == -(-len(places) // num_rows)


def test_rows_in_two_parts_are_scored_as_in_one():
    """Options then stay where their row's cache lies."""
    prompts, options = [*PROMPTS, PROMPTS[0]], [[[20, 1], [24], [21, 22, 23, 1]], [[24]], [[1], [20, 20]], [[7]]]
    one = option_scores("gpt", prompts, options)
    two = option_scores("gpt", prompts, options, mesh=make_mesh(MeshConfig(data=2), jax.devices()[:2]))
    for ours, theirs in zip(one, two, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5)


@pytest.mark.parametrize(
    "wrong, sentence",
    [
        ({"m_inf": -1}, "m_inf is -1"),
        ({"option_length": 3}, "option 0 of row 1 has 4 tokens, but must have 1 to 3"),
        ({"answers": [[1], [], [1]]}, "option 0 of row 1 has 0 tokens"),
        ({"m_inf": 20}, "positions"),
    ],
)
def test_mistakes(wrong, sentence):
    with pytest.raises(UserError, match=sentence):
        scores("gpt", **wrong)

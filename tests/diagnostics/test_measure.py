"""Shares of attention by hand; and means over examples that batches and padding rows do not change."""

import numpy as np
import pytest

from pause_jax.diagnostics.attention import MEASURES, answer_to_each, even_attention, shares
from pause_jax.diagnostics.context import marked_rows
from pause_jax.diagnostics.measure import measure
from pause_jax.model.mask import Mask
from tests.diagnostics.tiny_networks import PROMPTS, config_of, params_of


def shares_of(weights, kinds):
    """`kinds`: of each position "." padding, "p" prompt, "_" pause."""
    is_pause, is_prompt = ([[kind == wanted for kind in kinds]] for wanted in "_p")
    found = shares(np.asarray(weights, np.float32)[None, None], np.array(is_pause), np.array(is_prompt))
    assert list(found) == list(MEASURES)
    return {name: float(value[0, 0]) for name, value in found.items()}


def test_shares_by_hand():
    """Padding, two prompt tokens, two pauses; what the padding query does must not matter."""
    weights = [
        [0.2, 0.2, 0.2, 0.2, 0.2],
        [0.0, 1.0, 0.0, 0.0, 0.0],
        [0.0, 0.4, 0.6, 0.0, 0.0],
        [0.0, 0.1, 0.2, 0.7, 0.0],
        [0.0, 0.3, 0.1, 0.4, 0.2],
    ]
    assert shares_of(weights, ".pp__") == pytest.approx(
        {
            "answer_to_pauses": 0.4 + 0.2,
            "answer_to_prompt": 0.3 + 0.1,
            "pauses_to_pauses": (0.7 + 0.6) / 2,
            "pauses_to_prompt": (0.3 + 0.4) / 2,
            "received_by_a_pause": ((0.7 + 0.4) + 0.2) / 2,
        }
    )


def test_shares_where_pauses_come_first():
    weights = [[1.0, 0.0, 0.0], [0.5, 0.5, 0.0], [0.5, 0.3, 0.2]]
    assert shares_of(weights, "_pp") == pytest.approx(
        {
            "answer_to_pauses": 0.5,
            "answer_to_prompt": 0.5,
            "pauses_to_pauses": 1.0,
            "pauses_to_prompt": 0.0,
            "received_by_a_pause": 1.0 + 0.5 + 0.5,
        }
    )


def test_attention_to_each_pause_by_hand():
    """Two rows whose pauses are elsewhere: only the last query counts."""
    weights = np.array([[[0.0, 1.0, 0.0], [0.2, 0.3, 0.5]], [[1.0, 0.0, 0.0], [0.6, 0.1, 0.3]]], np.float32)
    found = np.asarray(answer_to_each(weights[:, None], np.array([[0, 1], [1, 2]])))
    np.testing.assert_allclose(found, [[[0.2, 0.3]], [[0.1, 0.3]]], rtol=1e-6)


def test_even_attention_by_hand():
    """Causal over padding, two prompt tokens and two pauses: the queries see 1, 2, 3 and 4 positions."""
    segments = np.array([[0, 1, 1, 1, 1]])
    even = np.asarray(even_attention(Mask(segments, segments).may_attend_BxTxS()))[0, 0]
    np.testing.assert_allclose(even[4], [0, 1 / 4, 1 / 4, 1 / 4, 1 / 4])
    found = shares_of(even, ".pp__")
    assert found["answer_to_pauses"] == pytest.approx(2 / 4)
    assert found["pauses_to_pauses"] == pytest.approx((1 / 3 + 2 / 4) / 2)
    assert found["received_by_a_pause"] == pytest.approx(((1 / 3 + 1 / 4) + 1 / 4) / 2)


TOKENS = [4, 0, 11]


@pytest.mark.parametrize(("name", "case"), [("qwen", "append, prefix_and_pauses"), ("post", "prepend")])
def test_batches_change_nothing(name, case):
    config = config_of(name, case)
    context = marked_rows(config, PROMPTS, 3)
    counts = []
    whole = measure(params_of(name), config, context, TOKENS)
    parts = measure(params_of(name), config, context, TOKENS, batch_size=2, done=counts.append)
    assert counts == [2, 3]
    assert {array.shape for array in whole.attention_NxH.values()} == {(3, 4)}
    assert whole.log_p_N1xL.shape == whole.rank_N1xL.shape == whole.first_N1xL.shape == (4, 4)
    for one, other in ((whole, parts), (parts, whole)):
        for measured in MEASURES:
            np.testing.assert_allclose(one.attention_NxH[measured], other.attention_NxH[measured], atol=1e-6)
            assert one.even[measured] == pytest.approx(other.even[measured])
    np.testing.assert_allclose(whole.log_p_N1xL, parts.log_p_N1xL, atol=1e-5)
    np.testing.assert_array_equal(whole.rank_N1xL, parts.rank_N1xL)
    np.testing.assert_array_equal(whole.first_N1xL, parts.first_N1xL)
    np.testing.assert_allclose(whole.to_each_NxHxM, parts.to_each_NxHxM, atol=1e-6)
    np.testing.assert_allclose(whole.to_each_NxHxM.sum(axis=-1), whole.attention_NxH["answer_to_pauses"], atol=1e-5)
    all_of_it = whole.attention_NxH["answer_to_pauses"] + whole.attention_NxH["answer_to_prompt"]
    np.testing.assert_allclose(all_of_it, 1, atol=1e-5)


def test_means_are_those_of_each_example_alone():
    config = config_of("llama", "append, prefix_and_pauses")
    alone = [
        measure(params_of("llama"), config, marked_rows(config, [prompt], 3), [token])
        for prompt, token in zip(PROMPTS, TOKENS, strict=True)
    ]
    together = measure(params_of("llama"), config, marked_rows(config, PROMPTS, 3), TOKENS)
    for measured in MEASURES:
        mean = np.mean([one.attention_NxH[measured] for one in alone], axis=0)
        np.testing.assert_allclose(together.attention_NxH[measured], mean, atol=1e-5)
    np.testing.assert_allclose(together.log_p_N1xL, np.mean([one.log_p_N1xL for one in alone], axis=0), atol=1e-5)
    np.testing.assert_allclose(together.first_N1xL, np.mean([one.rank_N1xL == 1 for one in alone], axis=0))

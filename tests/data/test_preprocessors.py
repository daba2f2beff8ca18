"""Pauses in a SeqIO task that is not ours, as t5x would read it."""

import functools

import numpy as np
import pytest
import seqio
import tensorflow as tf

from pause_jax.data.preprocessors import insert_pauses, pause_features
from pause_jax.errors import UserError

V, L = 100, 20
TEXTS = [list(range(1, 6)), list(range(1, 15)), list(range(1, 40)), []]


def rows(**settings):
    def generate():
        yield from ({"targets": np.array(text, np.int32)} for text in TEXTS)

    def source(split, shuffle_files, seed=None):
        return tf.data.Dataset.from_generator(generate, output_signature={"targets": tf.TensorSpec([None], tf.int32)})

    task = seqio.Task(
        "theirs",
        source=seqio.FunctionDataSource(source, splits=["train"]),
        preprocessors=[functools.partial(insert_pauses, length=L, vocab_size=V, **settings)],
        output_features=pause_features(seqio.PassThroughVocabulary(V + 3)),
    )
    dataset = seqio.get_dataset(task, {}, feature_converter=seqio.PassThroughFeatureConverter(), shuffle=False)
    return list(dataset.as_numpy_iterator())


@pytest.mark.parametrize("num_pause_tokens", [1, 3])
def test_text_stays_in_order_and_the_loss_leaves_out_pauses_alone(num_pause_tokens):
    found = rows(rate=0.3, num_pause_tokens=num_pause_tokens, seed=1)
    assert len(found) == len(TEXTS)
    for row, text in zip(found, TEXTS, strict=True):
        ids, weights = row["decoder_target_tokens"], row["decoder_loss_weights"]
        is_real, is_pause = row["decoder_segment_ids"] == 1, ids >= V
        assert all(array.shape == (L + 1,) for array in row.values())
        kept = ids[is_real & ~is_pause].tolist()
        assert kept == text[: len(kept)] and len(kept) >= min(len(text), L - 6)
        assert set(ids[is_pause]) <= set(range(V, V + num_pause_tokens))
        assert not ids[~is_real].any()
        # We never predict a text's first token; every other one that is text is predicted from the one before it.
        assert (weights[1:] == (is_real & ~is_pause)[1:]).all() and weights[0] == 0
        np.testing.assert_array_equal(row["decoder_input_tokens"][1:][is_real[1:]], ids[:-1][is_real[1:]])
        np.testing.assert_array_equal(row["decoder_positions"][is_real], np.arange(is_real.sum()))
    assert sum(int((row["decoder_target_tokens"] >= V).sum()) for row in found) > 6


def test_without_pauses_it_is_the_text():
    for row, text in zip(rows(rate=0.0), TEXTS, strict=True):
        kept = text[: L + 1]
        np.testing.assert_array_equal(row["decoder_target_tokens"], kept + [0] * (L + 1 - len(kept)))


def test_the_seed_and_the_place_decide():
    same, again, other = (np.stack([r["decoder_target_tokens"] for r in rows(rate=0.3, seed=s)]) for s in (1, 1, 2))
    np.testing.assert_array_equal(same, again)
    assert (same != other).any()
    assert ((same[1] >= V) != (same[2] >= V)).any()


def test_a_rate_that_cannot_be():
    with pytest.raises(UserError, match="rate"):
        rows(rate=1.5)

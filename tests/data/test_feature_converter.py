"""The model's features of a row, and SeqIO's names for them."""

from __future__ import annotations

import numpy as np
import pytest
import seqio
import tensorflow as tf

from pause_jax.data import pretraining
from pause_jax.data.preprocessors import from_seqio, to_seqio
from pause_jax.data.pretraining import PauseFeatureConverter
from pause_jax.pauses.insertion import model_features

PAUSE = 100
IDS = np.array([[5, PAUSE, 6, 1, 7, 8, 9], [5, 6, 1, 7, 1, 0, 0]], np.int32)
SEGMENTS = np.array([[1, 1, 1, 1, 2, 2, 2], [1, 1, 1, 2, 2, 0, 0]], np.int32)
EXPECTED = {
    "inputs": [[5, PAUSE, 6, 1, 7, 8], [5, 6, 1, 7, 1, 0]],
    "targets": [[PAUSE, 6, 1, 7, 8, 9], [6, 1, 7, 1, 0, 0]],
    "loss_weights": [[0, 1, 1, 0, 1, 1], [1, 1, 0, 1, 0, 0]],
    "positions": [[0, 1, 2, 3, 0, 1], [0, 1, 2, 0, 1, 0]],
    "segment_ids": [[1, 1, 1, 1, 2, 2], [1, 1, 1, 2, 2, 0]],
}


def test_model_features_by_hand():
    features = model_features(IDS, SEGMENTS, vocab_size=PAUSE)
    assert {name: value.tolist() for name, value in features.items()} == EXPECTED


def test_converter_is_seqios():
    dataset = tf.data.Dataset.from_tensors({"targets": IDS, "segment_ids": SEGMENTS, "block": [3, 4]})
    converter = PauseFeatureConverter(vocab_size=PAUSE)
    assert isinstance(converter, seqio.FeatureConverter)
    (batch,) = converter(dataset, {"targets": 7, "segment_ids": 7}).as_numpy_iterator()
    assert {name: value.tolist() for name, value in batch.items()} == EXPECTED
    assert {name: value.dtype for name, value in batch.items()} == {
        **dict.fromkeys(EXPECTED, np.dtype("int32")),
        "loss_weights": np.dtype("float32"),
    }
    with pytest.raises(ValueError, match="missing an expected feature"):
        converter(dataset.map(lambda example: {"targets": example["targets"]}), {"targets": 7, "segment_ids": 7})


def test_to_seqio_by_hand():
    features = to_seqio(model_features(IDS, SEGMENTS, vocab_size=PAUSE))
    assert {name: value.tolist() for name, value in features.items()} == {
        "decoder_target_tokens": [[5, PAUSE, 6, 1, 7, 8, 9], [5, 6, 1, 7, 1, 0, 0]],
        "decoder_input_tokens": [[0, 5, PAUSE, 6, 0, 7, 8], [0, 5, 6, 0, 7, 0, 0]],
        "decoder_loss_weights": [[0, 0, 1, 1, 0, 1, 1], [0, 1, 1, 0, 1, 0, 0]],
        "decoder_segment_ids": [[1, 1, 1, 1, 2, 2, 2], [1, 1, 1, 2, 2, 0, 0]],
        "decoder_positions": [[0, 1, 2, 3, 0, 1, 2], [0, 1, 2, 0, 1, 0, 0]],
    }


def test_a_look_ahead_without_loss_becomes_padding():
    ids, segments = np.array([[5, 6, PAUSE]], np.int32), np.array([[1, 1, 1]], np.int32)
    features = to_seqio(model_features(ids, segments, vocab_size=PAUSE))
    assert features["decoder_target_tokens"].tolist() == [[5, 6, 0]]
    assert features["decoder_segment_ids"].tolist() == [[1, 1, 0]]


def test_there_and_back():
    ours = model_features(IDS, SEGMENTS, vocab_size=PAUSE)
    back = from_seqio(to_seqio(ours))
    for name, value in ours.items():
        np.testing.assert_array_equal(back[name], value, err_msg=name)
        assert back[name].dtype == value.dtype


def test_from_what_seqio_itself_makes():
    dataset = tf.data.Dataset.from_tensor_slices([[3, 9, 1]]).map(lambda ids: {"targets": ids})
    dataset = dataset.concatenate(tf.data.Dataset.from_tensors([4, 1]).map(lambda ids: {"targets": ids}))
    (packed,) = seqio.LMFeatureConverter(pack=True)(dataset, {"targets": 7}).as_numpy_iterator()
    ours = from_seqio({name: value[None] for name, value in packed.items()})
    assert ours["inputs"].tolist() == [[3, 9, 1, 4, 1, 0]]
    assert ours["targets"].tolist() == [[9, 1, 4, 1, 0, 0]]
    assert ours["loss_weights"].tolist() == [[1, 1, 0, 1, 0, 0]]  # SeqIO's predictions of 3 and 4 from BOS are gone
    assert ours["positions"].tolist() == [[0, 1, 2, 0, 1, 0]]
    again = to_seqio(ours)
    for name in ("decoder_target_tokens", "decoder_input_tokens", "decoder_segment_ids", "decoder_positions"):
        np.testing.assert_array_equal(again[name][0], packed[name], err_msg=name)


def test_names_are_seqios():
    converter = seqio.LMFeatureConverter(pack=True)
    assert set(to_seqio(model_features(IDS, SEGMENTS, vocab_size=PAUSE))) == {
        *converter.MODEL_FEATURES,
        *converter.PACKING_FEATURE_DTYPES,
    }
    assert set(pretraining.PauseFeatureConverter.MODEL_FEATURES) == set(EXPECTED)

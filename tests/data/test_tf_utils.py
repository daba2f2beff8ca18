"""Data sets are made without AutoGraph, but for what needs it."""

from __future__ import annotations

import pytest
import seqio
import tensorflow as tf

from pause_jax.data import streams, tf_utils
from pause_jax.data.corpora import PREPROCESSORS, features

STATUS = tf.__internal__.autograph.control_status_ctx


def test_nothing_of_ours_is_rewritten():
    seen = []

    def traced(x):
        seen.append(STATUS().status.name)
        return x + 1

    dataset = tf_utils.without_autograph(lambda: tf.data.Dataset.range(3).map(traced))()
    assert list(dataset.as_numpy_iterator()) == [1, 2, 3] and seen == ["DISABLED"]


def test_a_task_that_branches_on_tensors_has_it():
    def short_ones_twice(dataset):
        def change(example):
            if tf.strings.length(example["targets"]) < 3:
                return {"targets": example["targets"] + example["targets"]}
            return example

        return dataset.map(change)

    def read(split, shuffle_files=False, seed=None):
        return tf.data.Dataset.from_tensor_slices({"targets": ["ab", "abc"]})

    vocabulary = seqio.ByteVocabulary(extra_ids=0)
    task = seqio.Task(
        "branches",
        seqio.FunctionDataSource(read, splits=["train"]),
        features(vocabulary),
        (short_ones_twice, *PREPROCESSORS),
        shuffle_buffer_size=None,
    )
    (batch,) = streams.tokenize(task, "train", 0, 1)
    assert batch.tokens.tolist() == [*vocabulary.encode("abab"), 1, *vocabulary.encode("abc"), 1]
    with pytest.raises(TypeError, match="symbolic"):
        tf.autograph.experimental.do_not_convert(short_ones_twice)(read("train"))


def test_a_mistake_is_what_it_was():
    with pytest.raises(TypeError, match="unsupported operand"):
        tf_utils.without_autograph(lambda: 1 + "1")()

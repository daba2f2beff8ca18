"""Pretraining batches: blocks of text, pauses inserted, as the model's features. Batch t is a function of t."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import seqio
import tensorflow as tf

from pause_jax import pauses
from pause_jax.config import DataConfig, PauseConfig
from pause_jax.data import corpora, shards, vocabularies
from pause_jax.data.blocks import BlockSource, num_blocks
from pause_jax.data.feature_converter import PauseFeatureConverter
from pause_jax.data.host import keep_off_accelerators, numpy_elements
from pause_jax.data.stream import Stream, read_stream

Batch = dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Corpus:
    """A tokenized corpus."""

    vocabulary: seqio.Vocabulary
    train: Stream
    validation: Stream
    manifest: Mapping[str, Any]  # what identifies the data of a run, ready for JSON


def open_corpus(data: DataConfig) -> Corpus:
    """Reads and tokenizes the corpus and the vocabulary that the config names, or opens the prepared folder.

    Raises:
      UserError: see `vocabularies.load`, `corpora.text_task`, `documents.read_files`, `splits.split_documents`;
        or the prepared folder is not whole, or was made with another tokenizer.
    """
    fingerprint = vocabularies.fingerprint(data.vocabulary)
    if data.prepared:
        return _open_prepared(data, fingerprint)
    if data.files:  # may change from one run to the next
        return _read_corpus(data, fingerprint)
    return _registered_corpus(
        DataConfig(task=data.task, data_dir=data.data_dir, vocabulary=data.vocabulary), fingerprint
    )


def _read_corpus(data: DataConfig, fingerprint: str) -> Corpus:
    vocabulary = vocabularies.load(data.vocabulary)
    task = corpora.text_task(data, vocabulary)
    train, validation = (read_stream(task, split) for split in ("train", "validation"))
    return _corpus(task.name, vocabulary, fingerprint, train, validation)


def _open_prepared(data: DataConfig, fingerprint: str) -> Corpus:
    folder = Path(data.prepared)
    manifest = shards.read_manifest(folder)
    shards.check_vocabulary(folder, manifest["vocabulary"], data.vocabulary, fingerprint)
    train, validation = (shards.PreparedStream(folder, split, manifest) for split in ("train", "validation"))
    return _corpus(manifest["task"], vocabularies.load(data.vocabulary), fingerprint, train, validation)


def _corpus(task: str, vocabulary: seqio.Vocabulary, fingerprint: str, train: Stream, validation: Stream) -> Corpus:
    manifest = {
        "task": task,
        "vocabulary": fingerprint,
        "train": train.manifest(),
        "validation": validation.manifest(),
    }
    return Corpus(vocabulary, train, validation, manifest)


_registered_corpus = functools.lru_cache(maxsize=2)(_read_corpus)  # a process that trains many runs reads it once


def train_batches(
    stream: Stream,
    *,
    data: DataConfig,
    pause: PauseConfig,
    seed: int,
    vocab_size: int,
    batch_size: int,
    rows: Sequence[int],
    start_step: int = 0,
) -> Iterator[Batch]:
    """Batches for training from step `start_step` on, without end, prepared in the background.

    Each has `inputs`, `targets`, `positions`, `segment_ids` (int32) and `loss_weights` (float32), [len(rows), length].

    Args:
      vocab_size: the model's, where pause ids start; a tokenizer's may be smaller.
      rows: this process's rows of the global batch, within 0..batch_size - 1.

    Raises:
      UserError: a block shorter than its pauses, or pauses where config.pauses.n_pauses is 0.
    """
    stride = _check(data, pause)
    source = BlockSource(
        stream,
        stride=stride,
        batch_size=batch_size,
        rows=rows,
        separate_documents=data.separate_documents,
        start=start_step,
    )
    return _batches(source, data, pause, seed=seed, vocab_size=vocab_size, shuffle=True)


def validation_batches(
    stream: Stream,
    *,
    data: DataConfig,
    pause: PauseConfig,
    rate: float,
    seed: int,
    vocab_size: int,
    batch_size: int,
    rows: Sequence[int],
    num_batches: int,
) -> Iterator[Batch]:
    """The first `num_batches` batches of the text in order, or all if there are fewer; the last one is padded.

    `rate` replaces that of `pause`: 0 is clean text, with the same blocks as `trim` at any rate. Pauses are those of
    epoch 0, so each call gives the same batches. Arrays, arguments and errors as in `train_batches`.
    """
    pause = dataclasses.replace(pause, rate=rate)
    stride = _check(data, pause)
    source = BlockSource(
        stream,
        stride=stride,
        batch_size=batch_size,
        rows=rows,
        separate_documents=data.separate_documents,
        stop=min(num_batches, -(-num_blocks(stream.num_tokens, stride) // batch_size)),
    )
    return _batches(source, data, pause, seed=seed, vocab_size=vocab_size, shuffle=False)


def _check(data: DataConfig, pause: PauseConfig) -> int:
    """Text tokens of a block, once length, rate and pauses are known to fit together."""
    pause.validate()
    return pauses.text_tokens_per_block(data.length, pause.rate, pause.mode)


def _batches(
    source: BlockSource, data: DataConfig, pause: PauseConfig, *, seed: int, vocab_size: int, shuffle: bool
) -> Iterator[Batch]:
    """The pipeline: source, pauses as a preprocessor of a SeqIO task, feature converter."""
    keep_off_accelerators()
    insert = functools.partial(
        insert_pauses,
        length=data.length,
        num_pauses=pauses.num_pauses(data.length, pause.rate),
        seed=seed,
        vocab_size=vocab_size,
        n_pauses=pause.n_pauses,
    )
    feature = seqio.Feature(seqio.PassThroughVocabulary(vocab_size + pause.n_pauses), add_eos=False, rank=2)
    task = seqio.Task(
        "pretraining",
        source,
        output_features={"targets": feature, "segment_ids": feature},
        preprocessors=[insert],
        shuffle_buffer_size=None,  # the source shuffles, by index
    )
    dataset = seqio.get_dataset(
        mixture_or_task_name=task,
        task_feature_lengths={"targets": data.length + 1, "segment_ids": data.length + 1},
        feature_converter=PauseFeatureConverter(vocab_size=vocab_size),
        shuffle=shuffle,
        seed=seed,
        trim_output_features=False,  # it would cut rows off, for an element is a batch
        verbose=False,
    )
    return numpy_elements(dataset.prefetch(tf.data.AUTOTUNE))


def insert_pauses(
    dataset: tf.data.Dataset, *, length: int, num_pauses: int, seed: int, vocab_size: int, n_pauses: int
) -> tf.data.Dataset:
    """SeqIO preprocessor: elements of a `BlockSource` into rows z[0..length] with their pauses.

    Seeded by the example's epoch and block, not by its place in the data set, as SeqIO's `map_over_dataset` would be.
    """

    def insert(text: np.ndarray, segments: np.ndarray, epoch: np.ndarray, block: np.ndarray) -> pauses.Rows:
        num_slots = text.shape[1] - 1 + num_pauses
        slots = pauses.draw_slots(seed=seed, epoch_B=epoch, block_B=block, num_slots=num_slots, num_pauses=num_pauses)
        return pauses.insert(text, segments, slots, length=length, vocab_size=vocab_size, n_pauses=n_pauses)

    def insert_into(example: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        inputs = [example[name] for name in ("targets", "segment_ids", "epoch", "block")]
        ids, segments = tf.numpy_function(insert, inputs, (tf.int32, tf.int32))
        shape = (example["targets"].shape[0], length + 1)
        return {"targets": tf.ensure_shape(ids, shape), "segment_ids": tf.ensure_shape(segments, shape)}

    return dataset.map(insert_into)

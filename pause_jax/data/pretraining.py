"""Pretraining batches: blocks of text with pauses, as the model's features. Batch t is a function of (config, t)."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import seqio
import tensorflow as tf

from pause_jax.config import Config, DataConfig
from pause_jax.data import corpora, shards
from pause_jax.data.blocks import BlockSource, Mixture, num_blocks
from pause_jax.data.splits import SPLITS
from pause_jax.data.streams import Stream, read_stream
from pause_jax.data.tf_utils import keep_off_accelerators, numpy_elements, without_autograph
from pause_jax.data.training_data import HostBatch
from pause_jax.pauses import insertion, policies
from pause_jax.tokenizers import tokenizer, vocabularies


@dataclasses.dataclass(frozen=True)
class Corpus:
    """A tokenized corpus, or a mixture of several."""

    train: Mixture
    validation: Mixture
    manifest: Mapping[str, Any]  # what identifies the data of a run, ready for JSON


def open_corpus(data: DataConfig) -> Corpus:
    """Reads and tokenizes the corpus that the config names, or opens the prepared folders.

    Raises:
      UserError: see `vocabularies.load`, `corpora.text_task`, `documents.read_files`, `splits.split_documents`;
        or a prepared folder is not whole, or was made with another tokenizer.
    """
    fingerprint = tokenizer.fingerprint(data.vocabulary)
    if data.prepared:
        return _mix(
            [_open_prepared(Path(folder), data.vocabulary) for folder, _ in data.prepared_folders],
            [rate for _, rate in data.prepared_folders],
            fingerprint,
        )
    if data.files:  # not cached: files may change between runs of one process
        return _read_corpus(data, fingerprint)
    return _registered_corpus(
        DataConfig(task=data.task, data_dir=data.data_dir, vocabulary=data.vocabulary), fingerprint
    )


class _Part(NamedTuple):
    """One corpus of a mixture."""

    task: str
    train: Stream
    validation: Stream


def _read_corpus(data: DataConfig, fingerprint: str) -> Corpus:
    task = corpora.text_task(data, vocabularies.load(data.vocabulary))
    return _mix([_Part(task.name, *(read_stream(task, split) for split in SPLITS))], [1.0], fingerprint)


def _open_prepared(folder: Path, vocabulary: str) -> _Part:
    manifest = shards.read_manifest(folder)
    tokenizer.check_fingerprint(vocabulary, manifest["vocabulary"], f"the prepared text in {folder}")
    return _Part(manifest["task"], *(shards.PreparedStream(folder, split, manifest) for split in SPLITS))


def _mix(parts: Sequence[_Part], rates: Sequence[float], fingerprint: str) -> Corpus:
    recorded = [
        {"task": part.task, "train": part.train.manifest(), "validation": part.validation.manifest()} for part in parts
    ]
    manifest: dict[str, Any] = {"vocabulary": fingerprint}
    if len(parts) == 1:
        manifest |= recorded[0]
    else:
        manifest["mixture"] = [{"rate": rate, **one} for rate, one in zip(rates, recorded, strict=True)]
    train, validation = ([getattr(part, split) for part in parts] for split in SPLITS)
    return Corpus(Mixture(train, rates), Mixture(validation, rates), manifest)


_registered_corpus = functools.lru_cache(maxsize=2)(_read_corpus)  # a process that trains many runs reads it once


@dataclasses.dataclass(frozen=True)
class PretrainingData:
    """A `TrainingData` of blocks of text with pauses in them."""

    config: Config
    corpus: Corpus

    @classmethod
    def open(cls, config: Config) -> PretrainingData:
        """Raises UserError as `open_corpus`."""
        return cls(config, open_corpus(config.data))

    @property
    def manifest(self) -> Mapping[str, Any]:
        return self.corpus.manifest

    @property
    def warnings(self) -> list[str]:
        return []

    def train(self, rows: Sequence[int], start_step: int = 0) -> Iterator[HostBatch]:
        return train_batches(self.corpus.train, self.config, rows, start_step)

    @property
    def validation(self) -> Mapping[str, Callable[[Sequence[int]], Iterator[HostBatch]]]:
        """`loss` is of clean text; where pauses are inserted, `paused_loss` is of text with the mean number of them."""
        validate = functools.partial(validation_batches, self.corpus.validation, self.config)
        found = {"loss": functools.partial(validate, rate=0.0)}
        if self.config.pauses.mean_rate:
            found["paused_loss"] = functools.partial(validate, rate=self.config.pauses.mean_rate)
        return found


def train_batches(mixture: Mixture, config: Config, rows: Sequence[int], start_step: int = 0) -> Iterator[HostBatch]:
    """Batches for training from step `start_step` on, without end, prepared in the background.

    Each has `inputs`, `targets`, `positions`, `segment_ids` (int32) and `loss_weights` (float32), [len(rows), length].

    Args:
      config: resolved: pause ids start at the model's vocabulary, and a tokenizer's may be smaller.
      rows: this process's rows of the global batch, within 0..batch_size - 1.

    Raises:
      UserError: a block shorter than its pauses, or pauses where config.model.num_pause_tokens is 0.
    """
    source = BlockSource(
        mixture,
        stride=_check(config),
        batch_size=config.train.batch_size,
        rows=rows,
        document_mask=config.data.document_mask,
        start=start_step,
    )
    return _batches(source, config, shuffle=True)


def validation_batches(mixture: Mixture, config: Config, rows: Sequence[int], *, rate: float) -> Iterator[HostBatch]:
    """The first `config.run.validation_batches` batches of the text in order, or all if there are fewer.

    The last one is padded. Of a mixture they are mixed as in training, and there is padding for a corpus whose text is
    used up.

    `rate` replaces that of `config.pauses`: 0 is clean text, with the same blocks as `trim` at any rate. It replaces a
    range of rates too: every block has the same number of pauses, so that losses are comparable. Pauses are placed by
    the config's policy with the random words of epoch 0, so each call gives the same batches. Arrays, arguments and
    errors as in `train_batches`.
    """
    config = dataclasses.replace(config, pauses=dataclasses.replace(config.pauses, rate=rate, max_rate=0.0))
    stride, batch_size = _check(config), config.train.batch_size
    source = BlockSource(
        mixture,
        stride=stride,
        batch_size=batch_size,
        rows=rows,
        document_mask=config.data.document_mask,
        stop=min(config.run.validation_batches, _steps_of_all(mixture, stride, batch_size)),
    )
    return _batches(source, config, shuffle=False)


def _steps_of_all(mixture: Mixture, stride: int, batch_size: int) -> int:
    """Steps after which every block of every stream has been seen."""
    blocks = [num_blocks(stream.num_tokens, stride) for stream in mixture.streams]
    if len(blocks) == 1:
        return -(-blocks[0] // batch_size)
    # One step more, for shares of so few examples may be one example late.
    return 1 + max(math.ceil(count / rate / batch_size) for count, rate in zip(blocks, mixture.rates, strict=True))


def _check(config: Config) -> int:
    """Check that length, rate and pauses fit together, and return the text tokens of a block."""
    pause = config.pauses
    config.validate_pauses()
    return insertion.text_tokens_per_block(config.data.length, pause.rate, pause.mode, pause.max_rate)


def _batches(source: BlockSource, config: Config, *, shuffle: bool) -> Iterator[HostBatch]:
    """The pipeline: source, pauses as a preprocessor of a SeqIO task, feature converter."""
    keep_off_accelerators()
    length, vocab_size = config.data.length, config.model.vocab_size
    num_ids = vocab_size + config.model.num_pause_tokens
    feature = seqio.Feature(seqio.PassThroughVocabulary(num_ids), add_eos=False, rank=2)
    task = seqio.Task(
        "pretraining",
        source,
        output_features={"targets": feature, "segment_ids": feature},
        preprocessors=[functools.partial(insert_pauses, make_rows=_row_maker(config), length=length)],
        shuffle_buffer_size=None,  # the source shuffles, by index
    )
    dataset = without_autograph(seqio.get_dataset)(
        mixture_or_task_name=task,
        task_feature_lengths={"targets": length + 1, "segment_ids": length + 1},
        feature_converter=PauseFeatureConverter(vocab_size=vocab_size),
        shuffle=shuffle,
        seed=config.seed,
        trim_output_features=False,  # it would cut rows off, for an element is a batch
        verbose=False,
    )
    return numpy_elements(dataset.prefetch(tf.data.AUTOTUNE))


def _row_maker(config: Config) -> Callable[..., insertion.Rows]:
    """(text, segments [B, N + 1]; component, epoch, block [B]) → rows z[0..T] with their pauses. NumPy only.

    Seeded by the example's epoch and block, not by its place in the data set, as SeqIO's `map_over_dataset` would be.
    """
    pause, length = config.pauses, config.data.length
    needs_starts = policies.POLICIES[pause.policy].needs_starts
    traits_V = vocabularies.token_traits(config.data.vocabulary) if needs_starts else None
    fewest = insertion.num_pauses(length, pause.rate)
    most = insertion.num_pauses(length, pause.max_rate) if pause.max_rate else fewest

    def make_rows(
        text: np.ndarray, segments: np.ndarray, component: np.ndarray, epoch: np.ndarray, block: np.ndarray
    ) -> insertion.Rows:
        slots = insertion.draw_slots(
            insertion.Blocks(epoch, block, component),
            seed=config.seed,
            num_slots=text.shape[1] - 1 + most,
            num_pauses=most,
            fewest_pauses=fewest if pause.max_rate else None,
            policy=pause.policy,
            burst=pause.burst,
            starts_BxN1=None if traits_V is None else policies.starts(text, segments, traits_V, pause.boundary),
        )
        return insertion.insert(
            text,
            segments,
            slots,
            length=length,
            vocab_size=config.model.vocab_size,
            num_pause_tokens=config.model.num_pause_tokens,
        )

    return make_rows


def insert_pauses(
    dataset: tf.data.Dataset, *, make_rows: Callable[..., insertion.Rows], length: int
) -> tf.data.Dataset:
    """SeqIO preprocessor: elements of a `BlockSource` into rows z[0..length] with their pauses (`_row_maker`)."""

    def insert_into(example: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        inputs = [example[name] for name in ("targets", "segment_ids", "component", "epoch", "block")]
        ids, segments = tf.numpy_function(make_rows, inputs, (tf.int32, tf.int32))
        shape = (example["targets"].shape[0], length + 1)
        return {"targets": tf.ensure_shape(ids, shape), "segment_ids": tf.ensure_shape(segments, shape)}

    return dataset.map(insert_into)


_Spec = seqio.FeatureConverter.FeatureSpec


class PauseFeatureConverter(seqio.FeatureConverter):
    """Rows with their pauses, batched, into the model's features.

    A data set of {targets, segment_ids}, each [R, T + 1] int32, becomes one of `model_features`, each [R, T].
    """

    TASK_FEATURES = {name: _Spec(tf.int32, rank=2, sequence_dim=1) for name in ("targets", "segment_ids")}
    MODEL_FEATURES = {
        name: _Spec(tf.float32 if name == "loss_weights" else tf.int32, rank=2, sequence_dim=1)
        for name in ("inputs", "targets", "loss_weights", "positions", "segment_ids")
    }
    PACKING_FEATURE_DTYPES: Mapping[str, tf.DType] = {}

    def __init__(self, *, vocab_size: int):
        super().__init__(pack=False, apply_length_check=False)  # shapes are static here: ensure_shape is enough
        self._vocab_size = vocab_size

    def get_model_feature_lengths(self, task_feature_lengths: Mapping[str, int]) -> Mapping[str, int]:
        return dict.fromkeys(self.MODEL_FEATURES, task_feature_lengths["targets"] - 1)

    def _convert_features(self, ds: tf.data.Dataset, task_feature_lengths: Mapping[str, int]) -> tf.data.Dataset:
        names = list(self.MODEL_FEATURES)

        def convert(example: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
            ids, segments = example["targets"], example["segment_ids"]
            features = tf.numpy_function(
                lambda ids, segments: [
                    insertion.model_features(ids, segments, vocab_size=self._vocab_size)[n] for n in names
                ],
                [ids, segments],
                [self.MODEL_FEATURES[name].dtype for name in names],
            )
            shape = (ids.shape[0], ids.shape[1] - 1)
            return {name: tf.ensure_shape(feature, shape) for name, feature in zip(names, features, strict=True)}

        return ds.map(convert)

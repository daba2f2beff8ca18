"""Corpora as SeqIO tasks: documents in, token ids with an EOS at each document's end out.

To add a corpus, register a task with splits "train" and "validation" and the text in the feature `targets`:

    seqio.TaskRegistry.add("my_corpus", source=..., preprocessors=PREPROCESSORS, output_features=features(vocabulary))
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping

import seqio
import tensorflow as tf

from pause_jax.config import DataConfig
from pause_jax.data import documents, included, splits
from pause_jax.data.documents import BadText, Document, Piece
from pause_jax.data.splits import FilePlan
from pause_jax.errors import UserError
from pause_jax.tasks import synthetic

LONG_BYTES = 10_000_000  # a longer document is kept whole, but reported
PREPROCESSORS = (seqio.preprocessors.tokenize, seqio.preprocessors.append_eos)


def features(vocabulary: seqio.Vocabulary) -> Mapping[str, seqio.Feature]:
    """The output features of a text task."""
    return {"targets": seqio.Feature(vocabulary, add_eos=True)}


def text_task(
    data: DataConfig, vocabulary: seqio.Vocabulary, *, plan: FilePlan | None = None, skip_bad: bool = False
) -> seqio.Task:
    """The task of `data.files` or else `data.task`, tokenized by `vocabulary` in place of the one it registered.

    A `plan` of the files, if given, saves scanning them; `skip_bad` leaves out documents that are no text.

    Raises:
      UserError: no task of this name, one without the two splits, or one whose TensorFlow data set is not there.
    """
    if data.files:
        source = FileSource(
            lambda: plan or splits.plan_files(data, skip_bad=skip_bad), data.text_field, skip_bad=skip_bad
        )
        return seqio.Task("files", source, features(vocabulary), PREPROCESSORS, shuffle_buffer_size=None)
    included.load()
    synthetic.register_text_if_named(data.task)
    if data.task not in seqio.TaskRegistry.names():
        raise UserError(
            f"config.data.task = {data.task!r} is not registered; registered are "
            f"{', '.join(sorted(seqio.TaskRegistry.names()))}, a synthetic task's name with _text behind it is its "
            "prompts and answers, and --config.data.files takes your own text"
        )
    task = seqio.TaskRegistry.get(data.task).replace(output_features=features(vocabulary))
    if isinstance(task.source, seqio.TfdsDataSource):
        task = _read_from(task, data)
    if missing := {"train", "validation"} - set(task.splits):
        raise UserError(f"config.data.task = {data.task!r} has no split {sorted(missing)[0]!r}, only {task.splits}")
    return task


def _read_from(task: seqio.Task, data: DataConfig) -> seqio.Task:
    """`task` with its TensorFlow data set read from `data.data_dir`. Raises UserError where it is not there."""
    name = task.source.tfds_dataset.name
    task = task.replace(source=seqio.TfdsDataSource(name, tfds_data_dir=data.data_dir or None))
    try:
        task.source.list_shards("train")
    except Exception as error:  # TensorFlow Datasets has a dozen of them, some of them assertions
        raise UserError(
            f"config.data.task = {data.task!r} reads {name} of TensorFlow Datasets, which is not prepared in "
            f"{data.data_dir or 'its default folder'}: set --config.data.data_dir to a folder that holds it, or give "
            "C4's published files as --config.data.files='c4-train.*.json.gz'"
        ) from error
    return task


class FileSource(seqio.DataSource):
    """The user's files, cut into ranges: a shard of the data set is a range of the plan, read whole, in plain Python.

    `left_out` and `long` describe what `get_dataset` read last.
    """

    def __init__(self, plan: Callable[[], FilePlan], text_field: str, *, skip_bad: bool = False):
        """`plan` is called when the plan is first needed."""
        super().__init__(splits=splits.SPLITS)
        self._make_plan, self._text_field, self._skip_bad = plan, text_field, skip_bad
        self.left_out = {"blank": 0, "bad": 0}  # documents
        self.long: list[str] = []  # names of documents over LONG_BYTES, with their sizes

    @functools.cached_property
    def plan(self) -> FilePlan:
        return self._make_plan()

    @property
    def supports_arbitrary_sharding(self) -> bool:
        return False

    def list_shards(self, split: str) -> list[str]:
        return [f"{pieces[0].name}+{pieces[0].start}" for pieces in self.plan.ranges[split]]

    def get_dataset(
        self,
        split: str = "train",
        shuffle: bool = False,
        seed: int | None = None,
        shard_info: seqio.ShardInfo | None = None,
        **unused: object,
    ) -> tf.data.Dataset:
        """Examples {"targets": text}, in order: blocks are shuffled later, by index. Reads all of the shard at once.

        Raises:
          UserError: see `documents.read_files`.
        """
        index, step = (shard_info.index, shard_info.num_shards) if shard_info else (0, 1)
        self.left_out, self.long = {"blank": 0, "bad": 0}, []
        texts = [text for pieces in self.plan.ranges[split][index::step] for text in self._texts(pieces, split)]
        if self.plan.rule == "tails" and split == "validation":  # the same documents as in training, which reports them
            self.left_out, self.long = {"blank": 0, "bad": 0}, []
        return tf.data.Dataset.from_tensor_slices({"targets": tf.constant(texts, tf.string)})

    def _texts(self, pieces: Iterable[Piece], split: str) -> Iterator[bytes]:
        wanted = functools.partial(splits.may_be_in, split=split, rule=self.plan.rule)
        for piece in pieces:
            for document in documents.read_piece(piece, self._text_field, wanted=wanted, on_bad=self._on_bad):
                if not document.text.strip():
                    self.left_out["blank"] += 1
                    continue
                if len(document.text) > LONG_BYTES:
                    self.long.append(f"{document.name} ({len(document.text) / 1e6:.0f} MB)")
                if text := splits.part(document, split, self.plan.rule):
                    yield text

    def _on_bad(self, error: BadText) -> None:
        if not self._skip_bad:
            documents.stop_at(error)
        self.left_out["bad"] += 1


class DocumentSource(seqio.DataSource):
    """Documents read by a function, all at once, in this process: for small corpora."""

    def __init__(self, read: Callable[[], Iterable[Document]], *, corpus: str):
        super().__init__(splits=("train", "validation"))
        self._read = read
        self._corpus = corpus

    @property
    def supports_arbitrary_sharding(self) -> bool:
        return False

    def list_shards(self, split: str) -> list[str]:
        return [split]

    def get_dataset(
        self,
        split: str = "train",
        shuffle: bool = False,
        seed: int | None = None,
        shard_info: seqio.ShardInfo | None = None,
        **unused: object,
    ) -> tf.data.Dataset:
        """Examples {"targets": text}, in order: blocks are shuffled later, by index. Reads all of the text at once."""
        return tf.data.Dataset.from_tensor_slices({"targets": self._texts[split]})

    @functools.cached_property
    def _texts(self) -> Mapping[str, list[bytes]]:
        return splits.split_documents(self._read(), corpus=self._corpus)


def _text_as_targets(dataset: tf.data.Dataset) -> tf.data.Dataset:
    return dataset.map(lambda example: {"targets": example["text"]}, num_parallel_calls=tf.data.AUTOTUNE)


seqio.TaskRegistry.add(
    "python_stdlib",
    source=DocumentSource(documents.read_python_stdlib, corpus="config.data.task = 'python_stdlib'"),
    preprocessors=PREPROCESSORS,
    output_features=features(seqio.ByteVocabulary(extra_ids=0)),
    shuffle_buffer_size=None,
)

seqio.TaskRegistry.add(
    "c4_en",  # the paper's corpus: 365 million documents, 800 GB of text
    source=seqio.TfdsDataSource("c4/en:3.1.0"),
    preprocessors=(_text_as_targets, *PREPROCESSORS),
    output_features=features(seqio.ByteVocabulary(extra_ids=0)),
    shuffle_buffer_size=None,
)

"""Corpora as SeqIO tasks: documents in, token ids with an EOS at each document's end out.

To add a corpus, register a task with splits "train" and "validation" and the text in the feature `targets`:

    seqio.TaskRegistry.add("my_corpus", source=..., preprocessors=PREPROCESSORS, output_features=features(vocabulary))
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping

import seqio
import tensorflow as tf

from pause_jax.config import DataConfig
from pause_jax.data import documents, splits
from pause_jax.data.documents import Document
from pause_jax.errors import UserError

PREPROCESSORS = (seqio.preprocessors.tokenize, seqio.preprocessors.append_eos)


def features(vocabulary: seqio.Vocabulary) -> Mapping[str, seqio.Feature]:
    """The output features of a text task."""
    return {"targets": seqio.Feature(vocabulary, add_eos=True)}


def text_task(data: DataConfig, vocabulary: seqio.Vocabulary) -> seqio.Task:
    """The task of `data.files` or else `data.task`, tokenized by `vocabulary`, whichever it was registered with.

    Raises:
      UserError: no task of this name, or one without the two splits.
    """
    if data.files:
        read = functools.partial(documents.read_files, data.files, data.text_field)
        source = DocumentSource(read, corpus=f"config.data.files = {data.files!r}")
        return seqio.Task("files", source, features(vocabulary), PREPROCESSORS, shuffle_buffer_size=None)
    if data.task not in seqio.TaskRegistry.names():
        raise UserError(
            f"config.data.task = {data.task!r} is not registered; registered are "
            f"{', '.join(sorted(seqio.TaskRegistry.names()))}, and --config.data.files takes your own text"
        )
    task = seqio.TaskRegistry.get(data.task)
    if missing := {"train", "validation"} - set(task.splits):
        raise UserError(f"config.data.task = {data.task!r} has no split {sorted(missing)[0]!r}, only {task.splits}")
    return task.replace(output_features=features(vocabulary))


class DocumentSource(seqio.DataSource):
    """Documents read by a function, whole, in this process: for corpora of up to some GB."""

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


seqio.TaskRegistry.add(
    "python_stdlib",
    source=DocumentSource(documents.read_python_stdlib, corpus="config.data.task = 'python_stdlib'"),
    preprocessors=PREPROCESSORS,
    output_features=features(seqio.ByteVocabulary(extra_ids=0)),
    shuffle_buffer_size=None,
)

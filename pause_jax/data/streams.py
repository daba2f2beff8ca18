"""The token stream: a split of a corpus as one long array of token ids, and where its documents start."""

from __future__ import annotations

import dataclasses
import hashlib
import time
from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
import seqio
import tensorflow as tf
from absl import logging

from pause_jax.data.shards import TokenizedDocuments, token_dtype
from pause_jax.data.tf_utils import keep_off_accelerators, without_autograph
from pause_jax.errors import UserError
from pause_jax.logging.progress import SECONDS_BETWEEN_LINES

_BATCH = 64  # documents handed over by TensorFlow at a time: one at a time is three times slower


class Stream(Protocol):
    """What blocks are cut from: in memory (`TokenStream`) or on disk (`shards.PreparedStream`)."""

    @property
    def num_tokens(self) -> int:
        """Text tokens, EOS counted."""

    def slice(self, start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
        """Tokens `start` to `stop` (0 <= start <= stop <= num_tokens) and each one's document number, both int32."""

    def manifest(self) -> dict[str, Any]:
        """What identifies the stream and describes its size, ready for JSON."""


@dataclasses.dataclass(frozen=True)
class TokenStream:
    """Tokens of all documents end to end, each with its EOS. Blocks of any length are slices of it."""

    tokens: np.ndarray  # [num_tokens], uint16 where the vocabulary allows it, else int32
    starts: np.ndarray  # [documents], int64: index of each document's first token, increasing from 0
    text_bytes: int  # of UTF-8
    sha256: str  # of the tokens as little-endian int32

    @property
    def num_tokens(self) -> int:
        """Text tokens, EOS counted."""
        return len(self.tokens)

    def slice(self, start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
        """Tokens `start` to `stop` (0 <= start <= stop <= num_tokens) and each one's document number, both int32."""
        first, last = np.searchsorted(self.starts, [start, stop], side="right") - 1
        lengths = np.diff(np.concatenate([[start], self.starts[first + 1 : last + 1], [stop]]))
        documents = np.repeat(np.arange(first, last + 1, dtype=np.int32), lengths)
        return self.tokens[start:stop].astype(np.int32), documents

    def manifest(self) -> dict[str, Any]:
        """What identifies the stream and describes its size, ready for JSON."""
        return {
            "documents": len(self.starts),
            "text_tokens": self.num_tokens,
            "text_bytes": self.text_bytes,
            "sha256": self.sha256,
        }


def read_stream(task: seqio.Task, split: str) -> TokenStream:
    """Tokenizes a split of a text task (`corpora.text_task`) in this process. Documents are never cut.

    Raises:
      UserError: as `tokenize`, or the split holds no text.
    """
    dtype = token_dtype(task.output_features["targets"].vocabulary.vocab_size)
    digest, text_bytes = hashlib.sha256(), 0
    pieces, lengths = [np.zeros(0, dtype)], [np.zeros(1, np.int64)]
    num_shards = len(task.source.list_shards(split))
    for shard in range(num_shards):
        part = f"tokenize {task.name}, {split}, part {shard + 1} of {num_shards}"
        for batch in _with_progress(tokenize(task, split, shard, num_shards), part):
            digest.update(batch.tokens.astype("<i4").tobytes())
            text_bytes += batch.text_bytes
            pieces.append(batch.tokens.astype(dtype))
            lengths.append(batch.lengths)
    tokens = np.concatenate(pieces)
    if len(tokens) < 2:
        raise UserError(
            f"split {split!r} of SeqIO task {task.name!r} holds no text, and a block needs at least 2 tokens: add text"
        )
    starts = np.cumsum(np.concatenate(lengths))[:-1]
    return TokenStream(tokens, starts, text_bytes=text_bytes, sha256=digest.hexdigest())


def _with_progress(batches: Iterator[TokenizedDocuments], what: str) -> Iterator[TokenizedDocuments]:
    """`batches`, with a line on stderr every ten seconds: nothing else shows progress while a corpus is tokenized."""
    started = told = time.monotonic()
    text_bytes = 0
    for batch in batches:
        text_bytes += batch.text_bytes
        if (now := time.monotonic()) - told >= SECONDS_BETWEEN_LINES:
            speed = text_bytes / 1e6 / (now - started)
            logging.warning("%s: %.1f MB, %.2f MB/s", what, text_bytes / 1e6, speed)
            told = now
        yield batch


def tokenize(task: seqio.Task, split: str, shard: int, num_shards: int) -> Iterator[TokenizedDocuments]:
    """The tokenized documents of one of the `num_shards` shards of a split's source, in order.

    Raises:
      UserError: the task keeps no text beside its tokens, or what its source raises.
    """
    keep_off_accelerators()
    for targets, sizes in _tokens_and_sizes(task, split, seqio.ShardInfo(shard, num_shards)).ragged_batch(_BATCH):
        text_bytes = int(tf.reduce_sum(tf.cast(sizes, tf.int64)))
        lengths = targets.row_lengths().numpy()
        yield TokenizedDocuments(targets.values.numpy(), lengths[lengths > 0], text_bytes)


@without_autograph
def _tokens_and_sizes(task: seqio.Task, split: str, shard: seqio.ShardInfo) -> tf.data.Dataset:
    """Each document's ids, and the bytes of its text."""
    dataset = task.get_dataset(sequence_length=None, split=split, shuffle=False, shard_info=shard)
    if "targets_pretokenized" not in dataset.element_spec:
        raise UserError(f"SeqIO task {task.name!r} keeps no targets_pretokenized: give it corpora.PREPROCESSORS")
    return dataset.map(lambda example: (example["targets"], tf.strings.length(example["targets_pretokenized"])))

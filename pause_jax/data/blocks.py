"""Blocks of a token stream, addressed by training step: the source of the pretraining pipeline.

Three kinds of number:
  step     counts global batches; batch t holds the examples t * batch_size .. (t + 1) * batch_size - 1.
  example  counts rows over the whole run; example n is in epoch n // num_blocks.
  block    counts slices of the stream: block i is tokens [i * stride, (i + 1) * stride] with its look-ahead, the last
           token, which the next block starts with. The last block is padded, so no text is lost.
An epoch visits each block once, in an order that is a function of (seed, epoch). Nothing is remembered between steps,
so any step can be asked for, by any process, for any of its rows, at the same cost.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

import numpy as np
import seqio
import tensorflow as tf

from pause_jax.data.stream import Stream

_ROUNDS = 8  # of the block cipher behind the permutation


def num_blocks(num_tokens: int, stride: int) -> int:
    """Blocks of `stride` text tokens and a look-ahead in a stream; the last one may be padded.

    >>> num_blocks(9, 4), num_blocks(10, 4)
    (2, 3)
    """
    return -(-(num_tokens - 1) // stride)


def shuffled_blocks(example_R: tf.Tensor, *, num_blocks: int, seed: int) -> tuple[tf.Tensor, tf.Tensor]:
    """The epochs and blocks of examples, all int64: in each epoch a permutation of the blocks, made without a table."""
    epoch_R, index_R = example_R // num_blocks, example_R % num_blocks
    # The raw op: tf.random.experimental.index_shuffle fails on a seed for each row (TensorFlow 2.21), and its 4 rounds
    # leave the epochs correlated (by 0.24 over 70,000 blocks; at 8 rounds nothing is left to measure).
    zero_R = tf.zeros_like(epoch_R)
    seed_Rx3 = tf.stack([zero_R + seed, epoch_R, zero_R], axis=1)
    max_index = tf.constant(num_blocks - 1, tf.int64)
    block_R = tf.raw_ops.RandomIndexShuffle(index=index_R, seed=seed_Rx3, max_index=max_index, rounds=_ROUNDS)
    return epoch_R, block_R


def ordered_blocks(example_R: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """The epochs and blocks of examples in the order of the text, once: example n is block n of epoch 0."""
    return tf.zeros_like(example_R), example_R


class BlockSource(seqio.DataSource):
    """Blocks of one split for some rows of the global batch. One element of its data set is one step's rows.

    Elements (R rows, N = `stride`):
      targets: [R, N + 1] int32, text tokens and the look-ahead, padded with 0.
      segment_ids: [R, N + 1] int32, the row's documents from 1 (or all 1, unless `separate_documents`), padding 0.
      epoch, block: [R] int64. Unshuffled, blocks are in order, once, in epoch 0; then come blocks of padding alone.
    """

    def __init__(
        self,
        stream: Stream,
        *,
        stride: int,
        batch_size: int,
        rows: Sequence[int],
        separate_documents: bool,
        start: int = 0,
        stop: int | None = None,
    ):
        """Steps `start` to `stop` (never, if None); `rows`: which of 0..batch_size - 1 are wanted."""
        super().__init__(splits=("train",), performs_internal_shuffling=True)
        self._stream = stream
        self._stride = stride
        self._batch_size = batch_size
        self._rows = np.asarray(rows, np.int64)
        self._separate_documents = separate_documents
        self._start = start
        self._stop = stop
        self._num_blocks = num_blocks(stream.num_tokens, stride)

    @property
    def supports_arbitrary_sharding(self) -> bool:
        return False

    def list_shards(self, split: str) -> list[str]:
        return [split]

    def get_dataset(
        self,
        split: str = "train",
        shuffle: bool = True,
        seed: int | None = None,
        shard_info: seqio.ShardInfo | None = None,
        **unused: object,
    ) -> tf.data.Dataset:
        """Elements as described above; `shuffle` wants a `seed`."""
        order: Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]] = ordered_blocks
        if shuffle:
            if seed is None:
                raise ValueError("shuffled blocks need a seed")
            order = functools.partial(shuffled_blocks, num_blocks=self._num_blocks, seed=seed)
        shape = (len(self._rows), self._stride + 1)

        def step_rows(step: tf.Tensor) -> dict[str, tf.Tensor]:
            epoch_R, block_R = order(step * self._batch_size + self._rows)
            # No TensorFlow inside: an eager op there may wait, for ever, for the thread that it runs in.
            text, segments = tf.numpy_function(self.read, [block_R], (tf.int32, tf.int32))
            return {
                "targets": tf.ensure_shape(text, shape),
                "segment_ids": tf.ensure_shape(segments, shape),
                "epoch": epoch_R,
                "block": block_R,
            }

        steps = tf.data.Dataset.range(self._start, tf.int64.max if self._stop is None else self._stop)
        return steps.map(step_rows)

    def read(self, block_R: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Text and segment ids of blocks, each [R, N + 1] int32, padded; after the last block all is padding."""
        text_RxN1, segments_RxN1 = np.zeros((2, len(block_R), self._stride + 1), np.int32)
        for row, block in enumerate(block_R):
            if block < self._num_blocks:
                start = int(block) * self._stride
                tokens, documents = self._stream.slice(start, min(start + self._stride + 1, self._stream.num_tokens))
                text_RxN1[row, : len(tokens)] = tokens
                segments_RxN1[row, : len(tokens)] = documents - documents[0] + 1 if self._separate_documents else 1
        return text_RxN1, segments_RxN1

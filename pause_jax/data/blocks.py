"""Blocks of token streams, addressed by training step: the source of the pretraining pipeline.

Five kinds of number:
  step       counts global batches; batch t holds the examples t * batch_size .. (t + 1) * batch_size - 1.
  example    counts rows over the whole run.
  component  which stream of a mixture an example is from: 0 where there is one stream only.
  index      counts the examples of a component; example number `index` of it is in epoch index // num_blocks.
  block      counts slices of a stream: block i is tokens [i * stride, (i + 1) * stride] with its look-ahead, the last
             token, which the next block starts with. The last block is padded, so no text is lost.
An epoch visits each block once, in an order that is a function of (seed, component, epoch). Nothing is remembered
between steps, so any step can be asked for, by any process, for any of its rows, at the same cost.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import seqio
import tensorflow as tf

from pause_jax.data.streams import Stream

_ROUNDS = 8  # of the block cipher behind the permutation


class Mixture(NamedTuple):
    """Streams, and of each its share of the examples: positive, together 1."""

    streams: Sequence[Stream]
    rates: Sequence[float]


def num_blocks(num_tokens: int, stride: int) -> int:
    """Blocks of `stride` text tokens and a look-ahead in a stream; the last one may be padded.

    >>> num_blocks(9, 4), num_blocks(10, 4)
    (2, 3)
    """
    return -(-(num_tokens - 1) // stride)


def places_in_mixture(example_R: tf.Tensor, rates: Sequence[float]) -> tuple[tf.Tensor, tf.Tensor]:
    """The components of examples, and their indices in these, both int64: a function of the example's number alone.

    Of the first n examples component 0 has n - floor(n * (1 - rate)); the rest are numbered anew and dealt to the
    other components in the same way. So each component has its share of any stretch of examples, but for less than one
    at each deal, and its own examples in order.

    >>> component, index = places_in_mixture(tf.range(8, dtype=tf.int64), [0.5, 0.25, 0.25])
    >>> component.numpy(), index.numpy()
    (array([0, 1, 0, 2, 0, 1, 0, 2]), array([0, 0, 1, 0, 2, 1, 3, 1]))

    Args:
      rates: of each component, positive, their sum 1.
    """
    component_R, index_R = tf.zeros_like(example_R), tf.identity(example_R)
    for component in range(len(rates) - 1):
        rest = sum(rates[component + 1 :]) / sum(rates[component:])

        def passed_on(count_R: tf.Tensor, rest: float = rest) -> tf.Tensor:
            return tf.cast(tf.floor(tf.cast(count_R, tf.float64) * rest), tf.int64)

        before_R = passed_on(index_R)
        goes_on_R = (component_R == component) & (passed_on(index_R + 1) > before_R)
        is_here_R = component_R == component
        index_R = tf.where(goes_on_R, before_R, tf.where(is_here_R, index_R - before_R, index_R))
        component_R = tf.where(goes_on_R, component_R + 1, component_R)
    return component_R, index_R


def shuffled_blocks(
    index_R: tf.Tensor, *, num_blocks: int | tf.Tensor, seed: int, component_R: tf.Tensor | None = None
) -> tuple[tf.Tensor, tf.Tensor]:
    """The epochs and blocks of examples, all int64: in each epoch a permutation of the blocks, made without a table.

    Args:
      num_blocks: of each example's component, or of all of them.
    """
    epoch_R, within_R = index_R // num_blocks, index_R % num_blocks
    # The raw op: tf.random.experimental.index_shuffle fails on a seed for each row (TensorFlow 2.21), and its 4 rounds
    # leave the epochs correlated (by 0.24 over 70,000 blocks; at 8 rounds nothing is left to measure).
    zero_R = tf.zeros_like(epoch_R)
    seed_Rx3 = tf.stack([zero_R + seed, epoch_R, zero_R if component_R is None else component_R], axis=1)
    max_index = tf.cast(num_blocks, tf.int64) - 1
    block_R = tf.raw_ops.RandomIndexShuffle(index=within_R, seed=seed_Rx3, max_index=max_index, rounds=_ROUNDS)
    return epoch_R, block_R


def ordered_blocks(index_R: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """The epochs and blocks of examples in the order of the text, once: example n is block n of epoch 0."""
    return tf.zeros_like(index_R), index_R


class BlockSource(seqio.DataSource):
    """Blocks of one split for some rows of the global batch. One element of its data set is one step's rows.

    Elements (R rows, N = `stride`):
      targets: [R, N + 1] int32, text tokens and the look-ahead, padded with 0.
      segment_ids: [R, N + 1] int32, the row's documents from 1 (or all 1, unless `document_mask`), padding 0.
      component, epoch, block: [R] int64. Unshuffled, a component's blocks are in order, once, in epoch 0; then come
        blocks of padding alone.
    """

    def __init__(
        self,
        mixture: Mixture,
        *,
        stride: int,
        batch_size: int,
        rows: Sequence[int],
        document_mask: bool,
        start: int = 0,
        stop: int | None = None,
    ):
        """Steps `start` to `stop` (never, if None); `rows`: which of 0..batch_size - 1 are wanted."""
        super().__init__(splits=("train",), performs_internal_shuffling=True)
        self._streams, self._rates = mixture
        self._stride = stride
        self._batch_size = batch_size
        self._rows = np.asarray(rows, np.int64)
        self._document_mask = document_mask
        self._start = start
        self._stop = stop
        self._num_blocks = [num_blocks(stream.num_tokens, stride) for stream in self._streams]

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
        """Elements as described above; in order without `shuffle`. `seed` must be given."""
        if seed is None:
            raise ValueError("blocks are shuffled by a seed")
        shape = (len(self._rows), self._stride + 1)

        def step_rows(step: tf.Tensor) -> dict[str, tf.Tensor]:
            component_R, index_R = places_in_mixture(step * self._batch_size + self._rows, self._rates)
            if shuffle:
                num_blocks_R = tf.gather(tf.constant(self._num_blocks, tf.int64), component_R)
                epoch_R, block_R = shuffled_blocks(index_R, num_blocks=num_blocks_R, seed=seed, component_R=component_R)
            else:
                epoch_R, block_R = ordered_blocks(index_R)
            # No TensorFlow inside: an eager op there may wait, for ever, for the thread that it runs in.
            text, segments = tf.numpy_function(self.read, [component_R, block_R], (tf.int32, tf.int32))
            return {
                "targets": tf.ensure_shape(text, shape),
                "segment_ids": tf.ensure_shape(segments, shape),
                "component": component_R,
                "epoch": epoch_R,
                "block": block_R,
            }

        steps = tf.data.Dataset.range(self._start, tf.int64.max if self._stop is None else self._stop)
        return steps.map(step_rows)

    def read(self, component_R: np.ndarray, block_R: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Text and segment ids of blocks, each [R, N + 1] int32, padded; after the last block all is padding."""
        text_RxN1, segments_RxN1 = np.zeros((2, len(block_R), self._stride + 1), np.int32)
        for row, (component, block) in enumerate(zip(component_R.tolist(), block_R.tolist(), strict=True)):
            if block < self._num_blocks[component]:
                stream, start = self._streams[component], block * self._stride
                tokens, documents = stream.slice(start, min(start + self._stride + 1, stream.num_tokens))
                text_RxN1[row, : len(tokens)] = tokens
                segments_RxN1[row, : len(tokens)] = documents - documents[0] + 1 if self._document_mask else 1
        return text_RxN1, segments_RxN1

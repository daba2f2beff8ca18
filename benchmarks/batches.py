"""The first batch of a run that goes on at some step, the pipeline's opening included, against that of a new run.

Both sides are ours: resuming must take no longer at step 1,000,000 than at step 0. Opening is most of the time, so this
sees a pipeline that reads or draws its way to the step, but hardly a batch that takes some milliseconds more.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np

from benchmarks.measure import Pair
from pause_jax.config import Config, DataConfig, ModelConfig, PauseConfig, TrainConfig
from pause_jax.data.blocks import Mixture
from pause_jax.data.pretraining import train_batches
from pause_jax.data.streams import TokenStream

BATCH_SIZE = 32
VOCAB_SIZE = 259
CONFIG = Config(
    model=dataclasses.replace(ModelConfig(vocab_size=VOCAB_SIZE), num_pause_tokens=1),
    data=DataConfig(length=256),
    pauses=PauseConfig(rate=0.1),
    train=TrainConfig(batch_size=BATCH_SIZE),
)


def make_pair(step: int, num_tokens: int = 10_000_000, document_tokens: int = 1000) -> Pair:
    """Opening the pipeline at `step` and at 0, over `num_tokens` of random text in memory.

    Raises:
      AssertionError: the two steps have the same batch, so that one of them is not what it claims.
    """
    tokens = np.random.default_rng(0).integers(3, VOCAB_SIZE, num_tokens).astype(np.uint16)
    starts = np.arange(0, num_tokens, document_tokens, dtype=np.int64)
    stream = TokenStream(tokens, starts, text_bytes=num_tokens, sha256="")
    ours, peer = _first_batch(stream, step), _first_batch(stream, 0)
    assert not np.array_equal(ours(), peer())
    return Pair(ours, peer)


def _first_batch(stream: TokenStream, step: int) -> Callable[[], np.ndarray]:
    def first_batch() -> np.ndarray:
        batches = train_batches(Mixture([stream], [1.0]), CONFIG, range(BATCH_SIZE), step)
        return next(batches)["inputs"]

    return first_batch

"""The input pipeline as training uses it: rows of 2,048 positions from a prepared folder, 10 % pauses inserted.

The text of Python's standard library is prepared in a temporary folder first, in bytes. So shortly after, the operating
system has it in memory: this measures reading, cutting, pauses and features, not the disk itself.
"""

from __future__ import annotations

import atexit
import dataclasses
import functools
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from benchmarks.measure import Pair
from pause_jax.config import Config, DataConfig, ModelConfig, PauseConfig, TrainConfig
from pause_jax.data import prepare, pretraining
from pause_jax.data.blocks import Mixture

LENGTH = 2048
BATCH_SIZE = 32
BATCHES = 20  # a call
POSITIONS_PER_SECOND = 2_000_000  # the goal
CONFIG = Config(
    model=dataclasses.replace(ModelConfig(vocab_size=259), num_pause_tokens=1),
    data=DataConfig(length=LENGTH),
    pauses=PauseConfig(rate=0.1),
    train=TrainConfig(batch_size=BATCH_SIZE),
)


def make_goal() -> Pair:
    """Batches against the time that they may take."""
    positions = BATCHES * BATCH_SIZE * LENGTH
    return Pair(_reader(0), positions / POSITIONS_PER_SECOND, work=positions / 1e6)


def make_step_pair(step: int) -> Pair:
    """Batches from `step` on against those from step 0 on, both pipelines already open."""
    return Pair(_reader(step), _reader(0), work=BATCHES)


def _reader(start_step: int) -> Callable[[], None]:
    batches = pretraining.train_batches(_prepared(), CONFIG, range(BATCH_SIZE), start_step)

    def read() -> None:
        for _ in range(BATCHES):
            next(batches)

    return read


@functools.cache
def _prepared() -> Mixture:
    folder = Path(tempfile.mkdtemp(prefix="pause_jax_benchmark_"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    data = DataConfig()
    units = prepare.begin(folder / "text", data, prepare.describe(data), lambda files: {}, skip_bad=False)
    for unit in units:
        prepare.run_unit(unit)
    prepare.finish(folder / "text", units)
    return pretraining.open_corpus(DataConfig(prepared=str(folder / "text"))).train

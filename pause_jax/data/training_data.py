"""What a run trains on: the same from outside, whether it pretrains on text or finetunes on a task."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from pause_jax.config import Config
from pause_jax.system.native_stderr import suppress_native_stderr

HostBatch = dict[str, np.ndarray]  # features of this process's rows, on the host


class TrainingData(Protocol):
    """Batches by their number: batch t is a function of (config, t), whatever was asked for before."""

    @property
    def manifest(self) -> Mapping[str, Any]:
        """What identifies the data of a run, ready for JSON."""

    @property
    def warnings(self) -> list[str]:
        """What the user should know of it, in sentences."""

    def train(self, rows: Sequence[int], start_step: int = 0) -> Iterator[HostBatch]:
        """Batches number `start_step`, + 1, … without end: these `rows` of the global batch."""

    @property
    def validation(self) -> Mapping[str, Callable[[Sequence[int]], Iterator[HostBatch]]]:
        """The metric's name → these rows of its batches, the same in each call."""


def open_training_data(config: Config) -> TrainingData:
    """The data of a resolved config; TensorFlow is imported here.

    Raises:
      UserError: as `pretraining.open_corpus`, or `finetuning.open_task` where the config has a task.
    """
    with suppress_native_stderr():
        from pause_jax.data.finetuning import FinetuningData
        from pause_jax.data.pretraining import PretrainingData
    return FinetuningData.open(config) if config.finetune.task else PretrainingData.open(config)

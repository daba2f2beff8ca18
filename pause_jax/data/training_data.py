"""`TrainingData`: one interface for what a run trains on, text in pretraining or a task in finetuning."""

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
        """Sentences on the data that the user should read, such as how many prompts are cut."""

    def train(self, rows: Sequence[int], start_step: int = 0) -> Iterator[HostBatch]:
        """Batches number `start_step`, `start_step` + 1 and so on without end: these `rows` of each global batch."""

    @property
    def validation(self) -> Mapping[str, Callable[[Sequence[int]], Iterator[HostBatch]]]:
        """By the metric's name, a function from rows to those rows of its batches, the same in each call."""


def open_training_data(config: Config) -> TrainingData:
    """The data of a resolved config; TensorFlow is imported here.

    Raises:
      UserError: as `pretraining.open_corpus`, or `finetuning.open_task` where the config has a task.
    """
    with suppress_native_stderr():
        from pause_jax.data.finetuning import FinetuningData
        from pause_jax.data.pretraining import PretrainingData
    return FinetuningData.open(config) if config.finetune.task else PretrainingData.open(config)

"""Finetuning batches: prompt, pauses, target, as the model's features. Batch t is a function of (config, t)."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import seqio
import tensorflow as tf

from pause_jax import tasks
from pause_jax.config import Config, DataConfig, FinetuneConfig
from pause_jax.data.blocks import ordered_blocks, shuffled_blocks
from pause_jax.data.tf_utils import keep_off_accelerators, without_autograph
from pause_jax.data.training_data import HostBatch
from pause_jax.errors import UserError
from pause_jax.pauses import downstream, insertion
from pause_jax.tasks import synthetic
from pause_jax.tokenizers import tokenizer, vocabularies

_READ_AT_ONCE = 512  # examples handed over by TensorFlow
_STEPS_AT_ONCE = 64  # steps whose order TensorFlow computes in one call: a call costs as much as making a batch
SHARE_CUT = 0.01  # of prompts or targets that are cut, above which the user is warned
FEATURES = {
    "inputs": np.int32,
    "targets": np.int32,
    "loss_weights": np.float32,
    "positions": np.int32,
    "segment_ids": np.int32,
    "prefix_lm_length": np.int32,  # [B]: positions at the row's start that see each other both ways
}


@dataclasses.dataclass(frozen=True)
class Ragged:
    """Sequences of ids, end to end."""

    ids: np.ndarray  # int32
    starts: np.ndarray  # int64 [sequences + 1]

    def __len__(self) -> int:
        return len(self.starts) - 1

    def __getitem__(self, index: int) -> np.ndarray:
        return self.ids[self.starts[index] : self.starts[index + 1]]

    def first(self, index_B: np.ndarray, length: int) -> tuple[np.ndarray, np.ndarray]:
        """The first `length` ids of some sequences, left-aligned [B, `length`], and how many each has of them."""
        start_B, stop_B = self.starts[index_B], self.starts[index_B + 1]
        return self._take(start_B[:, None] + np.arange(length)), np.minimum(stop_B - start_B, length)

    def last(self, index_B: np.ndarray, length: int) -> tuple[np.ndarray, np.ndarray]:
        """The last `length` ids of some sequences, right-aligned [B, `length`], and how many each has of them."""
        start_B, stop_B = self.starts[index_B], self.starts[index_B + 1]
        return self._take(stop_B[:, None] - length + np.arange(length)), np.minimum(stop_B - start_B, length)

    def _take(self, at_BxN: np.ndarray) -> np.ndarray:
        return self.ids[np.clip(at_BxN, 0, len(self.ids) - 1)]  # beyond a sequence lies another: the caller masks it


@dataclasses.dataclass(frozen=True)
class Examples:
    """A tokenized split of a task: each example's prompt, its target with EOS, and its hints if they are asked for."""

    prompts: Ragged
    targets: Ragged
    hints: Ragged | None = None

    def __len__(self) -> int:
        return len(self.prompts)

    def manifest(self) -> dict[str, Any]:
        """What identifies the examples, ready for JSON."""
        digest = hashlib.sha256()
        for ragged in (self.prompts, self.targets, *([self.hints] if self.hints else [])):
            digest.update(ragged.ids.astype("<i4").tobytes())
            digest.update(ragged.starts.astype("<i8").tobytes())
        text_tokens = len(self.prompts.ids) + len(self.targets.ids)
        return {"examples": len(self), "text_tokens": text_tokens, "sha256": digest.hexdigest()}


@dataclasses.dataclass(frozen=True)
class Downstream:
    """A task, ready for finetuning."""

    train: Examples
    validation: Examples
    filler_id: int
    manifest: Mapping[str, Any]  # what identifies the data of a run, ready for JSON


def open_task(data: DataConfig, finetune: FinetuneConfig) -> Downstream:
    """Reads and tokenizes the training and validation parts of `finetune.task`.

    Raises:
      UserError: no such task, no examples, hints where it has none, or a filler that is no text.
    """
    fingerprint = tokenizer.fingerprint(data.vocabulary)
    task = functools.partial(_examples, finetune.task, data.vocabulary, fingerprint, data.data_dir)
    train, validation = (_with_hints_as_asked(task(split), finetune) for split in ("train", "validation"))
    manifest = {
        "task": finetune.task,
        "vocabulary": fingerprint,
        "train": train.manifest(),
        "validation": validation.manifest(),
    }
    return Downstream(train, validation, filler_id(finetune.filler, vocabularies.load(data.vocabulary)), manifest)


@dataclasses.dataclass(frozen=True)
class FinetuningData:
    """A `TrainingData` of a task's prompts, pauses and targets."""

    config: Config
    task: Downstream

    @classmethod
    def open(cls, config: Config) -> FinetuningData:
        """Raises UserError as `open_task`."""
        return cls(config, open_task(config.data, config.finetune))

    @property
    def manifest(self) -> Mapping[str, Any]:
        return self.task.manifest

    @property
    def warnings(self) -> list[str]:
        """Sentences on prompts and targets that are cut."""
        return cut_sentences(self.task.train, self.config.finetune)

    def train(self, rows: Sequence[int], start_step: int = 0) -> Iterator[HostBatch]:
        return train_batches(self.task.train, self.config, self.task.filler_id, rows, start_step)

    @property
    def validation(self) -> Mapping[str, Callable[[Sequence[int]], Iterator[HostBatch]]]:
        validate = functools.partial(validation_batches, self.task.validation, self.config, self.task.filler_id)
        return {"loss": validate}


def cut_sentences(examples: Examples, finetune: FinetuneConfig) -> list[str]:
    """A sentence for prompts and one for targets, each only where more than 1 % are longer than the config allows."""
    sentences = []
    for what, part, field, loses in (
        ("prompts", examples.prompts, "max_prompt_length", "beginning"),
        ("targets", examples.targets, "target_length", "end"),
    ):
        lengths, at_most = np.diff(part.starts), getattr(finetune, field)
        longer = lengths > at_most
        if longer.mean() > SHARE_CUT:
            sentences.append(
                f"{longer.sum():,} of the {len(part):,} {what} of {finetune.task} have more than config.finetune."
                f"{field} = {at_most} tokens and lose their {loses}, {np.median(lengths[longer] - at_most):.0f} tokens "
                f"in the median: --config.finetune.{field}={_enough(lengths)} keeps 99 % of them whole, "
                f"{lengths.max()} all"
            )
    return sentences


def _enough(lengths: np.ndarray) -> int:
    return int(np.quantile(lengths, 1 - SHARE_CUT, method="higher"))


@functools.lru_cache(maxsize=4)  # a process that trains many runs, with hints and without, reads them once
def _examples(task: str, vocabulary: str, fingerprint: str, data_dir: str, split: str) -> Examples:
    return read_examples(tasks.get(task, vocabularies.load(vocabulary), data_dir), split)


def _with_hints_as_asked(examples: Examples, finetune: FinetuneConfig) -> Examples:
    """With hints only if `finetune.hints` asks for them. Raises UserError where the task has none."""
    if finetune.hints == "none":
        return dataclasses.replace(examples, hints=None)
    if examples.hints is None:
        raise UserError(
            f"task {finetune.task!r} has no hints for config.finetune.hints; {', '.join(synthetic.with_hints())} have"
        )
    return examples


def filler_id(filler: str, vocabulary: seqio.Vocabulary) -> int:
    """The id of the last token of `filler`. Raises UserError where it has none."""
    ids = vocabulary.encode(filler)
    if not ids:
        raise UserError(f"config.finetune.filler = {filler!r} has no token: give a text such as '.'")
    return int(ids[-1])


def read_examples(task: seqio.Task, split: str) -> Examples:
    """All examples of a split, tokenized, in order; with hints if the task has them. UserError: there are none."""
    keep_off_accelerators()
    names = [name for name in ("inputs", "targets", "hints") if name in task.output_features]
    batches = list(_dataset(task, split, names).ragged_batch(_READ_AT_ONCE))
    if not batches:
        raise UserError(f"split {split!r} of task {task.name!r} has no examples")
    examples = Examples(*(_join([batch[name] for batch in batches]) for name in names))
    if (lengths := np.diff(examples.prompts.starts)).min() == 0:
        raise UserError(f"example {lengths.argmin()} of split {split!r} of task {task.name!r} has an empty prompt")
    return examples


@without_autograph
def _dataset(task: seqio.Task, split: str, names: Sequence[str]) -> tf.data.Dataset:
    dataset = task.get_dataset(sequence_length=None, split=split, shuffle=False)
    return dataset.map(lambda example: {name: example[name] for name in names})


def train_batches(
    examples: Examples, config: Config, filler_id: int, rows: Sequence[int], start_step: int = 0
) -> Iterator[HostBatch]:
    """Batches for training from step `start_step` on, without end.

    Each has the features of `FEATURES`, [len(rows), T], and prefix_lm_length, [len(rows)]. An epoch visits each example
    once, in an order that is a function of (seed, epoch).

    Raises:
      UserError: pauses where the model has none.
    """
    order = functools.partial(shuffled_blocks, num_blocks=len(examples), seed=config.seed)
    make = functools.partial(features, examples, config=config, filler_id=filler_id)
    return _batches(order, make, config.train.batch_size, rows, range(start_step, np.iinfo(np.int64).max))


def validation_batches(examples: Examples, config: Config, filler_id: int, rows: Sequence[int]) -> Iterator[HostBatch]:
    """The first `config.run.validation_batches` batches of the examples in order, or all if there are fewer.

    The last one is padded. Of several M_ft each example draws the same one in each call. Arrays, arguments and errors
    as in `train_batches`.
    """
    make = functools.partial(features, examples, config=config, filler_id=filler_id)
    batch_size = config.train.batch_size
    steps = range(min(config.run.validation_batches, -(-len(examples) // batch_size)))
    return _batches(ordered_blocks, make, batch_size, rows, steps)


def features(
    examples: Examples, epoch_B: np.ndarray, index_B: np.ndarray, *, config: Config, filler_id: int
) -> HostBatch:
    """The features of some examples; padding for indices after the last. Seeded by (seed, epoch, index)."""
    finetune = config.finetune
    exists_B = index_B < len(examples)
    index_B = np.where(exists_B, index_B, 0)
    drawn = [
        draw_m_ft(finetune.m_ft, seed=config.seed, epoch=epoch, example=index)
        for epoch, index in zip(epoch_B.tolist(), index_B.tolist(), strict=True)
    ]
    num_pauses_B = np.array(drawn) * exists_B
    prompts_BxP, prompt_lengths_B = examples.prompts.last(index_B, finetune.max_prompt_length)
    targets_BxA, target_lengths_B = examples.targets.first(index_B, finetune.target_length)
    made = downstream.finetune_rows(
        prompts_BxP,
        prompt_lengths_B * exists_B,
        num_pauses_B,
        targets_BxA,
        target_lengths_B * exists_B,
        context_length=finetune.context_length,
        placement=finetune.placement,
        tokens=downstream.PauseTokens(
            config.model.vocab_size,
            config.model.num_pause_tokens,
            filler_id if finetune.placement == "filler" else None,
        ),
    )
    targets_BxT, loss_weights_BxT = made.ids_BxZ[:, 1:], made.loss_weights_BxT
    if examples.hints is not None:
        hints = _place_hints(examples.hints, index_B, finetune, prompt_lengths_B * exists_B, num_pauses_B)
        targets_BxT, loss_weights_BxT = downstream.put_hints(targets_BxT, loss_weights_BxT, *hints)
    return {
        "inputs": made.ids_BxZ[:, :-1],
        "targets": targets_BxT,
        "loss_weights": loss_weights_BxT,
        "positions": insertion.positions(made.segments_BxZ[:, :-1]),
        "segment_ids": made.segments_BxZ[:, :-1],
        "prefix_lm_length": (finetune.prefix_lm_length(num_pauses_B) * exists_B).astype(np.int32),
    }


def _place_hints(
    hints: Ragged, index_B: np.ndarray, finetune: FinetuneConfig, prompt_lengths_B: np.ndarray, num_pauses_B: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The hints of each row, which of them are used, and the position of the first, as `finetune.hints` says."""
    prompt_ends_B = finetune.context_length - num_pauses_B * (finetune.placement != "prepend")  # after its last token
    if finetune.hints == "pauses":  # the first hint at the first pause
        hints_BxH, count_B = hints.first(index_B, max(finetune.m_ft) - 1)
        is_hint_BxH = np.arange(hints_BxH.shape[1]) < np.minimum(count_B, num_pauses_B - 1)[:, None]
        return hints_BxH, is_hint_BxH, prompt_ends_B
    # the last hint at the prompt's last token but one
    hints_BxH, count_B = hints.last(index_B, finetune.max_prompt_length - 1)
    from_end_H = np.arange(hints_BxH.shape[1])[::-1]
    is_hint_BxH = from_end_H < np.minimum(count_B, prompt_lengths_B - 1)[:, None]
    return hints_BxH, is_hint_BxH, prompt_ends_B - 1 - hints_BxH.shape[1]


def draw_m_ft(m_ft: Sequence[int], *, seed: int, epoch: int, example: int) -> int:
    """One of the numbers of `m_ft`, all equally likely: a function of (seed, epoch, example)."""
    if len(m_ft) == 1:
        return m_ft[0]
    return m_ft[int(insertion.random_words(seed, epoch, example, 1)[0] % len(m_ft))]


def _batches(order: Any, make: Any, batch_size: int, rows: Sequence[int], steps: range) -> Iterator[HostBatch]:
    keep_off_accelerators()
    make(*np.zeros((2, 1), np.int64))  # a user's mistake is raised here, not at the first batch
    rows_R = np.asarray(rows, np.int64)

    def batches() -> Iterator[HostBatch]:
        for start in range(steps.start, steps.stop, _STEPS_AT_ONCE):
            step_S = np.arange(start, min(start + _STEPS_AT_ONCE, steps.stop))
            example_SxR = step_S[:, None] * batch_size + rows_R
            epoch_SxR, index_SxR = (
                x.numpy().reshape(example_SxR.shape) for x in order(tf.constant(example_SxR.ravel()))
            )
            yield from map(make, epoch_SxR, index_SxR)

    return batches()


def _join(parts: Sequence[tf.RaggedTensor]) -> Ragged:
    lengths = np.concatenate([part.row_lengths().numpy() for part in parts])
    return Ragged(np.concatenate([part.values.numpy() for part in parts]), np.concatenate([[0], np.cumsum(lengths)]))

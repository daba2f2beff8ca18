"""Examples of a SeqIO task for the evaluator."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

from pause_jax.data import tasks, vocabularies
from pause_jax.data.host import keep_off_accelerators
from pause_jax.errors import UserError
from pause_jax.evaluation.evaluator import TaskExamples


def read_examples(
    name: str, *, vocabulary: str, split: str, data_dir: str = "", limit: int | None = None
) -> TaskExamples:
    """The examples of a split of a task, or its first `limit`, tokenized.

    Args:
      vocabulary, data_dir: as of `config.data`.

    Raises:
      UserError: no such task or split, or it has no examples.
    """
    keep_off_accelerators()
    words = vocabularies.load(vocabulary)
    task = tasks.get(name, words, data_dir)
    if split not in task.splits:
        raise UserError(f"task {name!r} has no split {split!r}; it has {', '.join(task.splits)}")
    dataset = task.get_dataset(sequence_length=None, split=split, shuffle=False)
    examples: list[Mapping[str, Any]] = list(itertools.islice(dataset.as_numpy_iterator(), limit))
    if not examples:
        raise UserError(f"split {split!r} of task {name!r} has no examples")
    references = [example["targets_pretokenized"].decode() for example in examples]
    has_options = "options" in examples[0]
    return TaskExamples(
        name=name,
        split=split,
        texts=[example["inputs_pretokenized"].decode() for example in examples],
        prompts=[example["inputs"].tolist() for example in examples],
        references=references,
        targets=[
            task.postprocess_fn(text, example=example, is_target=True)
            for text, example in zip(references, examples, strict=True)
        ],
        postprocess=lambda text, i: task.postprocess_fn(text, example=examples[i], is_target=False),
        predict_metrics=task.predict_metric_fns,
        options=[[words.encode(option.decode()) for option in e["options"]] for e in examples] if has_options else [],
        option_texts=[[option.decode() for option in e["options"]] for e in examples] if has_options else [],
        labels=[int(example["label"]) for example in examples] if has_options else [],
        score_metrics=task.score_metric_fns,
    )

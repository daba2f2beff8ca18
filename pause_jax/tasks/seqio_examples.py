"""Reads the examples of a SeqIO task for the evaluator."""

from __future__ import annotations

import collections
import itertools
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pause_jax import tasks
from pause_jax.data.tf_utils import keep_off_accelerators, without_autograph
from pause_jax.errors import UserError
from pause_jax.tasks import official
from pause_jax.tasks.examples import TaskExamples
from pause_jax.tokenizers import vocabularies

History = Literal["gold", "predicted"]  # the answers that a later prompt of a conversation holds


def read_examples(
    name: str, *, vocabulary: str, split: str, data_dir: str = "", limit: int | None = None, history: History = "gold"
) -> TaskExamples:
    """The examples of a split of a task, or its first `limit`, tokenized.

    Args:
      vocabulary, data_dir: as of `config.data`.
      history: "predicted" for a task of conversations alone: its prompts hold the run's own earlier answers.

    Raises:
      UserError: no such task or split, it has no examples or two of one id, or no conversations.
    """
    keep_off_accelerators()
    words = vocabularies.load(vocabulary)
    task = tasks.get(name, words, data_dir)
    if split not in task.splits:
        raise UserError(f"task {name!r} has no split {split!r}; it has {', '.join(task.splits)}")
    dataset = without_autograph(task.get_dataset)(sequence_length=None, split=split, shuffle=False)
    examples: list[Mapping[str, Any]] = list(itertools.islice(dataset.as_numpy_iterator(), limit))
    if not examples:
        raise UserError(f"split {split!r} of task {name!r} has no examples")
    references = [example["targets_pretokenized"].decode() for example in examples]
    has_options = "options" in examples[0]
    texts = [example["inputs_pretokenized"].decode() for example in examples]
    ids = _ids(examples, f"split {split!r} of task {name!r}")
    return TaskExamples(
        name=name,
        split=split,
        ids=ids,
        texts=texts,
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
        limit=limit,
        **(_conversations(name, ids, texts) if history == "predicted" else {}),
    )


def at_hand(split: str, data_dir: str) -> tuple[list[str], list[str]]:
    """Names of the official tasks whose files for `split` lie in `data_dir`, and of the others."""
    part = "train" if split == "validation" else split
    there = {
        name: bool(data_dir and source.files.get(part))
        and all(official.locate(file, data_dir) for file in source.files[part])
        for name, source in official.known().items()
    }
    return [name for name, found in there.items() if found], [name for name, found in there.items() if not found]


def _ids(examples: Sequence[Mapping[str, Any]], where: str) -> list[str | int]:
    """The feature `id` of each, a text or a number; the examples' numbers where there is none."""
    if "id" not in examples[0]:
        return list(range(len(examples)))
    ids = [e["id"].decode() if isinstance(e["id"], bytes) else int(e["id"]) for e in examples]
    repeated = [i for i, count in collections.Counter(ids).items() if count > 1]
    if repeated:
        raise UserError(f"{where} has the id {repeated[0]!r} twice: give each example its own, answers are kept by it")
    return ids


def _conversations(name: str, ids: Sequence[str | int], texts: Sequence[str]) -> dict[str, Any]:
    """`rounds` and `render` of `TaskExamples`, for a task whose ids are CONVERSATION/TURN, the turns in order.

    Each turn's prompt is the prompt of the turn before, a space, that turn's answer on one line, and what follows.

    >>> asked = _conversations("mine", ["a/1", "b/1", "a/2"], ["Snow? A:", "Hail? A:", "Snow? A: no\\nRain? A:"])
    >>> asked["rounds"], asked["render"](2, {0: "yes", 1: "no"})
    ([[0, 1], [2]], 'Snow? A: yes\\nRain? A:')
    """
    turns: dict[str, list[int]] = collections.defaultdict(list)
    for number, one in enumerate(ids):
        turns[str(one).rpartition("/")[0]].append(number)
    after: dict[int, tuple[int, str]] = {}  # number → the turn before it, and what follows its answer in the prompt
    for before, number in itertools.chain.from_iterable(map(itertools.pairwise, turns.values())):
        answer, newline, rest = texts[number].removeprefix(texts[before]).partition("\n")
        if not (newline and answer.startswith(" ") and texts[number].startswith(texts[before])):
            raise UserError(f"task {name!r} has no conversations, in whose prompts answers could be: use gold history")
        after[number] = before, f"\n{rest}"
    if not after:
        raise UserError(f"task {name!r} has no conversations, in whose prompts answers could be: use gold history")

    def render(number: int, previous_answers: Mapping[int, str]) -> str:
        if number not in after:
            return texts[number]
        before, rest = after[number]
        earlier = render(before, previous_answers)
        return f"{earlier} {official.clean(previous_answers[before])}{rest}"

    longest = max(map(len, turns.values()))
    rounds = [[numbers[k] for numbers in turns.values() if k < len(numbers)] for k in range(longest)]
    return {"rounds": rounds, "render": render}

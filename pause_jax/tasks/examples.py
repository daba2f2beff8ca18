"""`TaskExamples`: what the evaluator needs of a task. seqio_examples.py makes it, so that TensorFlow stays there."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

Metric = Callable[..., Mapping[str, Any]]


@dataclasses.dataclass(frozen=True)
class TaskExamples:
    """A split of a task, or its first examples."""

    name: str
    split: str
    ids: Sequence[str | int]  # the data set's own, or the examples' numbers; no two are equal
    texts: Sequence[str]  # prompts, for people
    prompts: Sequence[Sequence[int]]
    references: Sequence[str]  # targets, for people
    targets: Sequence[Any]  # as the metrics of generated answers take them
    postprocess: Callable[[str, int], Any]  # (generated text, example's number) → what the metrics take
    predict_metrics: Sequence[Metric]
    options: Sequence[Sequence[Sequence[int]]]  # ids of each example's options; empty: it has none
    option_texts: Sequence[Sequence[str]]  # the same as text
    labels: Sequence[int]  # the right option's number
    score_metrics: Sequence[Metric]
    limit: int | None = None  # how many examples of the split were read; None: all
    rounds: Sequence[Sequence[int]] = ()  # numbers of the examples to answer first, then, …; empty: all at once
    # (example's number, texts written in earlier rounds by number) → its prompt; None: prompts depend on no answer
    render: Callable[[int, Mapping[int, str]], str] | None = None

    @property
    def label(self) -> str:
        """The name that distinguishes this evaluation of a run from others, for names of files."""
        parts = [self.name, self.split]
        parts += [f"first{self.limit}"] if self.limit is not None else []
        return ".".join([*parts, "predicted_history"] if self.render else parts)

    def fingerprint(self) -> str:
        """A fingerprint of all that an answer or its metrics depend on."""
        content = [self.ids, self.prompts, self.references, self.targets, self.options, self.labels, self.rounds]
        return hashlib.sha256(json.dumps(content, default=str).encode()).hexdigest()[:16]

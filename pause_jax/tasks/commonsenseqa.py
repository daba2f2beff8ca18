"""CommonsenseQA 1.11, the random split (Talmor et al., 2019): five choices, the answer written out, not scored.

    Choices: ignore, enforce, authoritarian, yell at, avoid
    Question: The sanctions against the school were a punishing blow, and they seemed to what …?
    Answer: ignore

The test split is the published development file, as the published test file has no labels. What is written is matched
back to the choices: it has the label of each choice whose text equals its own, both normalized as SQuAD's exact match
does it (case, punctuation, articles and runs of white space aside). It is right where the right label is among these:
146 questions have two choices of the same text (in 48 it is the right one's), which then have both labels. `no_choice`
is the percentage of answers that equal no choice.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pause_jax.tasks import metrics
from pause_jax.tasks.answer_metrics import normalize
from pause_jax.tasks.official import Example, File, Text, register

_URL = "https://s3.amazonaws.com/commensenseqa/"
TRAIN = File(
    "commonsenseqa/train_rand_split.jsonl",
    _URL + "train_rand_split.jsonl",
    "58ffa3c8472410e24b8c43f423d89c8a003d8284698a6ed7874355dedd09a2fb",
    records=9741,
)
DEV = File(
    "commonsenseqa/dev_rand_split.jsonl",
    _URL + "dev_rand_split.jsonl",
    "3210497fdaae614ac085d9eb873dd7f4d49b6f965a93adadc803e1229fd8a02a",
    records=1221,
)
_LABELS = "ABCDE"


def read(questions: Text) -> Iterator[Example]:
    for number, record in questions.json_lines():
        with questions.at(f"line {number}"):
            question, key = record["question"], record["answerKey"]
            choices = {choice["label"]: choice["text"].strip() for choice in question["choices"]}
            if "".join(choices) != _LABELS or key not in choices:
                raise ValueError(f"the labels are {', '.join(choices)}, the right one is {key!r}: not of A to E")
            yield Example(
                id=record["id"],
                prompt=f"Choices: {', '.join(choices.values())}\nQuestion: {question['stem'].strip()}\nAnswer:",
                target=f" {choices[key]}",
                answers=(key, *choices.values()),  # the right label, then the texts of A to E
                group=question["stem"],
            )


def postprocess(text: str, example: Mapping[str, Any], is_target: bool = False) -> Any:
    """The right label of a target; of a prediction, those of all choices that it equals."""
    label, *choices = (answer.decode() for answer in example["answers"].tolist())
    if is_target:
        return label
    return [a for a, choice in zip(_LABELS, choices, strict=True) if normalize(choice) == normalize(text)]


register(
    "commonsenseqa",
    files={"train": (TRAIN,), "test": (DEV,)},
    read=read,
    postprocess_fn=postprocess,
    metric_fns=[metrics.label_accuracy],
)

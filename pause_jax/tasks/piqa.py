"""PIQA: which of two solutions reaches a goal (Bisk et al., 2020); scored by likelihood.

    Question: When boiling butter, when it's ready, you can
    Answer: Pour it into a jar

Trained on the right solution. The test split is the published validation files, as the published test file has no
labels; 180 of its 1,838 questions have a goal that the training file has too. A solution is scored after the prompt,
without an end of text. Reported: the percentage of questions whose right solution has the highest log p, in all, a
token and a character.
"""

from __future__ import annotations

from collections.abc import Iterator

from pause_jax.errors import UserError
from pause_jax.tasks import metrics
from pause_jax.tasks.official import Example, File, Text, register

_URL = "https://yonatanbisk.com/piqa/data/"
TRAIN = File(
    "piqa/train.jsonl",
    _URL + "train.jsonl",
    "f805f9c96518d7b59f2f870d90f712457cda949979469d9fa3fd706ce22e0a1a",
    records=16113,
)
TRAIN_LABELS = File(
    "piqa/train-labels.lst",
    _URL + "train-labels.lst",
    "df8ae080c41f02f88e81f6932d425f4b7ee72f433ad552e6a30d45e358e8f8bb",
)
VALID = File(
    "piqa/valid.jsonl",
    _URL + "valid.jsonl",
    "93503cc97c679e459b065c3d13e848282e44b2a25213985bed3e5d458abef72d",
    records=1838,
)
VALID_LABELS = File(
    "piqa/valid-labels.lst",
    _URL + "valid-labels.lst",
    "b4192dc3a2a0363d9d60ccf79800cbbe2f32ebb17726efdde6970e0b8131bceb",
)


def read(goals: Text, labels: Text) -> Iterator[Example]:
    records, answers = list(goals.json_lines()), list(labels.lines())
    if len(records) != len(answers):
        raise UserError(
            f"{goals.path} has {len(records):,} lines, but {labels.path} has {len(answers):,}: they belong together "
            "line by line; get both again, in the version that docs/tasks.md names"
        )
    for (number, record), (_, label) in zip(records, answers, strict=True):
        with goals.at(f"line {number}"):
            goal, options = record["goal"].strip(), tuple(f" {record[key].strip()}" for key in ("sol1", "sol2"))
            if not goal or " " in options:
                raise ValueError("the goal or a solution is empty")
        with labels.at(f"line {number}"):
            if label not in ("0", "1"):
                raise ValueError(f"the label is {label!r}, not 0 or 1")
        right = int(label)
        yield Example(
            id=goals.id_of(number),
            prompt=f"Question: {goal}\nAnswer:",
            target=options[right],
            answers=(options[right].strip(),),
            group=goal,
            options=options,
            label=right,
        )


register(
    "piqa",
    files={"train": (TRAIN, TRAIN_LABELS), "test": (VALID, VALID_LABELS)},
    read=read,
    metric_fns=[metrics.option_accuracy, metrics.option_accuracy_per_character],
)

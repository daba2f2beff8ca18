"""CoQA: conversations on a story, each answer free text (Reddy et al., 2019). One example is one turn.

The test split is the official development file, all turns of all stories. By default the history in a prompt is gold:
the questions with the first annotator's answers; launch.evaluate --history=predicted puts the run's own in their place.
The question stands last, so that a prompt cut from the left keeps it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from pause_jax.tasks import answer_metrics
from pause_jax.tasks.official import Example, File, Text, clean, register

_URL = "https://nlp.stanford.edu/data/coqa/"
TRAIN = File(
    "coqa/coqa-train-v1.0.json",
    _URL + "coqa-train-v1.0.json",
    "b0fdb2bc1bd38dd3ca2ce5fa2ac3e02c6288ac914f241ac409a655ffb6619fa6",
    records=108_647,
)
TEST = File(
    "coqa/coqa-dev-v1.0.json",
    _URL + "coqa-dev-v1.0.json",
    "dfa367a9733ce53222918d0231d9b3bedc2b8ee831a2845f62dfc70701f2540a",
    records=7983,
)


class Conversation(NamedTuple):
    """A story and what was asked about it."""

    id: str
    story: str
    turn_ids: list[int]
    questions: list[str]
    references: list[tuple[str, ...]]  # of each question: the main answer, then the additional ones


def read(stories: Text) -> Iterator[Example]:
    for talk in conversations(stories):
        main = [references[0] for references in talk.references]
        for i, references in enumerate(talk.references):
            yield Example(
                id=f"{talk.id}/{talk.turn_ids[i]}",
                prompt=prompt(talk.story, talk.questions[: i + 1], main[:i]),
                target=f" {main[i]}",
                answers=references,  # equal ones too: each is left out in turn
                group=talk.story,
            )


def conversations(stories: Text) -> Iterator[Conversation]:
    """All conversations of a file, in order. Raises UserError where it is not as published."""
    for number, story in enumerate(stories.data("1.0"), start=1):
        with stories.at(f"story {number}"):
            annotators = [story["answers"], *story.get("additional_answers", {}).values()]
            turn_ids = [question["turn_id"] for question in story["questions"]]
            if any([answer["turn_id"] for answer in answers] != turn_ids for answers in annotators):
                raise ValueError("the turns of its answers are not those of its questions")
            yield Conversation(
                id=story["id"],
                story=story["story"].strip(),
                turn_ids=turn_ids,
                questions=[question["input_text"].strip() for question in story["questions"]],
                references=list(
                    zip(*([a["input_text"].strip() for a in answers] for answers in annotators), strict=True)
                ),
            )


def prompt(story: str, questions: Sequence[str], answers: Sequence[str]) -> str:
    r"""The prompt of a turn: the story, the earlier questions with their answers, and the question of the turn.

    Args:
      questions: of the turns so far; the last one is to be answered.
      answers: of the earlier turns, gold or a model's own. Each is put on one line.

    Raises:
      ValueError: there is not one answer fewer than questions.

    >>> prompt("It rained.", ["Did it snow?", "What did it do?"], ["no"])
    'It rained.\n\nQ: Did it snow?\nA: no\nQ: What did it do?\nA:'
    """
    *earlier, last = questions
    history = [f"Q: {clean(q)}\nA: {clean(a)}\n" for q, a in zip(earlier, answers, strict=True)]
    return f"{story}\n\n{''.join(history)}Q: {clean(last)}\nA:"


register(
    "coqa",
    files={"train": (TRAIN,), "test": (TEST,)},
    read=read,
    metric_fns=[answer_metrics.coqa_f1],
)

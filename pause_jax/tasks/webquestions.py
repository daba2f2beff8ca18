"""WebQuestions: questions that people asked a search engine, answered by Freebase (Berant et al., 2013).

An answer is any one of a question's list; the first is trained on. Validation data is held out by the entity that the
question is about (its Freebase page), as many are asked twice in other words.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from pause_jax.tasks import answer_metrics
from pause_jax.tasks.official import Example, File, Text, gold_answers, register

_URL = "https://raw.githubusercontent.com/percyliang/sempre/6d0da57608c0dd9ada3ac1fe26df4311003f4a5e/data/webquestions/"
TRAIN = File(
    "webquestions/webquestions.examples.train.json",
    _URL + "webquestions.examples.train.json",
    "fb1797e4554a1b1be642388367de1379f8c0d5afc609ac171492c67f7b70cb1e",
    records=3778,
)
TEST = File(
    "webquestions/webquestions.examples.test.json",
    _URL + "webquestions.examples.test.json",
    "e3d4550e90660aaabe18458ba34b59f2624857273f375af7353273ce8b84ce6e",
    records=2032,
)


def read(questions: Text) -> Iterator[Example]:
    records = questions.json()
    with questions.at("at the top"):
        if not isinstance(records, list):
            raise ValueError("it is no list of questions")
    for number, record in enumerate(records, start=1):
        with questions.at(f"question {number}"):
            answers = gold_answers(parse(record["targetValue"]))
            yield Example(
                id=questions.id_of(number),
                prompt=f"Question: {record['utterance'].strip()}\nAnswer:",
                target=f" {answers[0]}",
                answers=answers,
                group=record["url"],
            )


def parse(lisp: str) -> list[str]:
    r"""The answers in a `targetValue`: quoted, or a word without quotes.

    A quotation mark within a quoted answer is not always escaped in the published files, so an answer ends where the
    next one or the list's end begins. Raises ValueError where the text is no such list.

    >>> parse('(list (description Ribsy) (description "Temperance "Tempie" Fitzgerald"))')
    ['Ribsy', 'Temperance "Tempie" Fitzgerald']
    """
    found = re.fullmatch(r"\(list \(description (.*)\)\)", lisp, re.DOTALL)
    if found is None:
        raise ValueError(f"targetValue {lisp!r} is no list of descriptions")
    return [_unquoted(item) for item in found[1].split(") (description ")]


def _unquoted(item: str) -> str:
    if len(item) > 1 and item[0] == item[-1] == '"':
        return re.sub(r"\\(.)", r"\1", item[1:-1], flags=re.DOTALL)
    if not re.fullmatch(r'[^\s"]+', item):
        raise ValueError(f"the answer {item!r} in targetValue is neither quoted nor one word")
    return item


register(
    "webquestions",
    files={"train": (TRAIN,), "test": (TEST,)},
    read=read,
    metric_fns=[answer_metrics.exact_match_and_f1],
)

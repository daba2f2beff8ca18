"""SQuAD v1.1: questions on paragraphs of Wikipedia, the answer a span of the paragraph (Rajpurkar et al., 2016).

The test split is the official development file; validation text is held out by article. The question
stands last, so that a prompt cut from the left keeps it. Context and answers are as published, to the last space.
"""

from __future__ import annotations

import urllib.parse
from collections.abc import Iterator, Mapping
from typing import Any

from pause_jax.tasks import answer_metrics
from pause_jax.tasks.official import Example, File, Text, gold_answers, register

_URL = "https://rajpurkar.github.io/SQuAD-explorer/dataset/"
TRAIN = File(
    "squad/train-v1.1.json",
    _URL + "train-v1.1.json",
    "3527663986b8295af4f7fcdff1ba1ff3f72d07d61a20f487cb238a6ef92fd955",
    records=87_599,
)
TEST = File(
    "squad/dev-v1.1.json",
    _URL + "dev-v1.1.json",
    "95aa6a52d5d6a735563366753ca50492a658031da74f301ac5238b03966972c9",
    records=10_570,
)


def read(articles: Text) -> Iterator[Example]:
    for number, article in enumerate(articles.data("1.1"), start=1):
        with articles.at(f"article {number}"):
            title, paragraphs = article["title"], enumerate(article["paragraphs"], start=1)
        for paragraph_number, paragraph in paragraphs:
            with articles.at(f"article {number} ({title}), paragraph {paragraph_number}"):
                for question in paragraph["qas"]:
                    yield _example(title, paragraph["context"], question)


def _example(title: str, context: str, question: Mapping[str, Any]) -> Example:
    try:
        answers = gold_answers([answer["text"] for answer in question["answers"]])
    except ValueError as error:
        raise ValueError(f"of question {question['id']}, {error}") from None
    return Example(
        id=question["id"],
        prompt=prompt(title, context, question["question"]),
        target=f" {answers[0]}",
        answers=answers,
        group=title,
    )


def prompt(title: str, context: str, question: str) -> str:
    """Title, context and question, each behind its name; `title` as in the file, a part of an address.

    >>> prompt("Kievan_Rus%27", "It was founded in 882.", " When was it founded? ")
    "Title: Kievan Rus'\\nContext: It was founded in 882.\\nQuestion: When was it founded?\\nAnswer:"
    """
    words = urllib.parse.unquote(title).replace("_", " ")
    return "Title: " + words + "\nContext: " + context + "\nQuestion: " + question.strip() + "\nAnswer:"


register(
    "squad_v1",
    files={"train": (TRAIN,), "test": (TEST,)},
    read=read,
    metric_fns=[answer_metrics.exact_match_and_f1],
)

"""Natural Questions, open domain: questions asked of a search engine, without a text (Lee et al., 2019).

The test split of `nq_open` is the original development file, that of `nq_open_efficientqa` the development file of the
EfficientQA competition. Where the training file (87,925 questions) is absent, DPR's 8,757 development questions, which
are a part of it, are read instead. An
answer is any one of a question's list; the first is trained on.
"""

from __future__ import annotations

from collections.abc import Iterator

from pause_jax.tasks import answer_metrics
from pause_jax.tasks.official import Example, File, Text, gold_answers, register

_REPOSITORY = "https://raw.githubusercontent.com/google-research-datasets/natural-questions/"
_URL = _REPOSITORY + "fb26a3073b1fe636c97302890a27b491d6530130/nq_open/"
TRAIN = File(
    "nq_open/NQ-open.train.jsonl",
    _REPOSITORY + "master/nq_open/NQ-open.train.jsonl",
    records=87_925,
    instead=File("nq_open/NQ-open.train.part.jsonl", url="", records=8757),
)
TEST = File(
    "nq_open/NQ-open.dev.jsonl",
    _URL + "NQ-open.dev.jsonl",
    "f15567f38099f3615f5b8a685c0aef449c11ad90d3da3735e8d1b98115b40616",
    records=3610,
)
EFFICIENTQA = File(
    "nq_open/NQ-open.efficientqa.dev.1.1.jsonl",
    _URL + "NQ-open.efficientqa.dev.1.1.jsonl",
    "0ad45e2fa9fd32d10b3cf08c63e6d22f97ba1a0ce44ea98040f4c18bce7e268d",
    records=1800,
)


def read(questions: Text) -> Iterator[Example]:
    for number, record in questions.json_lines():
        with questions.at(f"line {number}"):
            answers = gold_answers(record["answer"])
            yield Example(
                id=questions.id_of(number),
                prompt=f"Question: {record['question'].strip()}\nAnswer:",
                target=f" {answers[0]}",
                answers=answers,
                group=record["question"],
            )


for _name, _test in (("nq_open", TEST), ("nq_open_efficientqa", EFFICIENTQA)):
    register(
        _name,
        files={"train": (TRAIN,), "test": (_test,)},
        read=read,
        metric_fns=[answer_metrics.nq_exact_match_and_f1],
    )

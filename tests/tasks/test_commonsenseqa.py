"""CommonsenseQA: the published files, the choices of equal text, answers matched back to labels."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from pause_jax.errors import UserError
from pause_jax.tasks import metrics, official
from pause_jax.tasks.commonsenseqa import postprocess, read
from pause_jax.tasks.seqio_examples import read_examples

RECORD = {
    "id": "1",
    "answerKey": "B",
    "question": {
        "stem": "Where is the cat? ",
        "choices": [
            {"label": "A", "text": "the mat"},
            {"label": "B", "text": "a hat"},
            {"label": "C", "text": "hat "},
            {"label": "D", "text": "go  home"},
            {"label": "E", "text": "cats"},
        ],
    },
}


def one(record=RECORD):
    return next(read(official.Text(Path("x/dev.jsonl"), json.dumps(record))))


def matched(text, example):
    return postprocess(text, {"answers": np.array([answer.encode() for answer in example.answers])})


def test_an_example_by_hand():
    example = one()
    assert example.prompt == "Choices: the mat, a hat, hat, go  home, cats\nQuestion: Where is the cat?\nAnswer:"
    assert example.target == " a hat" and example.options == ()  # decoded, not scored


@pytest.mark.parametrize(
    "written, labels",
    [
        ("the mat", "A"),
        (" Mat.\n", "A"),
        ("a hat", "BC"),  # equal but for the article
        ("hat", "BC"),
        ("go home", "D"),
        ("cat", ""),
        ("the mat, a hat", ""),
        ("A", ""),  # a label is no choice's text; nor is an article
        ("", ""),
    ],
)
def test_what_is_written_is_matched_back_to_labels(written, labels):
    assert matched(written, one()) == list(labels)


def test_published_counts_and_first_and_last(data_dir):
    parts = {
        split: official.examples("commonsenseqa", split, str(data_dir)) for split in ("train", "validation", "test")
    }
    assert len(parts["train"]) + len(parts["validation"]) == 9741 and len(parts["test"]) == 1221
    assert 0.04 < len(parts["validation"]) / 9741 < 0.06
    assert parts["train"][0].prompt == (
        "Choices: ignore, enforce, authoritarian, yell at, avoid\nQuestion: The sanctions against the school were a "
        "punishing blow, and they seemed to what the efforts the school had made to change?\nAnswer:"
    )
    last = parts["test"][-1]
    assert last.prompt == (
        "Choices: computer store, computer to store data, computer hard drive, cd player, usb mouse\n"
        "Question: What is another name for a disk for storing information?\nAnswer:"
    )
    assert (last.id, last.target, last.answers[0]) == ("5af7c7860e3be61d4cfd814cc109f9d9", " computer hard drive", "C")


def test_146_questions_have_two_equal_choices_and_their_answers_count_for_both(data_dir):
    every = [e for s in ("train", "validation", "test") for e in official.examples("commonsenseqa", s, str(data_dir))]
    twice = [e for e in every if len(set(e.answers[1:])) < 5]
    of_the_right_one = [e for e in twice if e.answers[1:].count(e.target.strip()) == 2]
    assert (len(twice), len(of_the_right_one)) == (146, 48)
    for example in of_the_right_one:
        labels = matched(example.target, example)
        assert len(labels) == 2 and example.answers[0] in labels


def test_the_right_text_is_right_and_every_other_is_wrong(data_dir):
    tests = official.examples("commonsenseqa", "test", str(data_dir))
    right = [e.answers[0] for e in tests]
    assert metrics.label_accuracy(right, [matched(e.target, e) for e in tests]) == {"accuracy": 100.0, "no_choice": 0.0}
    others = [next(text for text in e.answers[1:] if text != e.target.strip()) for e in tests]
    wrong = [matched(text, e) for text, e in zip(others, tests, strict=True)]
    assert metrics.label_accuracy(right, wrong) == {"accuracy": 0.0, "no_choice": 0.0}


def test_through_seqio(data_dir):
    got = read_examples("commonsenseqa", vocabulary="byte", split="test", data_dir=str(data_dir), limit=2)
    assert got.targets == ["A", "A"] and got.options == []
    assert got.references[0] == " bank" and got.postprocess("Bank", 0) == ["A"]


def without(field):
    return {key: value for key, value in RECORD.items() if key != field}


def with_choices(choices):
    return RECORD | {"question": {"stem": "Where?", "choices": choices}}


@pytest.mark.parametrize(
    "record, sentence",
    [
        (without("answerKey"), "line 1, is not as published: field 'answerKey' is missing"),  # as in the test file
        (RECORD | {"answerKey": "F"}, "the right one is 'F'"),
        (with_choices(RECORD["question"]["choices"][:4]), "the labels are A, B, C, D"),
        (with_choices([{"label": "A", "text": "x"}] * 5), "the labels are A,"),
        (with_choices([{"label": "A"}]), "field 'text' is missing"),
        (RECORD | {"question": "Where?"}, "x/dev.jsonl, line 1, is not as published"),
    ],
)
def test_a_line_that_is_not_as_published(record, sentence):
    with pytest.raises(UserError, match=sentence):
        one(record)


def test_another_count(tmp_path):
    (tmp_path / "commonsenseqa").mkdir()
    (tmp_path / "commonsenseqa/dev_rand_split.jsonl").write_text(json.dumps(RECORD) + "\n")
    with pytest.raises(UserError, match="has 1 examples, but the published file has 1,221"):
        official.examples("commonsenseqa", "test", str(tmp_path))

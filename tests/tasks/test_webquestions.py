"""WebQuestions: answers out of lisp strings; the official files, read whole; files that are not as published."""

from __future__ import annotations

import doctest
import gzip
import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pause_jax.errors import UserError
from pause_jax.tasks import official, webquestions
from pause_jax.tasks.official import Text


def lisp(*items):
    return f"(list {' '.join(f'(description {item})' for item in items)})"


def test_the_example_of_the_docstring():
    assert doctest.testmod(webquestions) == doctest.TestResults(failed=0, attempted=1)


@pytest.mark.parametrize(
    ("items", "answers"),
    [
        (['"Jamaican English"'], ["Jamaican English"]),
        (["Germany"], ["Germany"]),
        (["UTC−06:00", '"Central Time Zone"'], ["UTC−06:00", "Central Time Zone"]),
        (["http://example.org/a_(b)/"], ["http://example.org/a_(b)/"]),
        ([r'"Dwayne \"The Rock\" Johnson"', r'"a \\ b"'], ['Dwayne "The Rock" Johnson', r"a \ b"]),
        (['""The sayings of Poor Richard""', "Address"], ['"The sayings of Poor Richard"', "Address"]),  # as published
        (['"Pinocchio Medley ("Do You See?"): Theme"'], ['Pinocchio Medley ("Do You See?"): Theme']),
        (['" edge "'], [" edge "]),
    ],
)
def test_answers_by_hand(items, answers):
    assert webquestions.parse(lisp(*items)) == answers


@given(st.lists(st.text().filter(lambda text: ") (description " not in text), min_size=1, max_size=5))
def test_what_is_written_in_lisp_is_read_again(answers):
    quoted = ['"' + answer.replace("\\", "\\\\").replace('"', '\\"') + '"' for answer in answers]
    assert webquestions.parse(lisp(*quoted)) == answers


@pytest.mark.parametrize(
    "text", ["", "(list)", "(description x)", "(list (description two words))", '(list (name "x"))']
)
def test_text_that_is_no_list_of_answers(text):
    with pytest.raises(ValueError):
        webquestions.parse(text)


def test_the_official_files(data_dir):
    for split_file in (webquestions.TRAIN, webquestions.TEST):
        plain = gzip.decompress((data_dir / f"{split_file.path}.gz").read_bytes())
        assert hashlib.sha256(plain).hexdigest() == split_file.sha256
    test = official.examples("webquestions", "test", str(data_dir))
    train, held_out = (official.examples("webquestions", split, str(data_dir)) for split in ("train", "validation"))
    assert len(test) == 2032 and len(train) + len(held_out) == 3778 and 100 < len(held_out) < 300
    assert not {example.group for example in train} & {example.group for example in held_out}
    assert test[0].id == "webquestions.examples.test-1"
    assert test[0].prompt == "Question: what does jamaican people speak?\nAnswer:"
    assert test[0].answers == ("Jamaican Creole English Language", "Jamaican English")
    assert test[0].target == " Jamaican Creole English Language"
    records = json.loads(plain)
    bare = [i for i, record in enumerate(records) if '"' not in record["targetValue"]]
    assert len(bare) == 465 and all(
        lisp(*test[i].answers) == records[i]["targetValue"]
        for i in bare
        if len(set(test[i].answers)) == len(test[i].answers)
    )
    # As many descriptions as answers, repeated ones aside; no bracket or quotation mark is left over.
    for example, record in zip(test, records, strict=True):
        assert len(webquestions.parse(record["targetValue"])) == record["targetValue"].count("(description ")
        assert all(answer.count('"') % 2 == 0 and answer.strip() == answer for answer in example.answers)


@pytest.mark.parametrize(
    ("records", "sentence"),
    [
        ({"a": 1}, "test.json, at the top, is not as published: it is no list of questions"),
        (
            [{"utterance": "x", "url": "y"}],
            "test.json, question 1, is not as published: field 'targetValue' is missing",
        ),
        (
            [{"targetValue": "(list)"}],
            r"question 1, is not as published: targetValue '\(list\)' is no list of descript",
        ),
        ([{"targetValue": lisp('""')}], "question 1, is not as published: there is no answer"),
        ([{"targetValue": lisp("x")}], "question 1, is not as published: field 'utterance' is missing"),
        ([{"targetValue": None}], "question 1, is not as published: "),
        (["x"], "question 1, is not as published: "),
    ],
)
def test_files_that_are_not_as_published(tmp_path, records, sentence):
    with pytest.raises(UserError, match=sentence):
        list(webquestions.read(Text(tmp_path / "test.json", json.dumps(records))))


def test_a_broken_file(tmp_path):
    with pytest.raises(UserError, match=r"test.json is not JSON \(.*\): get the file again"):
        list(webquestions.read(Text(tmp_path / "test.json", '[{"url": ')))

"""SQuAD v1.1: the official files, read whole, and files that are not as published."""

from __future__ import annotations

import doctest
import gzip
import hashlib
import json

import pytest

from pause_jax.errors import UserError
from pause_jax.tasks import official, squad_v1
from pause_jax.tasks.official import Text


def file(tmp_path, *, version="1.1", **question):
    """A file of one question, after one that is right; fields set to None are left out."""
    right = {"id": "q1", "question": "Who?", "answers": [{"text": "Ann", "answer_start": 0}]}
    other = {key: value for key, value in (right | {"id": "q2"} | question).items() if value is not None}
    paragraphs = [{"context": "Ann.", "qas": [right]}, {"context": " Bob came. ", "qas": [other]}]
    content = {"version": version, "data": [{"title": "A_b", "paragraphs": paragraphs}]}
    return Text(tmp_path / "dev-v1.1.json", json.dumps(content))


def test_the_prompt_of_the_docstring():
    assert doctest.testmod(squad_v1) == doctest.TestResults(failed=0, attempted=1)


def test_the_official_test_file(data_dir):
    plain = gzip.decompress((data_dir / f"{squad_v1.TEST.path}.gz").read_bytes())
    assert hashlib.sha256(plain).hexdigest() == squad_v1.TEST.sha256
    examples = official.examples("squad_v1", "test", str(data_dir))
    assert len(examples) == 10_570 and len({example.group for example in examples}) == 48
    first = examples[0]
    assert first.id == "56be4db0acb8001400a502ec" and first.answers == ("Denver Broncos",)
    assert first.prompt.startswith("Title: Super Bowl 50\nContext: Super Bowl 50 was an American football game to")
    assert first.prompt.endswith("\nQuestion: Which NFL team represented the AFC at Super Bowl 50?\nAnswer:")
    assert first.target == " Denver Broncos"
    for example in examples:
        context = example.prompt.partition("\nContext: ")[2].rpartition("\nQuestion: ")[0]
        assert example.answers and all(answer in context for answer in example.answers)
    assert sum(len(example.answers) for example in examples) == len(
        {
            (question["id"], answer["text"])
            for article in json.loads(plain)["data"]
            for paragraph in article["paragraphs"]
            for question in paragraph["qas"]
            for answer in question["answers"]
        }
    )


def test_the_training_file(data_dir):
    train, held_out = (official.examples("squad_v1", split, str(data_dir)) for split in ("train", "validation"))
    assert len(train) + len(held_out) == 87_599 and len(held_out) == 4653
    titles, held_out_titles = ({example.group for example in part} for part in (train, held_out))
    assert len(titles) + len(held_out_titles) == 442 and not titles & held_out_titles
    for example in train + held_out:
        assert example.target == f" {example.answers[0]}" and example.answers[0] in example.prompt
    assert any(example.prompt.startswith("Title: Molotov–Ribbentrop Pact\n") for example in train + held_out)


def test_texts_are_as_published_to_the_last_space(tmp_path):
    answers = [{"text": " Bob "}, {"text": "Bob"}, {"text": " Bob "}]
    example = list(squad_v1.read(file(tmp_path, answers=answers, question="  Who came?\n")))[1]
    assert example.prompt == "Title: A b\nContext:  Bob came. \nQuestion: Who came?\nAnswer:"
    assert example.target == "  Bob " and example.answers == (" Bob ", "Bob")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"version": "v2.0"}, "dev-v1.1.json is of version 'v2.0': get the file of version '1.1'"),
        ({"answers": []}, r"article 1 \(A_b\), paragraph 2, is not as published: of question q2, there is no answer"),
        ({"answers": None}, r"article 1 \(A_b\), paragraph 2, is not as published: field 'answers' is missing"),
        ({"answers": [{"answer_start": 1}]}, r"paragraph 2, is not as published: field 'text' is missing"),
        ({"question": None}, r"paragraph 2, is not as published: field 'question' is missing"),
        ({"question": 7}, r"paragraph 2, is not as published: "),
        ({"id": None, "answers": []}, r"paragraph 2, is not as published: field 'id' is missing"),
    ],
)
def test_files_that_are_not_as_published(tmp_path, change, sentence):
    with pytest.raises(UserError, match=sentence):
        list(squad_v1.read(file(tmp_path, **change)))


def test_an_article_without_paragraphs(tmp_path):
    text = Text(tmp_path / "f.json", '{"version": "1.1", "data": [{"title": "x"}]}')
    with pytest.raises(UserError, match=r"f.json, article 1, is not as published: field 'paragraphs' is missing"):
        list(squad_v1.read(text))


def test_a_part_of_the_file(tmp_path):
    (tmp_path / "squad").mkdir()
    (tmp_path / squad_v1.TEST.path).write_text(file(tmp_path).text)
    with pytest.raises(UserError, match=r"dev-v1.1.json has 2 examples, but the published file has 10,570"):
        official.examples("squad_v1", "test", str(tmp_path))

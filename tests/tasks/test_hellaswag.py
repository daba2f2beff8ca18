"""HellaSwag: the published file, WikiHow's marks, and finetuning without the training file."""

from __future__ import annotations

import collections
import doctest
import json
import re
from pathlib import Path

import pytest

from pause_jax.errors import UserError
from pause_jax.tasks import hellaswag, official
from pause_jax.tasks.hellaswag import read, without_marks
from pause_jax.tasks.seqio_examples import read_examples

RECORD = {
    "activity_label": "Roof",
    "ctx_a": "A man sits.",
    "ctx_b": "the O'Neil",
    "label": 2,
    "source_id": "video",
    "endings": ["jumps.", "[substeps] Sings. [title] Rest", " eats. ", "x"],
}


def one(record=RECORD):
    return next(read(official.Text(Path("x/hellaswag_val.jsonl"), json.dumps(record))))


def test_an_example_by_hand():
    assert one() == official.Example(
        id="hellaswag_val-1",
        prompt="Roof: A man sits. The O'Neil",
        target=" eats.",
        answers=("eats.",),
        group="video",
        options=(" jumps.", " Sings.. Rest", " eats.", " x"),
        label=2,
    )
    assert one(RECORD | {"ctx_a": "[header] How to sit [step] Sit.", "ctx_b": ""}).prompt == "Roof: How to sit Sit."


@pytest.mark.parametrize(
    "text, cleaned",
    [
        ("[header] How to tell [title] Look. [step] Then", "How to tell. Look. Then"),
        ("[title] Earn. [step] Fashion", "Earn. Fashion"),
        ("search. [substeps] [substeps] Do", "search. Do"),
        ("events in [insert name of town].", "events in [insert name of town]."),
        ("two  spaces stay", "two  spaces stay"),
        ("a title at the end [title]", "a title at the end."),
    ],
)
def test_marks(text, cleaned):
    assert without_marks(text) == cleaned


def test_example_of_the_docstring():
    result = doctest.testmod(hellaswag)
    assert result.attempted == 1 and result.failed == 0


def test_published_counts_and_first_and_last(data_dir):
    examples = official.examples("hellaswag", "test", str(data_dir))
    assert len(examples) == 10_042
    assert examples[0].prompt == "Roof shingle removal: A man is sitting on a roof. He"
    assert examples[0].options == (
        " is using wrap to wrap a pair of skis.",
        " is ripping level tiles off.",
        " is holding a rubik's cube.",
        " starts pulling up roofing on a roof.",
    )
    assert examples[0].label == 3 and examples[-1].label == 2
    assert examples[-1].prompt.startswith(
        "Family Life: How to tell if your teen is being abused. Pay attention to your teen dressing inappropriately. If"
    )
    assert examples[-1].target == (
        " For instance, your teen may try to hide the signs of abuse (e.g. scratches, burns, bruises, bite marks, "
        "broken bones, etc."
    )
    assert collections.Counter(e.label for e in examples) == {0: 2515, 1: 2485, 2: 2584, 3: 2458}


def test_no_mark_is_left_and_every_ending_has_text(data_dir):
    examples = official.examples("hellaswag", "test", str(data_dir))
    for example in examples:
        for text in (example.prompt, *example.options):
            assert not re.search(r"\[(header|title|step|substeps)\]", text)
        assert all(option == f" {option.strip()}" != " " for option in example.options)
        assert len(set(example.options)) == 4 and example.prompt == example.prompt.strip()
    wikihow = [e for e in examples if e.group.startswith("wikihow")]
    assert len(wikihow) == 6799  # no second part of the context, and no space in its place


def test_finetuning_names_the_file_that_is_not_at_hand(data_dir):
    sentence = (
        r"finetuning on it needs .*hellaswag/hellaswag_train\.jsonl \(or \.gz\), which is not there; .*"
        r"--download=hellaswag .* from https://raw\.githubusercontent\.com/rowanz/hellaswag"
    )
    for split in ("train", "validation"):
        with pytest.raises(UserError, match=sentence):
            official.examples("hellaswag", split, str(data_dir))


def test_through_seqio(data_dir):
    got = read_examples("hellaswag", vocabulary="byte", split="test", data_dir=str(data_dir), limit=2)
    assert got.labels == [3, 3] and got.texts[0].endswith(" He")
    assert [len(mine) for mine in got.options] == [4, 4] == [len(mine) for mine in got.option_texts]
    assert len(got.options[0][1]) == len(" is ripping level tiles off.")  # no EOS


def without(field):
    return {key: value for key, value in RECORD.items() if key != field}


@pytest.mark.parametrize(
    "record, sentence",
    [
        (without("label"), r"x/hellaswag_val\.jsonl, line 1, is not as published: field 'label' is missing"),
        (without("ctx_b"), "field 'ctx_b' is missing"),
        (RECORD | {"label": 4}, "not label 4 and 4 endings"),
        (RECORD | {"label": -1}, "not label -1"),
        (RECORD | {"label": ""}, "line 1, is not as published"),  # as in the test file
        (RECORD | {"endings": ["a", "b", "c"]}, "not label 2 and 3 endings"),
        (RECORD | {"endings": ["a", "b", "c", "[step]"]}, "four endings with text"),
    ],
)
def test_a_line_that_is_not_as_published(record, sentence):
    with pytest.raises(UserError, match=sentence):
        one(record)


def test_another_count(tmp_path):
    (tmp_path / "hellaswag").mkdir()
    (tmp_path / "hellaswag/hellaswag_train.jsonl").write_text(json.dumps(RECORD) + "\n")
    with pytest.raises(UserError, match="has 1 examples, but the published file has 39,905"):
        official.examples("hellaswag", "train", str(tmp_path))

"""PIQA: the published files, goals and labels line by line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pause_jax.errors import UserError
from pause_jax.tasks import official
from pause_jax.tasks.piqa import read
from pause_jax.tasks.seqio_examples import read_examples
from pause_jax.tokenizers import vocabularies

RECORD = {"goal": "to drink slowly? ", "sol1": "gulp", "sol2": " sip  it "}


def of(records, labels):
    text = "".join(json.dumps(record) + "\n" for record in records)
    return list(read(official.Text(Path("x/valid.jsonl"), text), official.Text(Path("x/valid-labels.lst"), labels)))


def test_an_example_by_hand():
    left, right = of([RECORD, RECORD], "0\n1\n")
    assert right == official.Example(
        id="valid-2",
        prompt="Question: to drink slowly?\nAnswer:",
        target=" sip  it",
        answers=("sip  it",),
        group="to drink slowly?",
        options=(" gulp", " sip  it"),
        label=1,
    )
    assert (left.label, left.target, left.options) == (0, " gulp", right.options)


def test_published_counts_and_first_and_last(data_dir):
    parts = {split: official.examples("piqa", split, str(data_dir)) for split in ("train", "validation", "test")}
    assert len(parts["train"]) + len(parts["validation"]) == 16_113 and len(parts["test"]) == 1838
    first, last = parts["train"][0], parts["test"][-1]
    assert first.prompt == "Question: When boiling butter, when it's ready, you can\nAnswer:"
    assert (first.options, first.label) == ((" Pour it onto a plate", " Pour it into a jar"), 1)
    assert last.prompt == "Question: Where can I buy a tennis ball\nAnswer:"
    assert (last.target, last.label) == (" You can purchase a tennis ball at any sports store", 0)
    assert sum(e.label for e in parts["test"]) == 928
    assert sum(e.label for split in ("train", "validation") for e in parts[split]) == 8060


def test_a_goal_is_in_one_part_of_the_training_data(data_dir):
    train, held_out = (
        {e.group for e in official.examples("piqa", split, str(data_dir))} for split in ("train", "validation")
    )
    assert not train & held_out and 14_800 < len(train | held_out) < 14_900
    again = [e for e in official.examples("piqa", "test", str(data_dir)) if e.group in train | held_out]
    assert len(again) == 180  # as the docstring says


def test_spaces_stand_before_a_solution_only(data_dir):
    for example in official.examples("piqa", "test", str(data_dir)):
        assert example.prompt.endswith("\nAnswer:") and example.target == example.options[example.label]
        assert all(option == f" {option.strip()}" != " " for option in example.options)


def test_through_seqio(data_dir):
    got = read_examples("piqa", vocabulary="byte", split="test", data_dir=str(data_dir), limit=3)
    words = vocabularies.load("byte")
    assert got.labels == [0, 1, 1] and [len(texts) for texts in got.option_texts] == [2, 2, 2]
    assert [[words.decode(ids) for ids in mine] for mine in got.options] == got.option_texts  # and no EOS
    assert [mine[label] for mine, label in zip(got.option_texts, got.labels, strict=True)] == got.references
    assert [metric.__name__ for metric in got.score_metrics] == ["option_accuracy", "option_accuracy_per_character"]
    assert got.predict_metrics == []


@pytest.mark.parametrize("labels", ["0\n", "0\n1\n0\n", ""])
def test_labels_that_are_not_aligned(labels):
    lines = labels.count("\n")
    with pytest.raises(UserError, match=rf"valid\.jsonl has 2 lines, but x/valid-labels\.lst has {lines}: they belong"):
        of([RECORD, RECORD], labels)


@pytest.mark.parametrize(
    "record, label, sentence",
    [
        ({"goal": "a", "sol1": "b"}, "0", r"x/valid\.jsonl, line 2, is not as published: field 'sol2' is missing"),
        (RECORD | {"sol1": " "}, "0", r"x/valid\.jsonl, line 2, .* the goal or a solution is empty"),
        (RECORD | {"goal": ""}, "0", "the goal or a solution is empty"),
        (RECORD | {"goal": None}, "0", "line 2, is not as published"),
        (RECORD, "2", r"x/valid-labels\.lst, line 2, is not as published: the label is '2', not 0 or 1"),
        (RECORD, "", "the label is '', not 0 or 1"),
    ],
)
def test_a_line_that_is_not_as_published(record, label, sentence):
    with pytest.raises(UserError, match=sentence):
        of([RECORD, record], f"0\n{label}\n")


def test_another_count_and_no_labels(tmp_path):
    (tmp_path / "piqa").mkdir()
    (tmp_path / "piqa/valid.jsonl").write_text(json.dumps(RECORD) + "\n")
    with pytest.raises(UserError, match=r"evaluating it needs .*valid-labels\.lst"):
        official.examples("piqa", "test", str(tmp_path))
    (tmp_path / "piqa/valid-labels.lst").write_text("1\n")
    with pytest.raises(UserError, match=r"valid\.jsonl has 1 examples, but the published file has 1,838"):
        official.examples("piqa", "test", str(tmp_path))

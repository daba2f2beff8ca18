"""GSM8K: the published files, solutions without marks, and the number that counts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pause_jax.errors import UserError
from pause_jax.tasks import official
from pause_jax.tasks.answer_metrics import final_number, rouge1
from pause_jax.tasks.gsm8k import read
from pause_jax.tasks.seqio_examples import read_examples


def one(answer, question=" How many? "):
    text = json.dumps({"question": question, "answer": answer})
    return next(read(official.Text(Path("x/test.jsonl.gz"), text)))


def right(answer, written):
    return final_number([{"answers": [answer]}], [written])["accuracy"] == 100.0


def test_an_example_by_hand():
    assert one("He has 2*3=<<2*3=6>>6 eggs, 1 <<6-5=1>>more.\n#### 6") == official.Example(
        id="test-1",
        prompt="Question: How many?\nAnswer:",
        target=" He has 2*3=6 eggs, 1 more.\n#### 6",
        answers=("6",),
        group=" How many? ",
    )


def test_published_counts_and_first_and_last(data_dir):
    parts = {split: official.examples("gsm8k", split, str(data_dir)) for split in ("train", "validation", "test")}
    assert len(parts["train"]) + len(parts["validation"]) == 7473 and len(parts["test"]) == 1319
    first, last = parts["train"][0], parts["test"][-1]
    assert first.prompt.startswith("Question: Natalia sold clips to 48 of her friends in April, and")
    assert first.target == (
        " Natalia sold 48/2 = 24 clips in May.\nNatalia sold 48+24 = 72 clips altogether in April and May.\n#### 72"
    )
    assert (first.answers, last.id, last.answers) == (("72",), "test-1319", ("14",))


def test_every_record_has_a_number_and_no_marks_and_its_own_solution_is_right(data_dir):
    every = [e for s in ("train", "validation", "test") for e in official.examples("gsm8k", s, str(data_dir))]
    assert len(every) == 8792 and not any("<<" in e.target or ">>" in e.target for e in every)
    assert sum("," in e.answers[0] for e in every) == 93
    assert sorted(e.answers[0] for e in every if e.answers[0][0] == "-") == ["-10", "-12", "-3", "-47", "-7"]
    targets = [{"answers": list(e.answers)} for e in every]
    assert final_number(targets, [e.target for e in every]) == {"accuracy": 100.0}
    plain = [f"#### {e.answers[0].replace(',', '')}" for e in every]
    assert final_number(targets, plain) == {"accuracy": 100.0}
    assert final_number(targets, [text + "1" for text in plain]) == {"accuracy": 0.0}


@pytest.mark.parametrize(
    "answer, written, wanted",
    [
        ("1,050", "so\n#### 1050", True),
        ("1050", "#### 1,050", True),
        ("-3", "#### -3", True),
        ("-3", "#### 3", False),
        ("72", "#### 72 clips", True),
        ("72", "#### 72\n#### 73", True),  # the first
        ("72", "#### 73\n#### 72", False),
        ("72", "72", False),
        ("72", "####72", False),
        ("72", "#### $72", False),  # as the official script has it; so are the next two
        ("72", "#### 72.", False),
        ("72", "#### 72.0", False),
        ("72", "", False),
    ],
)
def test_the_number_that_counts(answer, written, wanted):
    assert right(answer, written) == wanted


@given(st.integers(-(10**9), 10**9), st.text(st.characters(exclude_characters="#")))
def test_commas_and_what_is_written_before_do_not_count(number, text):
    assert right(f"{number:,}", f"{text}#### {number}") and right(str(number), f"{text}#### {number:,}")
    assert not right(str(number + 1), f"{text}#### {number}")


def test_rouge1_by_hand():
    """Of "a b c d", "a b x" has 2 words: precision 2/3, recall 1/2, F 4/7. Case and punctuation do not count."""
    targets = [{"solution": "a b c d"}, {"solution": "He has 2 eggs.\n#### 2"}, {"solution": "a"}]
    assert rouge1(targets[:1], ["a b x"]) == {"rouge1": pytest.approx(400 / 7)}
    assert rouge1(targets[1:], ["he HAS 2 eggs 2", ""]) == {"rouge1": pytest.approx(50)}


def test_through_seqio(data_dir):
    got = read_examples("gsm8k", vocabulary="byte", split="test", data_dir=str(data_dir), limit=2)
    assert [target["answers"] for target in got.targets] == [["18"], ["3"]]
    assert got.targets[0]["solution"] == got.references[0].strip()
    said = [got.postprocess(got.references[0], 0), got.postprocess("#### 4", 1)]
    assert got.predict_metrics[0](got.targets, said) == {"accuracy": 50.0}
    assert got.predict_metrics[1](got.targets, got.references) == {"rouge1": pytest.approx(100)}


@pytest.mark.parametrize("answer", ["#### ", "####", "#### many", "He has 72.", "72", "", "#### 7\nor so"])
def test_a_solution_without_a_number(answer):
    with pytest.raises(UserError, match="line 1, is not as published: the answer has no number behind ####"):
        one(answer)


@pytest.mark.parametrize(
    "text, sentence",
    [
        ('{"question": "a", "answer": "#### 1"}\n{"question"\n', r"x/test\.jsonl, line 2, is not JSON"),
        ('{"question": "a"}\n', "line 1, is not as published: field 'answer' is missing"),
        ('{"question": null, "answer": "#### 1"}\n', "line 1, is not as published"),
        ("[1]\n", "line 1, is no JSON object"),
    ],
)
def test_a_line_that_is_not_as_published(text, sentence):
    with pytest.raises(UserError, match=sentence):
        list(read(official.Text(Path("x/test.jsonl"), text)))


def test_lines_end_at_newlines_only():
    text = '{"question": "a\u2028b", "answer": "c\x85 #### 1"}\n{"question": "d", "answer": "#### 2"}\n'
    assert [e.answers for e in read(official.Text(Path("x/test.jsonl"), text))] == [("1",), ("2",)]


def test_another_count(tmp_path):
    (tmp_path / "gsm8k").mkdir()
    (tmp_path / "gsm8k/test.jsonl").write_text('{"question": "a", "answer": "#### 1"}\n')
    with pytest.raises(UserError, match="has 1 examples, but the published file has 1,319"):
        official.examples("gsm8k", "test", str(tmp_path))

"""LAMBADA: both texts, their last words, and what counts as the word."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pause_jax.errors import UserError
from pause_jax.tasks import official
from pause_jax.tasks.lambada import postprocess, read
from pause_jax.tasks.seqio_examples import read_examples

SPACE = st.text(" \t\u2028\xa0", min_size=1)
WORD = st.text(st.characters(exclude_categories=["Z", "C"]), min_size=1)


def of(text, name="lambada_test_plain_text.txt"):
    return list(read(official.Text(Path("x") / name, text)))


def test_the_last_word_of_each_line():
    first, second = of("he said no\n`` a \xa0 b 's\n")
    assert (first.id, first.prompt, first.target) == ("lambada_test_plain_text-1", "he said", " no")
    assert (second.id, second.prompt, second.target) == ("lambada_test_plain_text-2", "`` a \xa0 b", " 's")


def test_a_line_break_before_the_last_word_is_no_part_of_the_prompt():
    (example,) = of('{"text": "a power \\n\\n\\"Nadia"}', "lambada_test.jsonl.gz")
    assert (example.prompt, example.target, example.answers) == ("a power", ' "Nadia', ('"Nadia',))


@given(WORD, st.lists(st.tuples(SPACE, WORD), min_size=1))
def test_prompt_and_target_are_the_passage(first, rest):
    passage = first + "".join(space + word for space, word in rest)
    (example,) = of(passage + "\n")
    assert example.target == f" {rest[-1][1]}"
    assert example.prompt + rest[-1][0] + rest[-1][1] == passage


def test_published_counts_and_first_and_last(data_dir):
    for name in ("lambada", "lambada_openai"):  # trained on the same
        train, held_out = (official.examples(name, split, str(data_dir)) for split in ("train", "validation"))
        assert len(train) + len(held_out) == 4869 and train[0].target == " cake"
        assert train[0].prompt.startswith("her pay for the evening was") and train[-1].target == " too"
    original = official.examples("lambada", "test", str(data_dir))
    openai = official.examples("lambada_openai", "test", str(data_dir))
    assert len(original) == len(openai) == 5153
    assert original[0].prompt.endswith("i do n't care about") and openai[0].prompt.endswith("I don't care about")
    assert original[0].target == openai[0].target == " signs"
    assert (original[-1].target, openai[-1].target) == (" grandmother", " Grandmother")


def test_both_texts_are_of_the_same_passages(data_dir):
    """Their last words are equal but for case and quotes, and for two that the second text has glued together."""
    original, openai = (official.examples(name, "test", str(data_dir)) for name in ("lambada", "lambada_openai"))
    plain = [example.answers[0].lower().lstrip("\"'“‘") for example in openai]
    assert [b for a, b in zip(original, plain, strict=True) if a.answers[0] != b] == [
        "thought...tess",
        "hightowers'money",
    ]


def test_traps_of_the_openai_text(data_dir):
    examples = official.examples("lambada_openai", "test", str(data_dir))
    breaks = [e for e in examples if "\n" in e.group[len(e.prompt) : -len(e.answers[0])]]
    quoted = [e for e in examples if e.answers[0][0] in "\"'“‘"]
    assert (len(breaks), len(quoted)) == (7, 36)
    assert {e.target for e in breaks} >= {" Power", ' "Ridley', " recorder"}


def test_each_published_word_written_is_right_and_none_ends_in_punctuation(data_dir):
    for name in ("lambada", "lambada_openai"):
        for example in official.examples(name, "test", str(data_dir)):
            assert example.target == f" {example.answers[0]}" and example.prompt == example.prompt.rstrip()
            assert postprocess(example.target, {}) == example.answers[0] == postprocess(example.target, {}, True)


@pytest.mark.parametrize(
    "written, word",
    [
        (" signs", "signs"),
        (" signs.", "signs"),
        ("signs, he said", "signs"),
        ('\n\nsigns?"', "signs"),
        ("Signs", "Signs"),  # case counts
        ('"Nadia', '"Nadia'),  # and an opening quote
        ("Hightowers'money", "Hightowers'money"),
        ("...", ""),
        ("", ""),
    ],
)
def test_the_word_of_an_answer(written, word):
    assert postprocess(written, {}) == word


def test_through_seqio(data_dir):
    got = read_examples("lambada_openai", vocabulary="byte", split="test", data_dir=str(data_dir), limit=2)
    assert got.targets[0] == "signs" and got.references[0] == " signs"
    said = [got.postprocess(text, i) for i, text in enumerate([" signs . and so on", " sign"])]
    assert got.predict_metrics[0](got.targets, said) == {"accuracy": 50.0}


def test_the_names_of_the_archive_are_read_first(data_dir, tmp_path):
    published, ours = tmp_path / "lambada/lambada_test_plain_text.txt.gz", tmp_path / "lambada"
    ours.mkdir()
    published.symlink_to(data_dir / "lambada/lambada_test_plain_text.original.txt.gz")
    (ours / "lambada_test_plain_text.original.txt").write_text("not read\n")
    assert len(official.examples("lambada", "test", str(tmp_path))) == 5153


@pytest.mark.parametrize(
    "text, name, sentence",
    [
        ("a b\nword\n", "x.txt", "x/x.txt, line 2, is not as published: the passage has fewer than two words"),
        ("a b\n\nc d\n", "x.txt", "line 2, .* fewer than two words"),
        ('{"text": "a b"}\n{"text"', "x.jsonl", "x/x.jsonl, line 2, is not JSON"),
        ('{"txt": "a b"}\n', "x.jsonl", "line 1, .* field 'text' is missing"),
        ('{"text": 3}\n', "x.jsonl", "line 1, is not as published"),
    ],
)
def test_a_line_that_is_not_as_published(text, name, sentence):
    with pytest.raises(UserError, match=sentence):
        of(text, name)


def test_another_count_and_no_file(tmp_path):
    with pytest.raises(UserError, match=r"lambada_test\.jsonl \(or \.gz\), which is not there; .*lambada_openai"):
        official.examples("lambada_openai", "test", str(tmp_path))
    (tmp_path / "lambada").mkdir()
    (tmp_path / "lambada/lambada_development_plain_text.original.txt").write_text("a b\n")
    with pytest.raises(UserError, match=r"original\.txt has 1 examples, but the published file has 4,869"):
        official.examples("lambada", "train", str(tmp_path))

"""Training and validation parts."""

from __future__ import annotations

import doctest

import pytest

from pause_jax.data import splits
from pause_jax.data.documents import Document
from pause_jax.errors import UserError


def documents_named(numbers, text=b"text"):
    return [Document(f"a.jsonl:{number}", b"%s %d" % (text, number)) for number in numbers]


def test_worked_example():
    assert doctest.testmod(splits).failed == 0


def test_one_document_in_twenty_is_validation():
    parts = splits.split_documents(documents_named(range(10_000)), corpus="c")
    assert len(parts["train"]) + len(parts["validation"]) == 10_000
    assert 400 < len(parts["validation"]) < 600  # 500 expected, standard deviation 22


def test_split_is_by_name_alone():
    # Golden: CRC-32 is fixed for ever, so these documents are validation on every machine.
    parts = splits.split_documents(documents_named(range(100)), corpus="c")
    assert parts["validation"] == [b"text %d" % number for number in VALIDATION_NUMBERS]
    fewer = splits.split_documents(documents_named(range(50, 100)), corpus="c")
    assert fewer["validation"] == [b"text %d" % number for number in VALIDATION_NUMBERS if number >= 50]


VALIDATION_NUMBERS = [44, 52, 90, 92]


def test_few_documents_give_their_tails():
    texts = [b"line\n" * 400, b"word " * 400, b"x" * 2000]
    parts = splits.split_documents([Document(str(i), text) for i, text in enumerate(texts)], corpus="c")
    assert [head + tail for head, tail in zip(parts["train"], parts["validation"], strict=True)] == texts
    assert parts["validation"] == [b"line\n" * 20, b"word " * 20, b"x" * 100]


def test_where_the_hash_hits_nothing_tails_are_taken():
    unhit = [number for number in range(100) if number not in VALIDATION_NUMBERS][:30]
    parts = splits.split_documents(documents_named(unhit, text=b"x" * 200), corpus="c")
    assert len(parts["train"]) == len(parts["validation"]) == 30


def test_tail_starts_after_a_newline_and_never_within_a_character():
    head, tail = splits.cut_tail(b"a" * 9450 + b"\n" + b"b c" * 30 + b"d" * 459)
    assert head.endswith(b"a\n") and tail.startswith(b"b")
    for length in range(300, 340):
        head, tail = splits.cut_tail("é".encode() * length)
        assert head.decode() + tail.decode() == "é" * length and tail


def test_nothing_to_split():
    with pytest.raises(UserError, match="the corpus holds no text: every document is blank"):
        splits.split_documents([], corpus="the corpus")
    with pytest.raises(UserError, match="the corpus is too small to be split"):
        splits.split_documents([Document("a", b"tiny")], corpus="the corpus")

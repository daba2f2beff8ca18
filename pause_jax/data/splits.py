"""Training and validation parts of a corpus: the same on every machine, and stable when documents are added."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping
from typing import Literal

from pause_jax.data.documents import Document
from pause_jax.errors import UserError

_ONE_IN = 20  # documents go to validation: 5 %
FEW = 20  # documents: below this, each one gives its tail instead

Rule = Literal["names", "tails", "whole"]  # which part of a document is in a split: see `part`


def split_documents(documents: Iterable[Document], *, corpus: str) -> Mapping[str, list[bytes]]:
    """Texts of the splits "train" and "validation", in order, as `choose_rule` and `part` have it.

    Raises:
      UserError: a split would be empty; `corpus` names the corpus.
    """
    documents = list(documents)
    if not documents:
        raise UserError(f"{corpus} holds no text: every document is blank")
    rule = choose_rule(len(documents), sum(is_validation(document.name) for document in documents))
    texts = {
        split: [text for document in documents if (text := part(document, split, rule))]
        for split in ("train", "validation")
    }
    if not all(texts.values()):
        raise UserError(f"{corpus} is too small to be split into training and validation text: add text")
    return texts


def choose_rule(documents: int, hit: int) -> Rule:
    """How a corpus of so many documents is split, of which `is_validation` hits so many.

    A document is in validation where the CRC-32 of its name says so, for about 1 in 20. Of fewer than 20 documents (one
    big file, say), or where none was hit, the last 5 % of each one are taken instead.
    """
    return "tails" if documents < FEW or not hit else "names"


def part(document: Document, split: str, rule: Rule) -> bytes:
    """What of a document is in "train" or "validation"; of a corpus that is a split of its own, all ("whole")."""
    if rule == "tails":
        return cut_tail(document.text)[split == "validation"]
    return document.text if may_be_in(document.name, split, rule) else b""


def may_be_in(name: str, split: str, rule: Rule) -> bool:
    """Whether a split has text of a document of this name."""
    return rule != "names" or is_validation(name) == (split == "validation")


def cut_tail(text: bytes) -> tuple[bytes, bytes]:
    """UTF-8 text without its last 5 %, and these: cut after a newline or else a space, if one is within 1 % before.

    >>> cut_tail(b"x" * 90 + b" now " + b"y" * 5)[1]
    b'yyyyy'
    """
    cut = len(text) - len(text) // _ONE_IN
    for separator in (b"\n", b" "):
        found = text.rfind(separator, cut - len(text) // 100, cut)
        if found >= 0:
            cut = found + 1
            break
    while cut < len(text) and text[cut] & 0xC0 == 0x80:  # not within a character
        cut += 1
    return text[:cut], text[cut:]


def is_validation(name: str) -> bool:
    """Whether a document of this name is held out."""
    return zlib.crc32(name.encode(errors="surrogateescape")) % _ONE_IN == 0  # a file's name need not be UTF-8

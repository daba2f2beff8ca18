"""Training and validation parts of a corpus: the same on every machine, and stable when documents are added."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping

from pause_jax.data.documents import Document
from pause_jax.errors import UserError

_ONE_IN = 20  # documents go to validation: 5 %
_FEW = 20  # documents: below this, each one gives its tail instead


def split_documents(documents: Iterable[Document], *, corpus: str) -> Mapping[str, list[bytes]]:
    """Texts of the splits "train" and "validation", in order.

    A document is in validation where the CRC-32 of its name says so, for about 1 in 20. Of fewer than 20 documents (one
    big file, say), or where none was hit, the last 5 % of each one are taken instead.

    Raises:
      UserError: a split would be empty; `corpus` names the corpus.
    """
    documents = list(documents)
    if not documents:
        raise UserError(f"{corpus} holds no text: every document is blank")
    train = [document.text for document in documents if not _is_validation(document)]
    validation = [document.text for document in documents if _is_validation(document)]
    if len(documents) < _FEW or not validation:
        heads_and_tails = [cut_tail(document.text) for document in documents]
        train = [head for head, _ in heads_and_tails if head]
        validation = [tail for _, tail in heads_and_tails if tail]
    if not train or not validation:
        raise UserError(f"{corpus} is too small to be split into training and validation text: add text")
    return {"train": train, "validation": validation}


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


def _is_validation(document: Document) -> bool:
    return zlib.crc32(document.name.encode()) % _ONE_IN == 0

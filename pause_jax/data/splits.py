"""How a corpus is cut: into training and validation text, and into ranges, pieces of work of about the same size.

Both are the same on every machine. Splits are stable when documents are added; ranges depend on the files alone, not on
who reads them, nor on how many do.
"""

from __future__ import annotations

import dataclasses
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal

from pause_jax.config import DataConfig
from pause_jax.data import documents
from pause_jax.data.documents import BadText, Document, Piece
from pause_jax.errors import UserError

RANGE_BYTES = 64 * 2**20  # of text and its JSON: a shard of about 32 MB, a quarter of a minute's work
SPLITS = ("train", "validation")
_ONE_IN = 20  # documents go to validation: 5 %
FEW = 20  # documents: below this, each one gives its tail instead

Rule = Literal["names", "tails", "whole"]  # which part of a document is in a split: see `part`


def split_documents(found: Iterable[Document], *, corpus: str) -> Mapping[str, list[bytes]]:
    """Texts of the splits "train" and "validation", in order, cut as `choose_rule` and `part` say.

    Raises:
      UserError: a split would be empty; `corpus` names the corpus.
    """
    found = list(found)
    if not found:
        raise UserError(f"{corpus} holds no text: every document is blank")
    rule = choose_rule(len(found), sum(is_validation(document.name) for document in found))
    texts = {
        split: [text for document in found if (text := part(document, split, rule))]
        for split in ("train", "validation")
    }
    if not all(texts.values()):
        raise UserError(f"{corpus} is too small to be split into training and validation text: add text")
    return texts


def choose_rule(count: int, hit: int) -> Rule:
    """How a corpus of `count` documents is split, of which `hit` are in validation by `is_validation`.

    A document is in validation where the CRC-32 of its name says so, for about 1 in 20. Of fewer than 20 documents (one
    big file, say), or where none was hit, the last 5 % of each one are taken instead.
    """
    return "tails" if count < FEW or not hit else "names"


def part(document: Document, split: str, rule: Rule) -> bytes:
    """The part of a document that is in a split; all of it where the rule is "whole": files given for each split."""
    if rule == "tails":
        return cut_tail(document.text)[split == "validation"]
    return document.text if may_be_in(document.name, split, rule) else b""


def may_be_in(name: str, split: str, rule: Rule) -> bool:
    """Whether a split has text of a document of this name."""
    return rule != "names" or is_validation(name) == (split == "validation")


def cut_tail(text: bytes) -> tuple[bytes, bytes]:
    """UTF-8 text without its last 5 %, and that rest: cut after a newline or else a space, if one is within 1 % before.

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


# --- Ranges of files


@dataclasses.dataclass(frozen=True)
class Scan:
    """What a look through one file found."""

    pieces: Sequence[tuple[Piece, int]]  # each with its size in bytes, unzipped
    documents: int  # with text; counted until the rule of the split is clear
    hit: int  # how many of them `is_validation` holds out
    bad: str = ""  # what is wrong with the first document that was left out for it; "": none was


@dataclasses.dataclass(frozen=True)
class FilePlan:
    """The ranges of a corpus of files and how its documents are split."""

    ranges: Mapping[str, Sequence[Sequence[Piece]]]  # of each split
    rule: Rule

    def to_json(self) -> dict[str, Any]:
        """Plain lists, ready for JSON."""
        return {"rule": self.rule, "ranges": self.ranges}

    @staticmethod
    def from_json(content: Mapping[str, Any]) -> FilePlan:
        ranges = {
            split: [[Piece(*piece) for piece in pieces] for pieces in of_split]
            for split, of_split in content["ranges"].items()
        }
        return FilePlan(ranges, content["rule"])


def plan_files(data: DataConfig, scans: Mapping[Piece, Scan] | None = None, *, skip_bad: bool = False) -> FilePlan:
    """The plan of `data.files` and `data.validation_files`; scans all files that `scans` does not have.

    Raises:
      UserError: see `documents.read_files`; or no document has text.
    """
    scans = dict(scans or {})
    ranges: dict[str, Sequence[Sequence[Piece]]] = {}
    for field, files in files_of(data).items():
        scans |= {file: scan_file(file, data.text_field, skip_bad=skip_bad) for file in files if file not in scans}
        if not any(scans[file].documents for file in files):
            bad = [scans[file].bad for file in files if scans[file].bad]
            reason = (
                f"each document is blank or was left out, the first for this: {bad[0]}"
                if bad
                else "every document is blank"
            )
            raise UserError(f"config.data.{field} = {getattr(data, field)!r} holds no text: {reason}")
        ranges["validation" if field == "validation_files" else "train"] = group(scans[file] for file in files)
    if data.validation_files:
        return FilePlan(ranges, "whole")
    found = list(scans.values())
    rule = choose_rule(sum(scan.documents for scan in found), sum(scan.hit for scan in found))
    return FilePlan({split: ranges["train"] for split in SPLITS}, rule)


def files_of(data: DataConfig) -> dict[str, list[Piece]]:
    """The files of each glob in the config, by its field. Raises UserError as `documents.list_files`."""
    fields = ["files", "validation_files"] if data.validation_files else ["files"]
    return {field: documents.list_files(getattr(data, field), field=field) for field in fields}


def scan_file(file: Piece, text_field: str, *, skip_bad: bool = False) -> Scan:
    """Cut a file at the first document's start after each `RANGE_BYTES`, and count its documents.

    Only the first lines are parsed, until enough is known to choose the rule of the split: the rest is read at the
    speed of the disk, or of unzipping.
    """
    bad: list[BadText] = []  # only the first is used here; `corpora.FileSource` counts them
    on_bad = bad.append if skip_bad else documents.stop_at
    if documents.is_text_file(file.path):
        found = list(documents.read_piece(file, text_field, on_bad=on_bad))
        texts = [document for document in found if document.text.strip()]
        hit = sum(is_validation(document.name) for document in texts)
        return Scan([(file, sum(len(document.text) for document in found))], len(texts), hit, _first(bad))
    pieces, count, hit = [], 0, 0
    start, stop, first_line = 0, 0, 1
    for number, (name, offset, line) in enumerate(documents.lines_of(file), start=1):
        if offset - start >= RANGE_BYTES:
            pieces.append((file._replace(start=start, stop=offset, line=first_line), offset - start))
            start, first_line = offset, number
        stop = offset + len(line)
        if (count < FEW or not hit) and _has_text(file, name, offset, line, text_field, on_bad):
            count, hit = count + 1, hit + is_validation(name)
    pieces.append((file._replace(start=start, stop=stop, line=first_line), stop - start))
    return Scan(pieces, count, hit, _first(bad))


def group(scans: Iterable[Scan]) -> list[list[Piece]]:
    """Ranges of neighbouring pieces, up to `RANGE_BYTES` together."""
    ranges: list[list[Piece]] = []
    room = 0
    for scan in scans:
        for piece, size in scan.pieces:
            if size > room:
                ranges.append([])
                room = RANGE_BYTES
            ranges[-1].append(piece)
            room -= size
    return ranges


def _has_text(
    file: Piece, name: str, offset: int, line: bytes, text_field: str, on_bad: Callable[[BadText], None]
) -> bool:
    try:
        document = documents.read_line(file.path, name, line, offset, text_field)
    except BadText as error:
        on_bad(error)
        return False
    return document is not None and bool(document.text.strip())


def _first(bad: Sequence[BadText]) -> str:
    return str(bad[0]) if bad else ""

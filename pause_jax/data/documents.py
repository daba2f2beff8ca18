"""Documents: the user's text files and the standard library's sources, read and validated in plain Python.

Everything that can be wrong with a text is found here, before tf.data, which would wrap our sentences in its own.
"""

from __future__ import annotations

import codecs
import dataclasses
import functools
import glob
import gzip
import json
import os
import pathlib
import sysconfig
import zlib
from collections.abc import Callable, Iterator
from typing import NamedTuple

from pause_jax.errors import UserError
from pause_jax.system import paths

_TEXT_SUFFIXES = (".txt", ".txt.gz")
_JSON_SUFFIXES = (".jsonl", ".jsonl.gz", ".json", ".json.gz")  # the last as C4 is published
_NOT_LIBRARY = {"site-packages", "dist-packages", "test", "tests", "idle_test", "__pycache__"}


@dataclasses.dataclass(frozen=True)
class Document:
    """One document of a corpus."""

    name: str  # its file, relative to the corpus, and for JSON lines the line: the same wherever the corpus lies
    text: bytes  # valid UTF-8, not blank


class Piece(NamedTuple):
    """Whole documents of one file: a text file, or lines of a JSON-lines file."""

    path: str
    name: str  # relative to the corpus
    start: int = 0  # bytes of text, unzipped
    stop: int | None = None  # None: to the end
    line: int = 1  # number of the first line


class BadText(UserError):
    """A document that is no text: not UTF-8, broken JSON, or null. Left out where the user asks for it."""

    def __init__(self, sentence: str, name: str = ""):
        super().__init__(sentence)
        self.name = name  # of the document


def stop_at(error: BadText) -> None:
    """Raise the error of a bad document, with how to skip such documents: the default of `read_piece`."""
    sentence = f"{ValueError.__str__(error)}, or leave such documents out with launch.prepare --on_bad_text=skip"
    raise BadText(sentence, error.name) from error


def read_files(pattern: str, text_field: str) -> Iterator[Document]:
    """The documents of the files that match a glob, in the order of their paths; blank ones are left out.

    A `.txt` file is a document; so is the field `text_field` of a line of a `.jsonl` (or `.json`) file. All may be
    gzipped.

    Raises:
      UserError: no file matches, a suffix is none of these, a file cannot be read, is not UTF-8, or has a line
        that is no JSON object or lacks the text.
    """
    for piece in list_files(pattern):
        yield from (document for document in read_piece(piece, text_field) if document.text.strip())


def list_files(pattern: str, *, field: str = "files") -> list[Piece]:
    """The files that match a glob, each as a whole, in the order of their paths.

    Messages say that `field` of config.data holds the glob.

    Raises:
      UserError: no file matches, or a suffix is none of those that are read.
    """
    expanded = paths.expand(pattern, f"config.data.{field}")
    wild, literal = _matches(expanded), _matches(expanded.replace("[", "[[]"))
    if wild and literal and wild != literal:
        raise UserError(
            f"config.data.{field} = {pattern!r} matches {literal[0]} as it stands, and {wild[0]} with [ ] as a choice "
            "of characters: write [[] for a bracket that is meant, or rename the one that is not"
        )
    if literal and not wild:
        expanded = expanded.replace("[", "[[]")
    found = wild or literal
    if not found:
        raise UserError(_no_match(pattern, expanded, field))
    for path in found:
        if not path.endswith(_TEXT_SUFFIXES + _JSON_SUFFIXES):
            raise UserError(
                f"config.data.{field} = {pattern!r} matches {path}, whose suffix is none of "
                f"{' '.join(_TEXT_SUFFIXES + _JSON_SUFFIXES)}: rename it, or narrow the pattern"
            )
    root = _fixed_part(expanded)
    return [Piece(path, pathlib.Path(os.path.relpath(path, root)).as_posix()) for path in found]


def _matches(pattern: str) -> list[str]:
    return sorted(path for path in glob.glob(pattern, recursive=True) if os.path.isfile(path))


def _no_match(pattern: str, expanded: str, field: str) -> str:
    """Why a pattern matches no file, and what to give instead."""
    if os.path.isdir(expanded):
        known = [suffix for suffix in _TEXT_SUFFIXES + _JSON_SUFFIXES if _matches(os.path.join(expanded, f"*{suffix}"))]
        files = f"*{known[0] if known else '.txt'}"
        return (
            f"config.data.{field} = {pattern!r} is a folder, and files are wanted: give "
            f"{os.path.join(pattern, files)}, or {os.path.join(pattern, '**', files)} for those in its folders too"
        )
    where = f"config.data.{field} = {pattern!r} matches no file (seen from {os.getcwd()})"
    if "[" in pattern:
        return f"{where}: check the path; [ ] stand for one of the characters in them, and [[] for a bracket"
    return f"{where}: check the path"


def read_piece(
    piece: Piece,
    text_field: str,
    *,
    wanted: Callable[[str], bool] = lambda name: True,
    on_bad: Callable[[BadText], None] = stop_at,
) -> Iterator[Document]:
    """The documents of a piece whose names are `wanted`, blank ones included; bad ones go to `on_bad` instead.

    Raises:
      UserError: as `read_files`, and what `on_bad` raises.
    """
    for name, read in _parts(piece, text_field):
        if not wanted(name):
            continue
        try:
            document = read()
        except BadText as error:
            on_bad(error)
            continue
        if document is not None:
            yield document


def read_line(path: str, name: str, line: bytes, offset: int, text_field: str) -> Document | None:
    """The document in a line of JSON; None where the line is blank. Raises UserError as `read_files`."""
    content = _decode(line, path, offset=offset, name=name).removeprefix("\ufeff")
    if not content.strip():
        return None
    return Document(name, _field(content, text_field, name, where=f"{path}, line {name.rpartition(':')[2]}"))


def is_text_file(path: str) -> bool:
    """Whether a file is one document; else its lines are."""
    return path.endswith(_TEXT_SUFFIXES)


def lines_of(piece: Piece) -> Iterator[tuple[str, int, bytes]]:
    """(its document's name, the byte where it starts in the unzipped text, the line) for each line of JSON lines."""
    offset = piece.start
    for number, line in enumerate(_lines(piece.path, piece.start), start=piece.line):
        if piece.stop is not None and offset >= piece.stop:
            break
        yield f"{piece.name}:{number}", offset, line
        offset += len(line)


def read_python_stdlib() -> Iterator[Document]:
    """The sources of the running interpreter's standard library without its tests, in the order of their paths.

    About 12 MB of real text on every machine; which text exactly depends on the interpreter's version.
    """
    root = sysconfig.get_path("stdlib")
    sources = []
    for folder, subfolders, files in os.walk(root):
        subfolders[:] = set(subfolders) - _NOT_LIBRARY
        sources += [os.path.join(folder, file) for file in files if file.endswith(".py")]
    for name, path in sorted((pathlib.Path(os.path.relpath(path, root)).as_posix(), path) for path in sources):
        text = b"".join(_lines(path))
        if text.strip() and _is_utf8(text):
            yield Document(name, text)


def _fixed_part(pattern: str) -> pathlib.Path:
    """The folder of a glob up to its first wildcard."""
    parts = pathlib.Path(pattern).parent.parts
    wild = [i for i, part in enumerate(parts) if glob.has_magic(part.replace("[[]", ""))]
    return pathlib.Path(*(part.replace("[[]", "[") for part in parts[: wild[0] if wild else None]))


def _parts(piece: Piece, text_field: str) -> Iterator[tuple[str, Callable[[], Document | None]]]:
    """The name of each of a piece's documents, and a function that reads it."""
    if is_text_file(piece.path):
        yield piece.name, functools.partial(_read_text, piece)
        return
    for name, offset, line in lines_of(piece):
        yield name, functools.partial(read_line, piece.path, name, line, offset, text_field)


def _read_text(piece: Piece) -> Document:
    text = b"".join(_lines(piece.path))
    _decode(text, piece.path, offset=0, name=piece.name)
    return Document(piece.name, text.removeprefix(codecs.BOM_UTF8))


def _field(line: str, text_field: str, name: str, *, where: str) -> bytes:
    """The text in one JSON line, as UTF-8. Raises BadText where it has none."""
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:  # the latter of lists in lists in lists, hundreds deep
        reason = f"{error.msg} at column {error.colno}" if isinstance(error, json.JSONDecodeError) else error
        hint = ", and not a list over several lines (jq -c '.[]' makes lines of it)" if line.strip() == "[" else ""
        raise BadText(f"{where}: broken JSON ({reason}): each line must be one JSON object{hint}", name) from error
    if not isinstance(record, dict):
        raise BadText(f"{where}: not a JSON object but of type {type(record).__name__}: mend the line", name)
    if text_field not in record:
        raise BadText(
            f"{where}: no field {text_field!r}, only {', '.join(map(repr, record)) or 'none'}: set "
            "--config.data.text_field",
            name,
        )
    text = record[text_field]
    if not isinstance(text, str):
        kind = "null" if text is None else f"of type {type(text).__name__}"
        raise BadText(f"{where}: field {text_field!r} is not a string but {kind}: mend the line", name)
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise BadText(
            f"{where}: field {text_field!r} has half a surrogate pair at character {error.start}, which is no text: "
            "mend or remove the line",
            name,
        ) from error


def _lines(path: str, start: int = 0) -> Iterator[bytes]:
    """The lines of a file from byte `start` on with their ends; only \\n ends one, as JSON may hold U+2028."""
    try:
        with gzip.open(path, "rb") if path.endswith(".gz") else open(path, "rb") as file:
            file.seek(start)  # a zipped file is unzipped up to there: quick beside tokenizing
            yield from file
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{path} cannot be read ({error}): is it whole?") from error


def _decode(text: bytes, path: str, *, offset: int, name: str) -> str:
    try:
        return text.decode()
    except UnicodeDecodeError as error:
        raise BadText(f"{path} is not UTF-8 at byte {offset + error.start}: convert it to UTF-8", name) from error


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True

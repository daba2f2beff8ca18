"""Documents: the user's text files and the standard library's sources, read and validated in plain Python.

Everything that can be wrong with a text is found here, before tf.data, which would wrap our sentences in its own.
"""

from __future__ import annotations

import codecs
import dataclasses
import glob
import gzip
import json
import os
import pathlib
import sysconfig
import zlib
from collections.abc import Iterator

from pause_jax.errors import UserError

_TEXT_SUFFIXES = (".txt", ".txt.gz")
_JSON_SUFFIXES = (".jsonl", ".jsonl.gz")
_NOT_LIBRARY = {"site-packages", "dist-packages", "test", "tests", "idle_test", "__pycache__"}


@dataclasses.dataclass(frozen=True)
class Document:
    """One document of a corpus."""

    name: str  # its file, relative to the corpus, and for JSON lines the line: the same wherever the corpus lies
    text: bytes  # valid UTF-8, not blank


def read_files(pattern: str, text_field: str) -> Iterator[Document]:
    """The documents of the files that match a glob, in the order of their paths; blank ones are left out.

    A `.txt` file is a document; so is the field `text_field` of a line of a `.jsonl` file. Both may be gzipped.

    Raises:
      UserError: no file matches, a suffix is none of these, a file cannot be read, is not UTF-8, or has a line
        that is no JSON object or lacks the text.
    """
    paths = sorted(path for path in glob.glob(os.path.expanduser(pattern), recursive=True) if os.path.isfile(path))
    if not paths:
        raise UserError(f"config.data.files = {pattern!r} matches no file (seen from {os.getcwd()}): check the path")
    for path in paths:
        if not path.endswith(_TEXT_SUFFIXES + _JSON_SUFFIXES):
            raise UserError(
                f"config.data.files = {pattern!r} matches {path}, whose suffix is none of "
                f"{' '.join(_TEXT_SUFFIXES + _JSON_SUFFIXES)}: rename it, or narrow the pattern"
            )
    root = _fixed_part(os.path.expanduser(pattern))
    for path in paths:
        name = pathlib.Path(os.path.relpath(path, root)).as_posix()
        documents = (
            _read_text(path, name) if path.endswith(_TEXT_SUFFIXES) else _read_json_lines(path, name, text_field)
        )
        yield from (document for document in documents if document.text.strip())


def read_python_stdlib() -> Iterator[Document]:
    """The sources of the running interpreter's standard library without its tests, in the order of their paths.

    About 12 MB of real text on every machine; which text exactly depends on the interpreter's version.
    """
    root = sysconfig.get_path("stdlib")
    paths = []
    for folder, subfolders, files in os.walk(root):
        subfolders[:] = set(subfolders) - _NOT_LIBRARY
        paths += [os.path.join(folder, file) for file in files if file.endswith(".py")]
    for name, path in sorted((pathlib.Path(os.path.relpath(path, root)).as_posix(), path) for path in paths):
        text = b"".join(_lines(path))
        if text.strip() and _is_utf8(text):
            yield Document(name, text)


def _fixed_part(pattern: str) -> pathlib.Path:
    """The folder of a glob up to its first wildcard."""
    parts = pathlib.Path(pattern).parent.parts
    wild = [i for i, part in enumerate(parts) if set(part) & set("*?[")]
    return pathlib.Path(*parts[: wild[0] if wild else None])


def _read_text(path: str, name: str) -> Iterator[Document]:
    text = b"".join(_lines(path))
    _decode(text, path, offset=0)
    yield Document(name, text.removeprefix(codecs.BOM_UTF8))


def _read_json_lines(path: str, name: str, text_field: str) -> Iterator[Document]:
    offset = 0
    for number, line in enumerate(_lines(path), start=1):
        content = _decode(line, path, offset).removeprefix("\ufeff")
        offset += len(line)
        if content.strip():
            yield Document(f"{name}:{number}", _field(content, text_field, where=f"{path}, line {number}"))


def _field(line: str, text_field: str, *, where: str) -> bytes:
    """The text in one JSON line, as UTF-8."""
    try:
        record = json.loads(line)
    except json.JSONDecodeError as error:
        raise UserError(
            f"{where}: broken JSON ({error.msg} at column {error.colno}): each line must be one JSON object"
        ) from error
    if not isinstance(record, dict):
        raise UserError(f"{where}: not a JSON object but of type {type(record).__name__}")
    if text_field not in record:
        raise UserError(
            f"{where}: no field {text_field!r}, only {', '.join(map(repr, record)) or 'none'}: set "
            "--config.data.text_field"
        )
    text = record[text_field]
    if not isinstance(text, str):
        raise UserError(f"{where}: field {text_field!r} is not a string but of type {type(text).__name__}")
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise UserError(
            f"{where}: field {text_field!r} has half a surrogate pair at character {error.start}, which is no text: "
            "mend or remove the line"
        ) from error


def _lines(path: str) -> Iterator[bytes]:
    """The lines of a file with their ends; only \\n ends one, as JSON strings may hold other separators (U+2028)."""
    try:
        with gzip.open(path, "rb") if path.endswith(".gz") else open(path, "rb") as file:
            yield from file
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{path} cannot be read ({error}): is it whole?") from error


def _decode(text: bytes, path: str, offset: int) -> str:
    try:
        return text.decode()
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 at byte {offset + error.start}: convert it to UTF-8") from error


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True

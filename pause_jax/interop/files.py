"""Reads and checks files of a Hugging Face folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pause_jax.errors import UserError
from pause_jax.system.files import read_json_object

_POINTER = b"version https://git-lfs.github.com/spec/"


def check_content(file: Path) -> None:
    """Raises UserError where the file cannot be read, is empty, or is only a pointer of Git LFS."""
    try:
        with file.open("rb") as opened:
            beginning = opened.read(len(_POINTER))
    except OSError as error:
        raise UserError(f"{file} cannot be read ({error.strerror}): fetch it again") from None
    if not beginning:
        raise UserError(f"{file} is empty: fetch it again")
    if beginning == _POINTER:
        raise UserError(f"{file} is not the file but a pointer of Git LFS to it: fetch it with `git lfs pull`")


def read_json(file: Path) -> dict[str, Any]:
    """The JSON object in a file. Raises UserError where it holds none."""
    check_content(file)
    return read_json_object(file, "fetch it again")

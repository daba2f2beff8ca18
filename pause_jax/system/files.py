"""Files read and written so that nothing is lost and mistakes are one sentence."""

from __future__ import annotations

import contextlib
import errno
import json
import os
from pathlib import Path
from typing import Any

from pause_jax.errors import UserError


def write_atomically(file: Path, text: str) -> None:
    """Replace `file` as a whole: a kill leaves the old one or the new one, never half."""
    partial = file.with_name(file.name + ".partial")
    with partial.open("w", encoding="utf-8") as out:
        out.write(text)
        out.flush()
        os.fsync(out.fileno())
    partial.replace(file)


def read_json_object(file: Path, what_to_do: str) -> dict[str, Any]:
    """The JSON object in `file`. Raises UserError, ending in `what_to_do`, where it holds no JSON object."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError, OSError) as error:
        raise UserError(f"{file} is not readable as JSON ({error}): {what_to_do}") from None
    if not isinstance(content, dict):
        raise UserError(f"{file} holds no JSON object: {what_to_do}")
    return content


def check_writable(path: Path, what: str) -> None:
    """Check that a file can be made, and its folder where that is missing; nothing is left of the check.

    To be called before the work whose results the file is for.

    Args:
      what: the beginning of the message, such as "--out=results.csv".

    Raises:
      UserError: it cannot be made.
    """
    missing = [folder for folder in path.parents if not folder.exists()]
    probe = path.with_name(f"{path.name}.probe")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, "it is a folder")
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise UserError(f"{what} cannot be written ({error.strerror}): give one in a folder of yours") from None
    finally:
        with contextlib.suppress(OSError):
            for folder in missing:
                folder.rmdir()

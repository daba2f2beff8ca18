"""Paths as users write them, and folders that may not exist: a home, a cache."""

from __future__ import annotations

import os
from pathlib import Path

from pause_jax.errors import UserError


def expand(text: str, name: str) -> str:
    """A path with a leading ~ or ~USER replaced by that home directory, which shells do not do after an =.

    Args:
      name: the flag or config field with the value `text`, for the message.

    Raises:
      UserError: there is no such home.
    """
    expanded = os.path.expanduser(text)
    if text.startswith("~") and expanded == text:
        user = text.partition("/")[0]
        raise UserError(
            f"{name}={text} begins with {user}, but no such home directory is known here (HOME is not set, or there "
            f"is no such user): give the whole path, or ./{text} for a folder of this name"
        )
    return expanded


def expand_local(text: str, name: str) -> str:
    """As `expand`, for a path that must be one of a file system.

    Raises:
      UserError: it is an address such as gs://bucket/folder, which would become a folder `gs:` here.
    """
    if "://" in text:
        raise UserError(
            f"{name}={text} is an address, and must be a path of a file system: mount the bucket (gcsfuse, mount-s3) "
            "and give the path of the folder in it"
        )
    return expand(text, name)


def cache_folder() -> Path | None:
    """XDG_CACHE_HOME/pause_jax, for what can be made again; None where it cannot be written.

    In containers users may have no home, or one that is read-only.
    """
    try:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    except RuntimeError:  # no HOME, and no such user in /etc/passwd
        return None
    there = next((folder for folder in (base, *base.parents) if folder.exists()), None)
    return base / "pause_jax" if there is not None and os.access(there, os.W_OK) else None

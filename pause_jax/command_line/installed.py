"""The configs of experiments/ wherever the package is used: found by their paths, and importable by each other.

`pip install` puts them into pause_jax/installed/experiments; in a checkout experiments/ lies beside the package.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parents[1]
NAME = "experiments"


def parent_folder() -> Path | None:
    """The folder that holds our experiments/; None where the package came without them."""
    for folder in (_PACKAGE / "installed", _PACKAGE.parent):
        if (folder / NAME / "__init__.py").is_file():
            return folder
    return None


def find(path: str) -> Path | None:
    """Our file of this relative path, experiments/…; None where the working directory has one, or we have none."""
    folder, parts = parent_folder(), Path(path).parts
    if folder is None or parts[:1] != (NAME,) or ".." in parts or os.path.exists(path):
        return None
    file = folder / path
    return file if os.path.isfile(file) else None


def shorten(path: str) -> str:
    """A path of `find`, with its argument or without, as it was given; any other as it is."""
    folder = parent_folder()
    inside = folder is not None and path.startswith(f"{folder / NAME}{os.sep}")
    return os.path.relpath(path, folder) if inside else path


def make_importable(*, ours: bool = False) -> None:
    """Let `import experiments` find our configs, where nothing else has that name.

    Args:
      ours: also where the user has a package of that name, which is then hidden: for configs of ours.
    """
    folder = parent_folder()
    if folder is None or NAME in sys.modules:
        return
    found = importlib.util.find_spec(NAME)
    origin = found.origin if found else None  # of a mere folder it is None, and a package further on goes before it
    if origin is None:
        sys.path.append(str(folder))
    elif ours and Path(origin).resolve() != folder / NAME / "__init__.py":
        sys.path.insert(0, str(folder))

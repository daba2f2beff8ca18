"""How a run records the paths in its config, so that the run can be moved, and how they are found again.

A path inside the folder that contains the run (another run of the same sweep, say) is recorded relative to the run,
`../NAME`; any other is recorded as an absolute path. Older versions recorded paths as they were given. Paths are no
part of a run's identity: its data's manifest and the identity of the run that it started from are.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from pause_jax.config import Config, DataConfig

FIELDS = ("init_from", "data.prepared", "data.files", "data.validation_files", "data.data_dir")


def recorded(config: Config, folder: Path) -> dict[str, str]:
    """The values of `FIELDS` as the run in `folder` records them."""
    data = config.data
    return {
        "init_from": _recorded(config.init_from, folder),
        "data.prepared": _with_folders(data, lambda path: _recorded(path, folder, ",")),
        "data.files": _recorded(data.files, folder, "*?["),
        "data.validation_files": _recorded(data.validation_files, folder, "*?["),
        "data.data_dir": _recorded(data.data_dir, folder),
    }


def found(config: Config, folder: Path) -> dict[str, str]:
    """The values of `FIELDS` of a recorded config, as paths that are right in any working directory.

    What an older version recorded, or is not where it was, is looked for beside the run and in the folders above it.
    """
    data = config.data
    return {
        "init_from": _found(config.init_from, folder, _is_run),
        "data.prepared": _with_folders(data, lambda path: _found(path, folder, os.path.isdir)),
        "data.files": _joined(data.files, folder),
        "data.validation_files": _joined(data.validation_files, folder),
        "data.data_dir": _found(data.data_dir, folder, os.path.isdir),
    }


def same(one: str, other: str) -> bool:
    """Whether two values of one of `FIELDS` name the same place."""
    whole = [os.path.abspath(os.path.expanduser(path)) for path in (one, other) if path]
    return one == other or (len(whole) == 2 and whole[0] == whole[1])


def is_checkpoint(path: Path) -> bool:
    """Whether it has the form RUN/checkpoints/STEP."""
    return path.name.isdigit() and path.parent.name == "checkpoints"


def run_of(path: Path) -> Path:
    """The run's folder of a run or checkpoint."""
    return path.parent.parent if is_checkpoint(path) else path


def name(path: str) -> str:
    """The last part of a path; of a checkpoint RUN/checkpoints/STEP."""
    whole = Path(os.path.abspath(path))
    return "/".join(whole.parts[-3:] if is_checkpoint(whole) else whole.parts[-1:])


def _recorded(path: str, folder: Path, meaning: str = "") -> str:
    """`path` as the run in `folder` records it.

    Args:
      meaning: characters that are special where the path is used, such as * in a glob.
    """
    if not path or "://" in path or (set(meaning) & set(os.getcwd()) and not os.path.isabs(path)):
        return path
    base, whole = os.path.abspath(folder.absolute().parent), os.path.abspath(os.path.expanduser(path))
    inside = os.path.commonpath([base, whole]) == base and whole != base
    return os.path.relpath(whole, os.path.abspath(folder)) if inside else whole


def _joined(path: str, folder: Path) -> str:
    return os.path.normpath(folder.absolute() / path) if path.startswith("..") else path


def _found(path: str, folder: Path, is_there: Callable[[str], bool]) -> str:
    """The first candidate where `is_there` holds; where there is none, the recorded place."""
    if not path or "://" in path:
        return path
    return next(filter(is_there, _candidates(path, folder)), _joined(path, folder))


def _candidates(path: str, folder: Path) -> Iterator[str]:
    here = Path(os.path.abspath(folder))
    if path.startswith(".."):
        yield _joined(path, folder)
    if os.path.isabs(path):
        yield path
        yield str(here.parent / name(path))  # a sweep that was moved
        return
    yield path  # from where this process works
    for parent in here.parents:
        yield str(parent / path)


def _is_run(path: str) -> bool:
    return os.path.isfile(run_of(Path(path)) / "config.json")


def _with_folders(data: DataConfig, change: Callable[[str], str]) -> str:
    """`data.prepared` with its folders changed."""
    folders = data.prepared_folders
    if len(folders) == 1:
        path = change(folders[0][0])
        return f"{path}=1" if "=" in path else path
    return ",".join(f"{change(path)}={rate}" for path, rate in folders)


def with_values(values: dict[str, Any], changed: dict[str, str]) -> dict[str, Any]:
    """A config as nested dicts with the values of some of `FIELDS` in it."""
    data = {field.removeprefix("data."): value for field, value in changed.items() if field.startswith("data.")}
    top = {field: value for field, value in changed.items() if "." not in field}
    return {**values, **top, "data": {**values["data"], **data}}

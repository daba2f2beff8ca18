"""Lists every field of a config with its type, default and meaning, as `--help` and docs/config.md show them."""

from __future__ import annotations

import dataclasses
import inspect
import re
import types
import typing
from collections.abc import Iterator
from typing import Any, Literal, NamedTuple


class Field(NamedTuple):
    """One field, as `--config.NAME=VALUE` sets it."""

    name: str  # such as model.d_model
    type: str  # such as int, or the values to choose from: 'adamw' | 'lion'
    default: Any
    meaning: str  # the comments beside it in its dataclass; "" where the name says it


def all_fields(section: type, prefix: str = "") -> Iterator[Field]:
    """The fields of a section of the config and of the sections in it, in the order of the source."""
    meanings, hints = _comments(section), typing.get_type_hints(section)
    for field in dataclasses.fields(section):
        name = f"{prefix}{field.name}"
        if dataclasses.is_dataclass(field.default):
            yield from all_fields(type(field.default), f"{name}.")
        else:
            yield Field(name, type_name(hints[field.name]), field.default, meanings.get(field.name, ""))


def type_name(annotation: Any) -> str:
    """A type as a reader writes its values.

    >>> type_name(int), type_name(Literal["trim", "exact"]), type_name(tuple[int, ...])
    ('int', "'trim' | 'exact'", 'tuple[int, ...]')
    """
    if typing.get_origin(annotation) is Literal:
        return " | ".join(map(repr, typing.get_args(annotation)))
    if isinstance(annotation, type) and not isinstance(annotation, types.GenericAlias):
        return annotation.__name__
    return str(annotation)


def _comments(section: type) -> dict[str, str]:
    """The comments on each field of a dataclass in its source, above it and behind it."""
    comments: dict[str, str] = {}
    before: list[str] = []
    for line in inspect.getsource(section).splitlines():
        if match := re.match(r"    (\w+): .*?(?:  # (.*))?$", line):
            comments[match[1]] = " ".join([*before, match[2] or ""]).strip()
        before = [*before, line.strip(" #")] if re.match(r"    # ", line) else []
    return comments

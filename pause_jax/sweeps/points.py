"""Axes and filters of a stage of a sweep: which points it has.

    axes     ((field, (value, …)), …)           all combinations; a field is one of the config, "size" or "budget"
             (((field, field), ((value, value), …)), …)        … several fields that move together
    only     ({field: value or (value, …), …}, …)         points that match none of these are left out
    skip     ({field: value or (value, …), …}, …)         … and those that match any of these

"size" is a name of `config.sizes`: the fields of config.model that it sets. "budget" is a kind and an amount
(pause_jax/sweeps/budget.py), which set train.steps. A filter of a stage that starts from another's runs may name that
one's fields as "pretrain.FIELD".
"""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pause_jax import config as configs
from pause_jax.config import Config
from pause_jax.errors import UserError

Point = tuple[tuple[str, Any], ...]  # (field, value), one a field
Sizes = Mapping[str, Mapping[str, Any]]  # name → fields of config.model
Filter = Mapping[str, tuple[Any, ...]]  # field → the values that match
BEFORE = "pretrain."  # a filter's field of the run that a stage starts from


def parse_axes(axes: Sequence[Any], sizes: Sizes, where: str) -> list[list[Point]]:
    """One list of partial points for each axis.

    Raises:
      UserError: no (field, values), a field that is none or that two axes set, a size that there is not.
    """
    fields = {*configs.flatten(configs.to_dict(Config())), "size", "budget"}
    parsed: list[list[Point]] = []
    set_by: dict[str, str] = {}
    for number, axis in enumerate(axes):
        here = f"{where}[{number}]"
        if not isinstance(axis, (list, tuple)) or len(axis) != 2 or not isinstance(axis[1], (list, tuple)):
            raise UserError(f"{here} is {axis!r}, but must be (field, (value, value, …))")
        names = (axis[0],) if isinstance(axis[0], str) else tuple(axis[0])
        rows = [(value,) for value in axis[1]] if isinstance(axis[0], str) else axis[1]
        for field in names:
            if field not in fields:
                raise UserError(f"{here}: {field!r} is no config field{_hint(field, fields)}")
        if not rows or any(not isinstance(row, (list, tuple)) or len(row) != len(names) for row in rows):
            raise UserError(f"{here} must have a point at least, each of {len(names)} value(s): {', '.join(names)}")
        parsed.append([tuple(zip(names, map(plain, row), strict=True)) for row in rows])
        for point in parsed[-1]:
            _check_size(dict(point), sizes, here)
        for field in sorted({field for point in parsed[-1] for field in _fields_set(point, sizes)}):
            if field in set_by:
                raise UserError(f"{here} sets config.{field}, and so does {set_by[field]}: leave one of them out")
            set_by[field] = here
    return parsed


def combined(axes: Sequence[Sequence[Point]]) -> list[Point]:
    """All combinations, the last axis fastest."""
    return [tuple(itertools.chain(*point)) for point in itertools.product(*axes)]


def parse_filters(filters: Any, points: Iterable[Point], before: Iterable[Point], where: str) -> list[Filter]:
    """Filters whose values are those of the points, and of the points of the runs `before`.

    Raises:
      UserError: a field that no axis varies, or a value that none has.
    """
    values: dict[str, list[Any]] = {}
    for prefix, some in (("", points), (BEFORE, before)):
        for field, value in itertools.chain(*some):
            known = values.setdefault(prefix + field, [])
            if value not in known:
                known.append(value)
    if not isinstance(filters, (list, tuple)) or not all(isinstance(one, Mapping) for one in filters):
        raise UserError(f"{where} is {filters!r}, but must be ({{field: value, …}}, …)")
    return [
        {field: _matching(wanted, field, values, f"{where}[{number}]") for field, wanted in one.items()}
        for number, one in enumerate(filters)
    ]


def is_kept(point: Point, before: Point, only: Sequence[Filter], skip: Sequence[Filter]) -> bool:
    """Whether `point`, of a run that starts from that of `before`, passes."""
    has = {**dict(point), **{BEFORE + field: value for field, value in before}}

    def matches(one: Filter) -> bool:
        return all(field in has and has[field] in values for field, values in one.items())

    return (not only or any(map(matches, only))) and not any(map(matches, skip))


def fields_of(point: Point, sizes: Sizes) -> Point:
    """The config fields that it sets, its budget aside."""
    size = dict(point).get("size")
    model = [(f"model.{field}", value) for field, value in sizes[size].items()] if size is not None else []
    return (*model, *((field, value) for field, value in point if field not in ("size", "budget")))


def check_sizes(sizes: Any) -> Sizes:
    """Raises UserError where a size names no field of config.model."""
    if not isinstance(sizes, Mapping) or not all(isinstance(size, Mapping) and size for size in sizes.values()):
        raise UserError("config.sizes must be names with fields of config.model, such as {'small': {'d_model': 64}}")
    fields = configs.flatten(configs.to_dict(Config())["model"])
    for name, size in sizes.items():
        for field in size:
            if field not in fields:
                raise UserError(f"config.sizes.{name}: {field!r} is no field of config.model{_hint(field, fields)}")
    return sizes


def label(point: Point) -> str:
    """`small-rate0.1-seed3`: the last names of the fields and their values, as they may stand in a file's name."""

    def text(value: Any) -> str:
        items = value if isinstance(value, (list, tuple)) else [value]
        return "+".join("".join(c if c.isalnum() or c in "._-" else "_" for c in str(item)) for item in items)

    def one(field: str, value: Any) -> str:
        if field == "budget":
            return f"{value[0]}{value[1]:g}"
        return text(value) if field == "size" else field.split(".")[-1] + text(value)

    return "-".join(one(field, value) for field, value in point)


def plain(value: Any) -> Any:
    """Lists as tuples: what a config file gave, and what ml_collections made of it, compare equal."""
    return tuple(map(plain, value)) if isinstance(value, (list, tuple)) else value


def _check_size(point: Mapping[str, Any], sizes: Sizes, where: str) -> None:
    if "size" in point and point["size"] not in sizes:
        known = f"config.sizes has {', '.join(sizes)}" if sizes else "there is no config.sizes"
        raise UserError(f"{where}: size {point['size']!r} does not exist: {known}")


def _fields_set(point: Point, sizes: Sizes) -> set[str]:
    fields = {field for field, _ in fields_of(point, sizes)}
    return fields | {"train.steps"} if "budget" in dict(point) else fields


def _matching(wanted: Any, field: str, values: Mapping[str, list[Any]], where: str) -> tuple[Any, ...]:
    if field not in values:
        raise UserError(f"{where}: no axis varies {field!r}{_hint(field, values)}")
    wanted = plain(wanted)
    several = wanted if isinstance(wanted, tuple) and wanted not in values[field] else (wanted,)
    for value in several:
        if value not in values[field]:
            raise UserError(f"{where}: {field} is never {value!r}: its axis has {', '.join(map(repr, values[field]))}")
    return several


def _hint(name: Any, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(str(name), list(known), n=1)
    return f": did you mean {close[0]!r}?" if close else ""

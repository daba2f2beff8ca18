"""The points of a sweep's stage: which values its axes combine, and which of them its filters keep.

An axis is (field, values), or (fields, rows of values) where several move together. A field is one of

    pauses.rate      a config field
    size             a name in the sweep's `sizes`, which sets fields of config.model
    budget           ("steps", n), ("text_tokens", n) or ("model_flops", n), which sets train.steps
    pretrain.FIELD   in a later stage, together with other fields: the row applies to runs that have this value

Filters are tuples of dicts, field → value or tuple of values; a point matches a dict where it has all its values. A
point is kept where it matches one of `only`, if that is given, and none of `skip`.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pause_jax import config as configs
from pause_jax.config import Config
from pause_jax.config.model import ModelConfig
from pause_jax.errors import UserError, did_you_mean
from pause_jax.sweeps import budgets

Point = tuple[tuple[tuple[str, Any], ...], ...]  # for each axis its (field, value) pairs
Filter = Mapping[str, Any]
Sizes = Mapping[str, Mapping[str, Any]]
FIELDS = tuple(configs.flatten(configs.to_dict(Config())))
AXIS_LABEL, VALUE_LABEL = 23, 40  # characters


@dataclasses.dataclass(frozen=True)
class Points:
    """All points of a stage's axes, and the filters that keep some of them."""

    points: tuple[Point, ...]
    only: tuple[Filter, ...]
    skip: tuple[Filter, ...]

    def after(self, before: Mapping[str, Any]) -> list[Point]:
        """The points that are kept after a run with the values `before`, by names such as "pretrain.pauses.rate"."""
        return [point for point in self.points if self._keeps(point, before)]

    def values(self) -> dict[str, list[Any]]:
        """Field → all its values."""
        found: dict[str, list[Any]] = {}
        for field, value in itertools.chain.from_iterable(itertools.chain.from_iterable(self.points)):
            found.setdefault(field, []).append(value)
        return found

    def _keeps(self, point: Point, before: Mapping[str, Any]) -> bool:
        own = dict(itertools.chain.from_iterable(point))
        conditions = {field: value for field, value in own.items() if is_condition(field)}
        if any(field not in before or before[field] != value for field, value in conditions.items()):
            return False
        values = {**own, **before}
        kept = not self.only or any(_matches(values, wanted) for wanted in self.only)
        return kept and not any(_matches(values, unwanted) for unwanted in self.skip)


def parse(
    stage: Mapping[str, Any], where: str, sizes: Sizes, before: Mapping[str, Sequence[Any]], *, follows: bool
) -> Points:
    """The points of a stage from its `axes` and `filters`.

    Args:
      where: the stage's place in the config, for messages.
      before: the fields that stages before it vary, as "pretrain.FIELD", and their values.
      follows: there is a stage before it.

    Raises:
      UserError: an axis that names no field, varies what another one varies, or has invalid values; a filter on a field
        that no axis varies, or on a value that no point has.
    """
    axes, given = [], stage.get("axes") or ()
    if not isinstance(given, (list, tuple)):
        raise UserError(f"{where}.axes is {given!r}, but must be a tuple of (field, (value, value, …))")
    for number, axis in enumerate(given):
        axes.append(_axis(axis, f"{where}.axes[{number}]", sizes, before))
        if follows and any(field == "size" for field, _ in axes[-1][0]):
            raise UserError(f"{where}.axes[{number}]: the size is that of the run before: vary it in config.pretrain")
    _check_overlaps(axes, f"{where}.axes", sizes)
    made = Points(tuple(itertools.product(*axes)), (), ())
    filters = stage.get("filters") or {}
    if not isinstance(filters, Mapping):
        raise UserError(f"{where}.filters is {filters!r}, but must have only, skip or both")
    if unknown := sorted(set(filters) - {"only", "skip"}):
        raise UserError(f"{where}.filters.{unknown[0]} is no filter: there are only and skip")
    known = {**made.values(), **before}
    only, skip = (_filters(filters.get(name, ()), f"{where}.filters.{name}", known) for name in ("only", "skip"))
    return dataclasses.replace(made, only=only, skip=skip)


def parse_sizes(sizes: Mapping[str, Any]) -> Sizes:
    """The sizes as they are. Raises UserError where one is no dict of fields of config.model."""
    fields = [field.name for field in dataclasses.fields(ModelConfig)]
    if not isinstance(sizes, Mapping):
        raise UserError(f"config.sizes is {sizes!r}, but must be names and the fields of config.model of each")
    for name, model in sizes.items():
        if not isinstance(model, Mapping) or not model:
            raise UserError(f"config.sizes.{name} is {model!r}, but must be fields of config.model and their values")
        for field in model:
            if field not in fields:
                raise UserError(f"config.sizes.{name}.{field} is no field of config.model{did_you_mean(field, fields)}")
    return sizes


def label(point: Point) -> str:
    """`rate0.1-seed3`: the last names of the fields and their values, as they may stand in a file's name.

    Of fields that move together it has the first, and further ones while there is room. It depends on the point alone,
    so that a longer axis does not rename what is there.
    """
    fields = [field for axis in point for field, _ in axis if not is_condition(field)]
    last_names = [field.rpartition(".")[2] for field in fields]
    names = {f: last if last_names.count(last) == 1 else f for f, last in zip(fields, last_names, strict=True)}
    labels = [_axis_label([(names[field], value) for field, value in axis if field in names]) for axis in point]
    return "-".join(labels)


def is_condition(field: str) -> bool:
    """Whether it is the field of an earlier stage."""
    return field.startswith(("pretrain.", "uptrain."))


def _axis(axis: Any, where: str, sizes: Sizes, before: Mapping[str, Sequence[Any]]) -> list[tuple[Any, ...]]:
    is_pair = isinstance(axis, (list, tuple)) and len(axis) == 2
    if not is_pair or not isinstance(axis[0], (str, list, tuple)) or not isinstance(axis[1], (list, tuple)):
        raise UserError(f"{where} is {axis!r}, but must be (field, (value, value, …))")
    alone = isinstance(axis[0], str)
    names = (axis[0],) if alone else tuple(axis[0])
    known = [*FIELDS, "size", "budget", *before]
    for field in names:
        if field not in known:
            raise UserError(f"{where}: {field!r} is no config field{did_you_mean(field, known)}")
    if all(map(is_condition, names)):
        raise UserError(f"{where} varies nothing of its own stage: choose the runs before it by filters")
    rows = [(value,) for value in axis[1]] if alone else axis[1]
    if not rows or any(not isinstance(row, (list, tuple)) or len(row) != len(names) for row in rows):
        raise UserError(f"{where} must have a point at least, each of {len(names)} value(s): {', '.join(names)}")
    made = [tuple(zip(names, map(_frozen, row), strict=True)) for row in rows]
    for field, value in itertools.chain(*made):
        if field == "size" and value not in list(sizes):
            there = f"config.sizes has {', '.join(sizes)}" if sizes else "config.sizes is missing"
            raise UserError(f"{where}: there is no size {value!r}: {there}")
        if field == "budget":
            budgets.check_budget(value, where)
        if is_condition(field) and value not in before[field]:
            raise UserError(f"{where}: {field!r} never is {value!r}, but one of {_listed(before[field])}")
    return made


def _check_overlaps(axes: Sequence[Sequence[tuple[Any, ...]]], where: str, sizes: Sizes) -> None:
    by_size = {f"model.{field}" for model in sizes.values() for field in model}
    sets = {"size": {"size", *by_size}, "budget": {"budget", "train.steps"}}
    varied: dict[str, tuple[int, str]] = {}
    for number, axis in enumerate(axes):
        for field, _ in axis[0]:
            for changed in sorted(sets.get(field, {field})):
                if changed in varied:
                    other, by = varied[changed]
                    names = repr(field) if field == by else f"{by!r} and {field!r}"
                    place = f"{where}[{other}]" + (f" and {where}[{number}]" if other != number else "")
                    raise UserError(f"{place}: {names} would vary {changed} twice: leave one of them out")
                varied[changed] = (number, field)


def _filters(filters: Any, where: str, known: Mapping[str, Sequence[Any]]) -> tuple[Filter, ...]:
    if not isinstance(filters, (list, tuple)) or not all(isinstance(item, Mapping) and item for item in filters):
        raise UserError(f"{where} is {filters!r}, but must be a tuple of dicts: ({{'pauses.rate': 0.1}},)")
    made = []
    for number, item in enumerate(filters):
        wanted = {field: _frozen(value) for field, value in item.items()}
        for field, value in wanted.items():
            if field not in known:
                raise UserError(f"{where}[{number}]: no axis varies {field!r}{did_you_mean(field, list(known))}")
            values = [value] if value in known[field] or not isinstance(value, tuple) else value
            for one in values:
                if one not in known[field]:
                    raise UserError(
                        f"{where}[{number}]: {field!r} never is {one!r}, but one of {_listed(known[field])}"
                    )
        made.append(wanted)
    return tuple(made)


def _matches(values: Mapping[str, Any], wanted: Filter) -> bool:
    """Whether the values have all that is wanted. A run that was not uptrained matches no `uptrain.FIELD`."""
    return all(
        field in values and (values[field] == value or (isinstance(value, tuple) and values[field] in value))
        for field, value in wanted.items()
    )


def _axis_label(fields: Sequence[tuple[str, Any]]) -> str:
    shown = ""
    for name, value in fields:
        text = _budget_label(*value) if name == "budget" else f"{name}{_text(value)[:VALUE_LABEL]}"
        if shown and len(shown) + 1 + len(text) > AXIS_LABEL:
            break
        shown = f"{shown}-{text}" if shown else text
    return shown


def _budget_label(kind: str, number: float) -> str:
    """`steps200`, `flops1.5e21`: at most four digits, except for steps."""
    return f"{kind.removeprefix('model_')}{number:.{15 if kind == 'steps' else 4}g}".replace("e+", "e")


def _text(value: Any) -> str:
    items: Iterable[Any] = value if isinstance(value, tuple) else [value]
    return "+".join("".join(c if c.isalnum() or c in "._-" else "_" for c in str(item)) for item in items)


def _frozen(value: Any) -> Any:
    return tuple(map(_frozen, value)) if isinstance(value, (list, tuple)) else value


def _listed(values: Sequence[Any]) -> str:
    return ", ".join(dict.fromkeys(map(repr, values)))

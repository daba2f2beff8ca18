"""Converts configs from and to ConfigDicts and records, and says what makes two runs the same."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import typing
from collections.abc import Mapping
from typing import Any, Literal

from pause_jax.config import renames
from pause_jax.config.bounds import LARGEST
from pause_jax.config.model import ModelConfig
from pause_jax.config.schema import Config
from pause_jax.errors import UserError

_PATHS = ("init_from", "data.vocabulary", "data.prepared", "data.files", "data.validation_files")


def default_config() -> Any:
    """The defaults of every field, as an unlocked ml_collections ConfigDict for `experiments/` to change."""
    import ml_collections  # not needed where a recorded config is restored

    return ml_collections.ConfigDict(default_values())


def default_values() -> dict[str, Any]:
    """The defaults of every field, as nested dicts.

    Unlike `to_dict(Config())` they leave open what follows from other fields (head_dim 0), which may yet be changed.
    """
    return _defaults(Config)


def from_config_dict(config_dict: Any) -> Config:
    """A validated Config from a ConfigDict or a plain nested dict.

    Raises:
      UserError: unknown or missing field, wrong type, value outside its range; the field is named.
    """
    values = config_dict.to_dict() if hasattr(config_dict, "to_dict") else config_dict
    config = _convert(Config, values, "config")
    config.validate()
    return config


def from_recorded(values: Mapping[str, Any]) -> Config:
    """A Config from a run's record, of whatever age: fields that were added since have their defaults.

    Raises:
      UserError: as `from_config_dict`.
    """
    return from_config_dict(_merge(default_values(), renames.with_current_names(values)))


def checked(section: Any, path: str) -> Any:
    """A section of a config with each field checked against its type. A UserError calls the section `path`."""
    return _build(type(section), dataclasses.asdict(section), path)


def to_dict(config: Config) -> dict[str, Any]:
    """`config` as nested plain dicts, ready for JSON."""
    return dataclasses.asdict(config)


def identity(config: Config, manifest: Mapping[str, Any]) -> str:
    """Fingerprint of what a run computes: the config but `run`, `train.steps` and all paths, and the manifest.

    Two folders with one identity hold the same run; `steps` is left out so that a run can be prolonged, paths as the
    manifest tells what was found there: runs and data may be moved.
    """
    content = {"config": _identity_fields(config), "data": dict(manifest)}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def differences(ours: Config, theirs: Config) -> list[str]:
    """The fields in which two runs' identities differ, as `config.a.b: theirs -> ours`.

    Paths differ where only one of the two runs has one.
    """
    whole_ours, whole_theirs = (flatten(to_dict(c)) for c in (ours, theirs))
    compared = flatten(_identity_fields(ours))
    fields = [k for k in compared if whole_theirs[k] != whole_ours[k]]
    fields += [k for k in _PATHS if _is_path(whole_ours[k]) != _is_path(whole_theirs[k])]
    return [f"config.{k}: {whole_theirs[k]!r} -> {whole_ours[k]!r}" for k in fields]


def settings(config: Config) -> dict[str, Any]:
    """The fields that are not at their default, by dotted name, without `run.*`, `train.steps` and paths."""
    model = config.model
    # what was filled in from the model's other fields says nothing of its own
    derived = ModelConfig(d_model=model.d_model, num_heads=model.num_heads)
    defaults = flatten(to_dict(Config())) | {
        "model.head_dim": derived.head_dim,
        "model.num_kv_heads": derived.num_kv_heads,
    }
    return {name: value for name, value in flatten(_identity_fields(config)).items() if value != defaults[name]}


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested dicts as one dict with dotted names."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            flat.update(flatten(value, f"{prefix}{key}."))
        else:
            flat[prefix + key] = value
    return flat


def _defaults(section: type) -> dict[str, Any]:
    defaults = {field.name: field.default for field in dataclasses.fields(section)}
    return {
        name: _defaults(type(default)) if dataclasses.is_dataclass(default) else default
        for name, default in defaults.items()
    }


def _merge(defaults: Any, values: Any) -> Any:
    """`values`, with defaults for the fields that they lack."""
    if not isinstance(defaults, Mapping) or not isinstance(values, Mapping):
        return values
    return {**defaults, **{name: _merge(defaults.get(name), value) for name, value in values.items()}}


def _identity_fields(config: Config) -> dict[str, Any]:
    fields = to_dict(config)
    del fields["run"]
    del fields["train"]["steps"], fields["data"]["data_dir"]
    for section, _, name in (path.rpartition(".") for path in _PATHS):
        del (fields[section] if section else fields)[name]
    return fields


def _is_path(value: str) -> bool:
    return value not in ("", "byte")


_hints = functools.cache(typing.get_type_hints)  # it parses each annotation


def _build(cls: type, values: Mapping[str, Any], path: str) -> Any:
    """An instance of the dataclass `cls`, every field given and of its type."""
    hints = _hints(cls)
    for name in values:
        if name not in hints:
            if renamed := renames.sentence(f"{path}.{name}".removeprefix("config.")):
                raise UserError(renamed)
            raise UserError(f"{path}.{name} is no field of the config; {path} has {', '.join(sorted(hints))}")
    if missing := sorted(set(hints) - set(values)):
        raise UserError(f"{path}.{missing[0]} is missing")
    return cls(**{name: _convert(hints[name], values[name], f"{path}.{name}") for name in hints})


def _convert(hint: Any, value: Any, path: str) -> Any:
    if dataclasses.is_dataclass(hint):
        if not isinstance(value, Mapping):
            raise UserError(f"{path} is {_shown(value)}, but is a section with fields of its own")
        return _build(typing.cast(type, hint), value, path)
    if typing.get_origin(hint) is Literal:
        choices = typing.get_args(hint)
        if value not in choices:
            raise UserError(f"{path} is {_shown(value)}, but must be one of {', '.join(map(repr, choices))}")
        return value
    if typing.get_origin(hint) is tuple:
        items = value.split(",") if isinstance(value, str) else value  # --config.run.loggers=jsonl,wandb
        items = items if isinstance(items, (list, tuple)) else [items]
        return tuple(_convert(typing.get_args(hint)[0], item, f"{path}[{i}]") for i, item in enumerate(items))
    wanted = (int, float) if hint is float else hint
    if not isinstance(value, wanted) or (isinstance(value, bool) and hint is not bool):
        raise UserError(f"{path} is {_shown(value)}, but must be of type {hint.__name__}")
    return _number(hint, value, path) if hint in LARGEST else value


def _number(hint: type, value: Any, path: str) -> int | float:
    """`value` as the type `hint`. Raises UserError where 32 bits do not hold it: all arrays have numbers of 32 bits."""
    if not abs(value) <= LARGEST[hint]:
        raise UserError(f"{path} is {_shown(value)}, but must be a number of at most {LARGEST[hint]}")
    return hint(value) + 0  # -0.0 becomes 0.0, which JSON tells apart


def _shown(value: Any) -> str:
    try:
        return repr(value)
    except ValueError:  # of whole numbers of thousands of digits, Python shows none
        return f"of type {type(value).__name__} and too long to be shown"

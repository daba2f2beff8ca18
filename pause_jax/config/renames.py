"""Old names and values of config fields, so that what earlier versions recorded can still be read.

All names are dotted, below `config`.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

# name before → name now
RENAMED = {
    "pauses.n_pauses": "model.num_pause_tokens",
    "pauses.num_pause_tokens": "model.num_pause_tokens",
    "data.separate_documents": "data.document_mask",
    "finetune.prefix_length": "finetune.max_prompt_length",
    "optimizer.pauses_first": "optimizer.pause_only_steps",
    "run.tensorboard": "run.loggers",
}
# fields that are gone → the field to use now, for the sentence; their recorded values are dropped
REMOVED = {
    "run.execution.attention_blocks": "config.run.execution.kernels",
    "run.execution.few_rows": "config.run.execution.kernels",
    "run.execution.row_major": "config.run.execution.kernels",
}
# name now → value before → value now
VALUES: dict[str, dict[Any, Any]] = {
    "run.execution.scan_layers": {True: "on", False: "off"},
    "run.loggers": {True: ("jsonl", "tensorboard"), False: ("jsonl",)},
}


def with_current_names(values: Mapping[str, Any]) -> dict[str, Any]:
    """A config's nested dicts, of whatever age, with today's names and values; `values` stay as they are."""
    current: dict[str, Any] = copy.deepcopy(dict(values))
    for before, now in RENAMED.items():
        section, name = _section(current, before)
        if name in section:
            new_section, new_name = _section(current, now)
            new_section[new_name] = section.pop(name)
    for before in REMOVED:
        section, name = _section(current, before)
        section.pop(name, None)
    for now, translated in VALUES.items():
        section, name = _section(current, now)
        if isinstance(section.get(name), tuple(map(type, translated))):
            section[name] = translated[section[name]]
    return current


def sentence(name: str) -> str | None:
    """The sentence for a field that has another name now, or is gone; None for all others."""
    if now := RENAMED.get(name):
        return f"config.{name} is called config.{now} now: write it so"
    if instead := REMOVED.get(name):
        return f"config.{name} is gone: {instead} says it, and 'auto' is right on each platform"
    return None


def _section(values: dict[str, Any], dotted: str) -> tuple[dict[str, Any], str]:
    """The dict that holds the field of this dotted name, made where it is missing, and the field's own name."""
    *path, name = dotted.split(".")
    for part in path:
        inner = values.setdefault(part, {})
        if not isinstance(inner, dict):  # a record that makes no sense, which is told where it is converted
            return {}, name
        values = inner
    return values, name

"""Fields of configs that have had other names: what runs of earlier versions recorded is read by today's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# name before → name now, dotted, below `config`
RENAMED = {
    "pauses.n_pauses": "pauses.num_pause_tokens",
    "data.separate_documents": "data.document_mask",
    "finetune.prefix_length": "finetune.max_prompt_length",
    "optimizer.pauses_first": "optimizer.pause_only_steps",
    "run.tensorboard": "run.loggers",
}
# name now → value before → value now
VALUES: dict[str, dict[Any, Any]] = {"run.loggers": {True: ("jsonl", "tensorboard"), False: ("jsonl",)}}


def with_current_names(values: Mapping[str, Any]) -> dict[str, Any]:
    """A config's nested dicts, of whatever age, with the names that fields have now; `values` stay as they are."""
    current = {name: dict(value) if isinstance(value, Mapping) else value for name, value in values.items()}
    for before, now in RENAMED.items():
        section, _, name = before.rpartition(".")
        if name in current.get(section, {}):
            new_section, _, new_name = now.rpartition(".")
            current.setdefault(new_section, {})[new_name] = current[section].pop(name)
    for now, translated in VALUES.items():
        section, _, name = now.rpartition(".")
        if isinstance(current.get(section, {}).get(name), tuple(map(type, translated))):
            current[section][name] = translated[current[section][name]]
    return current

"""Starting from a run (`config.init_from`): what a finetuning config takes from it."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from pause_jax.checkpointing import history, places
from pause_jax.checkpointing.run_folder import RunFolder
from pause_jax.config import Config, FinetuneConfig
from pause_jax.errors import UserError
from pause_jax.tokenizers import tokenizer

# Fields of config.model that are not taken from the source: dtype concerns this training, and pauses may be added.
_OWN = ("dtype", "num_pause_tokens")


def from_source(values: Mapping[str, Any], given: Collection[str]) -> tuple[Mapping[str, Any], list[str]]:
    """A config, as nested dicts, that finetunes from a run, with that run's model, tokenizer and number of pauses.

    Where the model came from Hugging Face, prompts are read causally unless the user says otherwise, as an exported
    model reads them so. A config that does not finetune, or whose `init_from` is not there, is returned as it is.

    Args:
      given: fields that were set by hand, such as "model.dtype": they stay.

    Returns:
      The config, and sentences on what was taken.
    """
    init_from, finetune = values.get("init_from"), values.get("finetune")
    if (
        not init_from
        or not isinstance(finetune, Mapping)
        or not finetune.get("task")
        or not _folder(init_from).exists()
    ):
        return values, []
    folder = _folder(init_from)
    source = folder.config()
    theirs: dict[str, Any] = {
        f"model.{name}": value for name, value in dataclasses.asdict(source.model).items() if name not in _OWN
    }
    theirs["data.vocabulary"] = source.data.vocabulary
    if source.model.num_pause_tokens and values["model"].get("num_pause_tokens"):
        theirs["model.num_pause_tokens"] = source.model.num_pause_tokens
    taken = [f"model and tokenizer are those of {init_from}"]
    is_default = finetune.get("attention") == FinetuneConfig.attention
    if is_default and "finetune.attention" not in given and history.is_imported(folder):
        theirs["finetune.attention"] = "causal"
        taken.append(
            f"config.finetune.attention is 'causal', as {init_from} came from Hugging Face and can be exported so; "
            f"--config.finetune.attention={FinetuneConfig.attention} is the paper's"
        )
    merged = {name: dict(value) if isinstance(value, Mapping) else value for name, value in values.items()}
    for field, value in theirs.items():
        section, _, name = field.partition(".")
        if field not in given:
            merged[section][name] = value
    return merged, taken


def check_source(init_from: str) -> None:
    """Raises UserError where `config.init_from` is no run. Reads names only: it is called before heavy imports."""
    if init_from and not _folder(init_from).exists():
        raise UserError(
            f"config.init_from = {init_from!r} holds no run: {_folder(init_from).path / 'config.json'} does not exist; "
            "where the run has been moved, give its new place"
        )


def with_own_tokenizer(config: Config, folder: RunFolder) -> Config:
    """`config` with the tokenizer kept by the run in `folder`, where the one that it names is not there any more."""
    named = config.data.vocabulary
    if named == "byte" or os.path.isfile(named) or not folder.exists():
        return config
    kept = tokenizer.kept_in(folder.path, named)
    return dataclasses.replace(config, data=dataclasses.replace(config.data, vocabulary=kept))


def _folder(init_from: str) -> RunFolder:
    return RunFolder(places.run_of(Path(os.path.expanduser(init_from))))

"""The stages of a run's parameters, the first one first: pretraining, uptraining, finetuning, and what each cost.

A run keeps the stages before its own in history.json, so that reports need not find those runs. Runs of older versions
have no such file; then the earlier runs are read, and the stage of one that is gone is not known.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pause_jax import config as configs
from pause_jax.checkpointing import places
from pause_jax.config import Config
from pause_jax.errors import UserError
from pause_jax.logging.writers import read_jsonl

if TYPE_CHECKING:
    from pause_jax.checkpointing.run_folder import RunFolder

FILE = "history.json"


@dataclasses.dataclass(frozen=True)
class Stage:
    """One run, up to the step at which the next one started from it."""

    run: str  # the name of its folder
    step: int
    identity: str  # configs.identity; "": not known
    config: Config | None  # None: not known
    text_tokens: int | None  # of this stage alone; None: not known
    model_flops: float | None
    imported_from: str = ""  # the Hugging Face model that the run was made from; "": none

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Stage:
        """The stage of `to_json`'s dict. Raises KeyError, TypeError or UserError for other values."""
        config = values["config"]
        return cls(**values | {"config": None if config is None else configs.from_recorded(config)})


def stages(folder: RunFolder, step: int) -> list[Stage]:
    """The stages of a run up to `step`, its own the last. Raises UserError where its own record cannot be read."""
    config, manifest = folder.config(), folder.manifest()
    text_tokens, model_flops = _costs(folder.metrics, step)
    own = Stage(
        folder.name,
        step,
        configs.identity(config, manifest),
        config,
        text_tokens,
        model_flops,
        str(manifest.get("imported_from", "")),
    )
    return [*before(folder, config), own]


def before(folder: RunFolder, config: Config) -> list[Stage]:
    """The stages before the run's own."""
    recorded = folder.stages_before()
    if recorded is not None:
        return recorded
    return of_source(config.init_from) if config.init_from else []


def of_source(init_from: str) -> list[Stage]:
    """The stages of the run or checkpoint that `config.init_from` names; a single unknown one where that is gone."""
    from pause_jax.checkpointing import checkpoints  # JAX, which reports do without

    try:
        return stages(*checkpoints.locate(init_from))
    except UserError:
        return [Stage(places.name(init_from), 0, "", None, None, None)]


def is_imported(folder: RunFolder) -> bool:
    """Whether the run, or a run before it, was imported from Hugging Face, as far as their records tell."""
    recorded = folder.stages_before()
    if folder.manifest().get("imported_from") or any(stage.imported_from for stage in recorded or []):
        return True
    source = Path(folder.config().init_from)
    older = type(folder)(places.run_of(source))
    return recorded is None and bool(source.name) and older.exists() and is_imported(older)


def total(values: Sequence[float | None]) -> float | None:
    """The sum of `values`; None where one of them is not known."""
    known = [value for value in values if value is not None]
    return sum(known) if len(known) == len(values) else None


def _costs(metrics: Path, step: int) -> tuple[int | None, float | None]:
    """Text tokens and model FLOPs up to a step, as far as metrics.jsonl tells."""
    try:
        record = next((r for r in read_jsonl(metrics) if r["step"] == step), {})
        return int(record["text_tokens"]), float(record["model_flops"])
    except (UserError, KeyError, ValueError, TypeError):
        return None, None

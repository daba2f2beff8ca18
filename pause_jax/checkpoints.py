"""Checkpoints through Orbax: written in the background, restored onto any mesh and any number of processes.

A step's folder holds three items: `params` and `optimizer` (arrays) and `meta` (JSON, the arrays' checksums among it).
A folder without its commit mark was not written to the end and is not seen; one that cannot be read, or whose arrays
are not what was saved, is set aside with a warning, and the one before it is used. A save that fails, as on a full
disk, is told and survived, until too many in a row do.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp
from absl import logging

from pause_jax import checksums
from pause_jax.config import Config
from pause_jax.distributed import processes, sharding
from pause_jax.errors import RunStopped, UserError
from pause_jax.model import decoder
from pause_jax.runs import RunFolder
from pause_jax.training.step import State

_ITEMS = ("params", "optimizer", "meta")
_DISK_ERRORS = "No space left on device|Read-only file system|Disk quota exceeded|Input/output error|Stale file handle"
_AFTER_FAILURE = "make room or repair the disk; the same command goes on from the last checkpoint"


@dataclasses.dataclass
class Restored:
    """A state on its devices, and what was noted with it."""

    state: State
    meta: dict[str, Any]


class Checkpoints:
    """The checkpoints of one run."""

    def __init__(self, folder: Path, *, keep: int, keep_every: int = 0, max_failed_saves: int = 1):
        """Keeps the newest `keep`, and for good those at multiples of `keep_every` steps (0: none).

        The last of `max_failed_saves` saves that fail in a row ends the run.

        Raises:
          UserError: the folder cannot be made, or what Orbax notes of a checkpoint is damaged.
        """
        self._folder = folder.absolute()
        self._options = ocp.CheckpointManagerOptions(max_to_keep=keep, keep_period=keep_every or None, create=True,
                                                     cleanup_tmp_directories=True)  # fmt: skip
        self._max_failed = max_failed_saves
        self._failed = 0  # saves in a row
        self._under_way: int | None = None  # the step being written
        try:
            self._manager = self._open()
        except Exception as error:  # whatever a damaged _CHECKPOINT_METADATA makes it raise
            raise UserError(
                f"the checkpoints in {self._folder} cannot be listed ({_beginning(error)}): move the one whose "
                "_CHECKPOINT_METADATA is damaged away, or give another --workdir"
            ) from error

    def save(self, state: State, step: int, meta: dict[str, Any]) -> None:
        """Start writing `state`; returns when it is copied, so that training can go on.

        Raises:
          RunStopped: this save, or the one before, is known to have failed, and too many did in a row.
          UserError: as that, of several processes: there the first failed save ends the run.
        """
        self._finish()
        if step in self._manager.all_steps():
            return
        optimizer = {"opt_state": state["opt_state"], "step": state["step"]}
        meta = meta | {"checksums": {"params": checksums.of_arrays(state["params"]),
                                     "optimizer": checksums.of_arrays(optimizer)}}  # fmt: skip
        items = ocp.args.Composite(
            params=ocp.args.StandardSave(state["params"]),
            optimizer=ocp.args.StandardSave(optimizer),
            meta=ocp.args.JsonSave(meta),
        )
        try:
            self._manager.save(step, args=items)
            self._under_way = step
        except Exception as error:  # whatever a full or vanished disk makes Orbax or TensorStore raise
            self._tell_failed(step, error)

    def finish(self) -> None:
        """Wait for what is being written. Raises as `save`, where the last save failed even if it is the only one."""
        self._max_failed = 1
        self._finish()
        if self._failed:
            raise RunStopped(f"the last save to {self._folder} failed, see above: {_AFTER_FAILURE}")

    def restore_newest(self, abstract: State, up_to: int | None = None) -> Restored | None:
        """The newest readable checkpoint, laid out as `abstract` (shapes, dtypes, shardings); None when there is none.

        Those beyond step `up_to` are left alone.

        Raises:
          UserError: there are checkpoints, now or when the run was last started, and none of them can be read.
        """
        steps = [step for step in self._manager.all_steps() if up_to is None or step <= up_to]
        for step in sorted(steps, reverse=True):
            try:
                return self._restore(step, abstract)
            except Exception as error:  # whatever a damaged file makes Orbax or TensorStore raise
                logging.warning("checkpoint %s cannot be read (%s): trying the one before it",
                                self._folder / str(step), _beginning(error))  # fmt: skip
                self._set_aside(step)
        if damaged := sorted(folder.name for folder in self._folder.glob("*.damaged")):
            raise UserError(
                f"none of the checkpoints in {self._folder} can be read; they are {', '.join(damaged)} now: restore "
                "one from a copy, delete them to start this run afresh, or give another --workdir"
            )
        return None

    def close(self) -> None:
        """Wait for what is being written, and tell where that fails."""
        with contextlib.suppress(RunStopped, UserError):
            self._finish()
        with contextlib.suppress(Exception):  # it raises again what has been told
            self._manager.close()

    def _open(self) -> ocp.CheckpointManager:
        return ocp.CheckpointManager(self._folder, options=self._options, item_names=_ITEMS)

    def _finish(self) -> None:
        if self._under_way is None:
            return
        step, self._under_way = self._under_way, None
        try:
            self._manager.wait_until_finished()
            self._failed = 0
        except Exception as error:  # as in `save`
            self._tell_failed(step, error)

    def _tell_failed(self, step: int, error: Exception) -> None:
        self._failed += 1
        known = re.search(_DISK_ERRORS, str(error))  # at the end of long lines of TensorStore's
        reason = known[0] if known else " ".join(str(error).split())[:300]
        what = f"the checkpoint of step {step} could not be saved to {self._folder} ({reason})"
        if processes.several():  # the others wait for this one's part of it
            raise UserError(f"{what}: {_AFTER_FAILURE}") from error
        if self._failed >= self._max_failed:
            count = f", and so could none of the {self._failed - 1} before it" if self._failed > 1 else ""
            raise RunStopped(f"{what}{count}: {_AFTER_FAILURE}") from error
        logging.warning("%s: training goes on, until %d saves in a row have failed", what, self._max_failed)
        self._manager = self._open()  # the old one may still count the step, and half of it may fill the disk

    def _restore(self, step: int, abstract: State) -> Restored:
        optimizer = {"opt_state": abstract["opt_state"], "step": abstract["step"]}
        items = self._manager.restore(
            step,
            args=ocp.args.Composite(
                params=ocp.args.StandardRestore(abstract["params"]),
                optimizer=ocp.args.StandardRestore(optimizer),
                meta=ocp.args.JsonRestore(),
            ),
        )
        recorded = items.meta.get("checksums", {})
        for item in ("params", "optimizer"):
            _verify(items[item], recorded.get(item))
        return Restored({"params": items.params, **items.optimizer}, items.meta)

    def _set_aside(self, step: int) -> None:
        if jax.process_index() == 0:
            folder = self._folder / str(step)
            folder.rename(folder.with_name(f"{step}.damaged"))
        self._manager.reload()


def locate(run_or_checkpoint: str) -> tuple[RunFolder, int]:
    """The run and step that a path means: a run's folder (its newest step), or RUN/checkpoints/STEP.

    Raises:
      UserError: no run, or no such checkpoint, lies there.
    """
    path = Path(run_or_checkpoint)
    is_checkpoint = path.name.isdigit() and path.parent.name == "checkpoints"
    folder = RunFolder(path.parent.parent if is_checkpoint else path)
    folder.config()  # raises where there is no run
    steps = folder.saved_steps()
    if not steps:
        raise UserError(f"the run in {folder.path} has no checkpoint yet: train it, or wait for its first one")
    step = int(path.name) if is_checkpoint else steps[-1]
    if step not in steps:
        raise UserError(f"{folder.path} has no checkpoint of step {step}; it has steps {', '.join(map(str, steps))}")
    return folder, step


def restore_params(folder: Path, step: int, config: Config, mesh: jax.sharding.Mesh) -> dict[str, Any]:
    """The parameters alone of one checkpoint of the run whose config this is, cut over `mesh`.

    Raises:
      UserError: the checkpoint cannot be read, or its arrays are not what was saved.
    """
    shardings = sharding.param_shardings(config.model, config.pauses.n_pauses, mesh)
    abstract = with_shardings(decoder.abstract_params(config.model, config.pauses.n_pauses), shardings)
    with ocp.StandardCheckpointer() as checkpointer:
        try:
            params = checkpointer.restore(folder.absolute() / str(step) / "params", abstract)
            meta = json.loads((folder / str(step) / "meta" / "metadata").read_text())
            _verify(params, meta.get("checksums", {}).get("params"))
            return params
        except Exception as error:  # whatever a damaged file makes Orbax or TensorStore raise
            raise UserError(
                f"checkpoint {folder / str(step)} cannot be read ({_beginning(error)}): choose another step"
            ) from None


def _beginning(error: Exception) -> str:
    """Of what Orbax or TensorStore say, which goes on for pages."""
    return str(error).split("\n")[0][:200]


def _verify(arrays: Any, recorded: dict[str, int] | None) -> None:
    """Raises ValueError where arrays differ from their checksums; checkpoints of older versions have none."""
    if recorded is not None and (differing := checksums.differing(arrays, recorded)):
        raise ValueError(f"{differing[0]} is not what was saved: its checksum differs")


def with_shardings(shapes: Any, shardings: Any) -> Any:
    """Shapes and dtypes with the places where the arrays are to lie: what Orbax restores into."""
    return jax.tree.map(lambda s, to: jax.ShapeDtypeStruct(s.shape, s.dtype, sharding=to), shapes, shardings)

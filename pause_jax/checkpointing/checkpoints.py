"""Checkpoints through Orbax: written in the background, restored onto any mesh and any number of processes.

A step's folder holds three items: `params` and `optimizer` (arrays) and `meta` (JSON, the arrays' checksums among it).
A folder without its commit mark was not written to the end and is ignored; one that cannot be read, or whose arrays
are not what was saved, is set aside with a warning, and the one before it is used. A save that fails, as on a full
disk, causes a warning; too many in a row end the run.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp
from absl import logging
from etils import epath

from pause_jax.checkpointing import checksums, places
from pause_jax.checkpointing.run_folder import RunFolder
from pause_jax.config import Config
from pause_jax.distributed import processes, sharding
from pause_jax.errors import RunStopped, UserError, beginning
from pause_jax.model import decoder
from pause_jax.system import mounts
from pause_jax.training.step import State

_ITEMS = ("params", "optimizer", "meta")
_DISK_ERRORS = "No space left on device|Read-only file system|Disk quota exceeded|Input/output error|Stale file handle"
_AFTER_FAILURE = "make room or repair the disk; the same command goes on from the last checkpoint"


@dataclasses.dataclass
class Restored:
    """A state on its devices, and the JSON that was saved with it."""

    state: State
    meta: dict[str, Any]


class Checkpoints:
    """The checkpoints of one run."""

    def __init__(self, folder: Path, *, keep: int, keep_every: int = 0, max_failed_saves: int = 1):
        """Keeps the newest `keep` checkpoints, and for good those at multiples of `keep_every` steps (0: none).

        The run ends when `max_failed_saves` saves in a row have failed.

        Raises:
          UserError: the folder cannot be made, or Orbax's metadata of a checkpoint is damaged.
        """
        self._folder = folder.absolute()
        # Where a folder cannot be made, Orbax's threads would wait for it for five minutes if made in the background.
        saving = ocp.options.AsyncOptions(create_directories_asynchronously=False, barrier_sync_fn=_meet)
        self._options = ocp.CheckpointManagerOptions(
            max_to_keep=keep,
            keep_period=keep_every or None,
            create=True,
            cleanup_tmp_directories=True,
            async_options=saving,
            atomicity_options=_atomicity(self._folder),
        )
        self._max_failed = max_failed_saves
        self._failed = 0  # saves in a row
        self._under_way: int | None = None  # the step being written
        try:
            self._manager = self._open()
        except Exception as error:  # whatever a damaged _CHECKPOINT_METADATA makes it raise
            raise UserError(
                f"the checkpoints in {self._folder} cannot be listed ({beginning(error)}): move the one whose "
                "_CHECKPOINT_METADATA is damaged away, or give another --workdir"
            ) from error

    def save(self, state: State, step: int, meta: dict[str, Any]) -> None:
        """Start writing `state`; returns when it is copied, so that training can go on.

        Raises:
          RunStopped: this save, or the one before, is known to have failed, and too many did in a row.
          UserError: with several processes, where the first failed save ends the run.
        """
        self._finish()
        if step in self._manager.all_steps():
            return
        optimizer = {"opt_state": state["opt_state"], "step": state["step"]}
        meta = meta | {
            "checksums": {
                "params": checksums.compute(state["params"]),
                "optimizer": checksums.compute(optimizer),
            }
        }
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
        """Wait for what is being written. Raises as `save`, and where only the last save has failed."""
        self._max_failed = 1
        self._finish()
        if self._failed:
            raise RunStopped(f"the last save to {self._folder} failed, see above: {_AFTER_FAILURE}")

    def restore_newest(self, abstract: State, up_to: int | None = None) -> Restored | None:
        """The newest readable checkpoint, laid out as `abstract` (shapes, dtypes, shardings); None when there is none.

        With several processes all must be able to read it. Checkpoints beyond step `up_to` are left alone.

        Raises:
          UserError: there are checkpoints, now or when the run was last started, and none of them can be read.
        """
        optimizer = {"opt_state": abstract["opt_state"], "step": abstract["step"]}
        steps = [step for step in self._manager.all_steps() if up_to is None or step <= up_to]
        for step in sorted(steps, reverse=True):
            try:
                items, meta = _read(self._folder / str(step), {"params": abstract["params"], "optimizer": optimizer})
            except processes.Failed as error:
                logging.warning(
                    "checkpoint %s cannot be read (%s): trying the one before it", self._folder / str(step), error
                )
                self._set_aside(step)
            else:
                return Restored({"params": items["params"], **items["optimizer"]}, meta)
        if damaged := sorted(folder.name for folder in self._folder.glob("*.damaged")):
            raise UserError(
                f"none of the checkpoints in {self._folder} can be read; they are {', '.join(damaged)} now: restore "
                "one from a copy, delete them to start this run afresh, or give another --workdir"
            )
        return None

    def close(self) -> None:
        """Wait for what is being written, with a warning where that fails."""
        with contextlib.suppress(RunStopped, UserError):
            self._finish()
        with contextlib.suppress(Exception):  # it raises again what has been warned of
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
        if processes.is_peer_failure(error):
            raise error
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
        with contextlib.suppress(Exception):  # of a disk that is gone, which the next save reports
            self._manager = self._open()  # the old one may still count the step, and half of it may fill the disk

    def _set_aside(self, step: int) -> None:
        folder = self._folder / str(step)
        if processes.index() == 0:
            try:
                mounts.move_folder(folder, _free_name(folder))
            except OSError as error:
                raise UserError(
                    f"checkpoint {folder} cannot be read, nor be set aside ({error.strerror}): move it away"
                ) from error
        processes.assert_equal_across_processes({})  # or the others would still see it
        self._manager.reload()


def locate(run_or_checkpoint: str) -> tuple[RunFolder, int]:
    """The run and step that a path means: a run's folder (its newest step), or RUN/checkpoints/STEP.

    Raises:
      UserError: no run, or no such checkpoint, lies there.
    """
    path = Path(run_or_checkpoint)
    folder = RunFolder(places.run_of(path))
    folder.config()  # raises where there is no run
    steps = folder.saved_steps()
    if not steps:
        raise UserError(f"the run in {folder.path} has no checkpoint yet: train it, or wait for its first one")
    step = int(path.name) if places.is_checkpoint(path) else steps[-1]
    if step not in steps:
        raise UserError(f"{folder.path} has no checkpoint of step {step}; it has steps {', '.join(map(str, steps))}")
    return folder, step


def restore_params(folder: Path, step: int, config: Config, mesh: jax.sharding.Mesh) -> dict[str, Any]:
    """The parameters of one checkpoint of the run that has this config, cut over `mesh`; no optimizer state.

    Raises:
      UserError: the checkpoint cannot be read, or its arrays are not what was saved.
    """
    shardings = sharding.param_shardings(config.model, mesh)
    abstract = with_shardings(decoder.abstract_params(config.model), shardings)
    try:
        items, _ = _read(folder.absolute() / str(step), {"params": abstract})
        return items["params"]
    except processes.Failed as error:
        raise UserError(f"checkpoint {folder / str(step)} cannot be read ({error}): choose another step") from None


def save_params(folder: Path, step: int, params: Any, meta: dict[str, Any]) -> None:
    """Write parameters alone, for runs to start from. Orbax holds one copy of each process's part in host memory.

    Raises:
      UserError: they cannot be written.
    """
    options = ocp.CheckpointManagerOptions(
        enable_async_checkpointing=False, create=True, atomicity_options=_atomicity(folder)
    )
    handlers = {"params": ocp.StandardCheckpointHandler(), "meta": ocp.JsonCheckpointHandler()}
    meta = meta | {"checksums": {"params": checksums.compute(params)}}
    try:
        with ocp.CheckpointManager(folder.absolute(), options=options, item_handlers=handlers) as manager:
            manager.save(
                step, args=ocp.args.Composite(params=ocp.args.StandardSave(params), meta=ocp.args.JsonSave(meta))
            )
    except OSError as error:
        raise UserError(f"the checkpoint could not be saved to {folder} ({error.strerror}): make room") from error


def _read(folder: Path, abstract: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The items of a step, each laid out as `abstract` says, and the JSON that was saved with them.

    Raises:
      processes.Failed: in all processes, where one cannot read them or its arrays are not what was saved.
    """

    def arrays_and_meta() -> tuple[dict[str, Any], dict[str, Any]]:
        # Not through the manager, in which the other processes would wait for one that fails.
        with contextlib.closing(ocp.StandardCheckpointHandler()) as handler:
            items = {
                item: handler.restore(epath.Path(folder / item), args=ocp.args.StandardRestore(like))
                for item, like in abstract.items()
            }
        return items, json.loads((folder / "meta" / "metadata").read_text(encoding="utf-8"))

    items, meta = processes.run_on_all_or_none(arrays_and_meta)
    sums = {item: checksums.compute(arrays) for item, arrays in items.items()}  # which all processes compute

    def verify() -> None:
        recorded = meta.get("checksums", {})  # none in checkpoints of older versions
        for item in sums.keys() & recorded.keys():
            if differing := checksums.differing(sums[item], recorded[item]):
                raise ValueError(f"{differing[0]} is not what was saved: its checksum differs")

    processes.run_on_all_or_none(verify)  # of an array that is replicated, one process may have read a damaged copy
    return items, meta


def _atomicity(folder: Path) -> ocp.options.AtomicityOptions:
    """How a step's folder becomes whole: a rename, or where folders cannot be renamed a file, which is written last."""
    modes = ocp.options.AtomicityMode
    return ocp.options.AtomicityOptions(mode=modes.COMMIT_FILE if mounts.is_fuse(folder) else modes.AUTO)


def _meet(*, key: str, timeout_ms: int) -> None:
    """The barrier at which Orbax's threads of all processes meet; a thread that is handling an exception passes.

    The others will not come, as they wait for what it failed to do: its error would appear after twenty minutes.
    """
    if sys.exc_info()[1] is None:
        ocp.multihost.get_barrier_sync_fn()(key=key, timeout_ms=timeout_ms)


def _free_name(folder: Path) -> Path:
    """STEP.damaged, or where that is taken STEP.1.damaged and so on."""
    numbers = itertools.chain([""], (f".{k}" for k in itertools.count(1)))
    return next(name for k in numbers if not (name := folder.with_name(f"{folder.name}{k}.damaged")).exists())


def with_shardings(shapes: Any, shardings: Any) -> Any:
    """Shapes and dtypes with shardings: what Orbax restores into."""
    return jax.tree.map(lambda s, to: jax.ShapeDtypeStruct(s.shape, s.dtype, sharding=to), shapes, shardings)

"""Writers for experiment trackers: Weights & Biases, and Trackio, which has the same interface.

A run that resumes continues in the tracker too: the tracker's id of it is kept in the run's folder.
"""

from __future__ import annotations

import importlib
import os
import uuid
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

from absl import logging

from pause_jax.errors import UserError, beginning
from pause_jax.logging.writers import LoggedRun

PROJECT = "pause_jax"  # unless WANDB_PROJECT or TRACKIO_PROJECT names another


class WandbWriter:
    """Sends metrics and the config to Weights & Biases (https://docs.wandb.ai).

    It is set by the environment: WANDB_PROJECT, WANDB_ENTITY, WANDB_MODE=offline for a machine without network. After a
    resume, steps that were sent before stay as they were: Weights & Biases takes no step twice.
    """

    package: ClassVar[str] = "wandb"

    def __init__(self, run: LoggedRun) -> None:
        """Raises UserError where the tracker does not start, as without a login."""
        self._tracker: ModuleType = importlib.import_module(self.package)
        try:
            self._run: Any = self._tracker.init(
                project=os.environ.get(f"{self.package.upper()}_PROJECT", PROJECT),
                config=dict(run.settings),
                resume="allow",
                **self._where(run),
            )
        except Exception as error:  # whatever network, login and server make it raise
            raise UserError(
                f"config.run.loggers names {self.package!r}, which does not start ({beginning(error)}): log in, set "
                f"WANDB_MODE=offline, or leave it out"
            ) from error
        self._failed = False

    def write(self, step: int, metrics: Mapping[str, float]) -> None:
        try:
            self._tracker.log(dict(metrics), step=step)
        except Exception as error:  # as in `__init__`: no reason to stop training
            if not self._failed:
                logging.warning("%s takes no metrics (%s): going on without", self.package, beginning(error))
            self._failed = True

    def flush(self) -> None:
        """Nothing: the tracker sends from a process or thread of its own."""

    def close(self) -> None:
        self._tracker.finish()

    def _where(self, run: LoggedRun) -> dict[str, Any]:
        """The arguments of `init` that name the run and its folder."""
        quiet = self._tracker.Settings(console="off", silent=True)  # the progress line is redrawn in place
        return {
            "id": _run_id(run.folder / "wandb_id"),
            "name": run.name,
            "dir": str(run.folder),
            "settings": quiet,
        }


class TrackioWriter(WandbWriter):
    """Sends metrics and the config to Trackio (https://github.com/gradio-app/trackio): a local dashboard.

    `trackio show` opens it; TRACKIO_PROJECT and TRACKIO_DIR say which project and where it lies.
    """

    package: ClassVar[str] = "trackio"

    def _where(self, run: LoggedRun) -> dict[str, Any]:
        """As above. Trackio identifies a run by its name, which several folders may share: the id makes it unique."""
        return {"name": f"{run.name}-{_run_id(run.folder / 'trackio_id')}"}


def _run_id(path: Path) -> str:
    """The id kept in this file; a new one where there is none."""
    if not path.is_file():
        path.write_text(uuid.uuid4().hex[:8] + "\n", encoding="utf-8")
    return path.read_text(encoding="utf-8").strip()

"""A run's folder: what lies where, and whose it is.

config.json    the resolved config
data.json      the data's manifest: tokenizer fingerprint, counts, checksums
metrics.jsonl  one object a line, each with `step`
tensorboard/   the same for TensorBoard
profile/       a trace of some steps, where config.run.profile_steps asks for one
checkpoints/   one folder a saved step (checkpoints.py)
lock           held while a process trains in the folder (locks.py)
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pause_jax import config as configs
from pause_jax import locks
from pause_jax.config import Config
from pause_jax.distributed import processes
from pause_jax.errors import UserError


@dataclasses.dataclass(frozen=True)
class RunFolder:
    """Paths of one run, and what was recorded of it. Making one touches nothing."""

    path: Path

    @property
    def metrics(self) -> Path:
        return self.path / "metrics.jsonl"

    @property
    def tensorboard(self) -> Path:
        return self.path / "tensorboard"

    @property
    def profile(self) -> Path:
        return self.path / "profile"

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    def exists(self) -> bool:
        return (self.path / "config.json").is_file()

    def config(self) -> Config:
        """The recorded config.

        Raises:
          UserError: no run lies here, or its record cannot be read.
        """
        return configs.from_recorded(self._read("config.json"))

    def manifest(self) -> dict[str, Any]:
        """The recorded data manifest. Raises as `config`."""
        return self._read("data.json")

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """While entered, no other run can enter. Of several processes the first one holds the folder.

        Raises:
          UserError: another run is in it, or it cannot be written to.
        """
        with locks.held(self.path / "lock") if processes.index() == 0 else contextlib.nullcontext():
            yield

    def claim(self, config: Config, manifest: Mapping[str, Any]) -> None:
        """Make the folder this run's, or check that it is. Of several processes the first one writes.

        Raises:
          UserError: it holds another run; the first differences are named. Or another process writes elsewhere.
        """
        if self.exists():
            self.check_config(config)
            if self.manifest() != dict(manifest):
                raise UserError(
                    f"the data under the run in {self.path} has changed since it began (compare "
                    f"{self.path / 'data.json'}): restore the data, or give another --workdir"
                )
        processes.agree({})  # or one would find what another has written already
        if processes.index() == 0:
            self.path.mkdir(parents=True, exist_ok=True)
            write_atomically(self.path / "data.json", json.dumps(dict(manifest), indent=1))
            write_atomically(self.path / "config.json", json.dumps(configs.to_dict(config), indent=1))
        processes.agree({})
        if not self._appears():
            raise UserError(
                f"--workdir={self.path} is another folder here than in process 0, which has written to it: give one "
                "on a file system that all processes share"
            )

    def check_config(self, config: Config) -> None:
        """Raises UserError unless `config` prolongs or repeats the recorded run."""
        recorded = self.config()
        if changed := configs.differences(config, recorded):
            more = f" and {len(changed) - 3} more" if len(changed) > 3 else ""
            raise UserError(
                f"--workdir={self.path} holds another run, which differs in {', '.join(changed[:3])}{more}: "
                "give another --workdir"
            )
        if config.train.steps < recorded.train.steps:
            raise UserError(
                f"config.train.steps = {config.train.steps} is less than the {recorded.train.steps} of the run in "
                f"{self.path}: a run can be prolonged, not shortened; give another --workdir"
            )

    def is_finished(self, config: Config) -> bool:
        """Whether the folder holds exactly this run, trained to its last step. Reads names only, no arrays.

        Raises:
          UserError: as `check_config`.
        """
        if not self.exists():
            return False
        self.check_config(config)
        return config.train.steps in self.saved_steps()

    def saved_steps(self) -> list[int]:
        """Steps with a checkpoint that was written to its end, ascending."""
        if not self.checkpoints.is_dir():
            return []
        folders = [f for f in self.checkpoints.iterdir() if f.name.isdigit()]
        return sorted(int(f.name) for f in folders if (f / "commit_success.txt").exists())  # Orbax's mark

    def _appears(self, seconds: float = 60.0) -> bool:
        """Whether process 0's record is here; network file systems may show it late."""
        deadline = time.monotonic() + seconds
        while not self.exists() and time.monotonic() < deadline:
            time.sleep(0.5)
        return self.exists()

    def _read(self, name: str) -> dict[str, Any]:
        file = self.path / name
        if not file.is_file():
            raise UserError(
                f"{self.path} holds no run: {file} does not exist; a run's folder is what launch.train had as --workdir"
            )
        return read_json_object(file, "restore it from a copy")


def read_json_object(file: Path, what_to_do: str) -> dict[str, Any]:
    """The content of a file of JSON. Raises UserError where it is none, or no object, ending in `what_to_do`."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{file} is not readable as JSON ({error}): {what_to_do}") from None
    if not isinstance(content, dict):
        raise UserError(f"{file} holds no JSON object: {what_to_do}")
    return content


def write_atomically(file: Path, text: str) -> None:
    """Replace `file` as a whole: a kill leaves the old one or the new one, never half."""
    partial = file.with_name(file.name + ".partial")
    with partial.open("w", encoding="utf-8") as out:
        out.write(text)
        out.flush()
        os.fsync(out.fileno())
    partial.replace(file)

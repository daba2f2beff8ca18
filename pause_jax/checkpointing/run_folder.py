"""A run's folder: which files it has, and which run it belongs to.

config.json    the resolved config; pause_jax/checkpointing/places.py says how paths are written in it
data.json      the data's manifest: tokenizer fingerprint, counts, checksums
tokenizer.*    the tokenizer, unless it is "byte"; a tokenizer.json has its tokenizer_config.json beside it
history.json   the stages before this run, where it started from another one (history.py)
metrics.jsonl  one object a line, each with `step`
tensorboard/   the same for TensorBoard; wandb/ and *_id: for trackers that config.run.loggers names
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
from pause_jax.checkpointing import history, locks, places
from pause_jax.config import Config
from pause_jax.distributed import processes
from pause_jax.errors import UserError
from pause_jax.system.files import read_json_object, write_atomically
from pause_jax.tokenizers import tokenizer


@dataclasses.dataclass(frozen=True)
class RunFolder:
    """Paths of one run, and what was recorded of it. Making the object touches no file."""

    path: Path

    @property
    def name(self) -> str:
        """The folder's name, also where its path is `.`."""
        return Path(os.path.abspath(self.path)).name

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
        """The recorded config, with paths at which this process finds what they name.

        Raises:
          UserError: no run lies here, or its record cannot be read.
        """
        recorded = configs.from_recorded(self._read("config.json"))
        vocabulary = tokenizer.kept_in(self.path, recorded.data.vocabulary)
        changed = {**places.found(recorded, self.path), "data.vocabulary": vocabulary}
        return configs.from_recorded(places.with_values(configs.to_dict(recorded), changed))

    def manifest(self) -> dict[str, Any]:
        """The recorded data manifest. Raises as `config`."""
        return self._read("data.json")

    def stages_before(self) -> list[history.Stage] | None:
        """The stages before this run's own; None where they were not recorded.

        Raises:
          UserError: the record cannot be read.
        """
        file = self.path / history.FILE
        if not file.is_file():
            return None
        try:
            return [history.Stage.from_json(stage) for stage in self._read(history.FILE)["stages"]]
        except (KeyError, TypeError) as error:
            raise UserError(f"{file} is no record of the stages before a run ({error}): delete it") from None

    def check_tokenizer(self) -> None:
        """Raises UserError where the run's tokenizer is not there, or is another one than it was made with."""
        vocabulary, recorded = self.config().data.vocabulary, str(self.manifest().get("vocabulary"))
        if vocabulary != "byte" and not os.path.isfile(vocabulary):
            kept = self.path / tokenizer.kept_name(vocabulary)
            raise UserError(f"the tokenizer of the run in {self.path}, {vocabulary}, is not there: put it into {kept}")
        tokenizer.check_fingerprint(vocabulary, recorded, f"the run in {self.path}")

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """While entered, no other run can use the folder. Of several processes the first one holds the lock.

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
        is_new = not self.exists()
        if not is_new:
            self.check_config(config)
            self._check_data(config, manifest)
        processes.assert_equal_across_processes({})  # or one would find what another has written already
        if processes.index() == 0:
            self.path.mkdir(parents=True, exist_ok=True)
            self._write(config, manifest, is_new)
        processes.assert_equal_across_processes({})
        if not self._appears():
            raise UserError(
                f"--workdir={self.path} is another folder here than in process 0, which has written to it: give one "
                "on a file system that all processes share"
            )

    def _write(self, config: Config, manifest: Mapping[str, Any], is_new: bool) -> None:
        """Write the files that make the folder a run, config.json last."""
        vocabulary = tokenizer.keep(config.data.vocabulary, self.path)
        stages = history.of_source(config.init_from) if config.init_from and is_new else []
        if stages:
            stages_json = [stage.to_json() for stage in stages]
            write_atomically(self.path / history.FILE, json.dumps({"stages": stages_json}, indent=1))
        write_atomically(self.path / "data.json", json.dumps(dict(manifest), indent=1))
        changed = {**places.recorded(config, self.path), "data.vocabulary": vocabulary}
        values = places.with_values(configs.to_dict(config), changed)
        write_atomically(self.path / "config.json", json.dumps(values, indent=1))

    def _check_data(self, config: Config, manifest: Mapping[str, Any]) -> None:
        """Raises UserError where the data is not what the run began with."""
        if self.manifest() == dict(manifest):
            return
        recorded = self.config().data
        moved = [
            f"config.data.{name}: {theirs!r} -> {ours!r}"
            for name in ("prepared", "files", "validation_files")
            if not places.same(ours := getattr(config.data, name), theirs := getattr(recorded, name))
        ]
        if moved:
            raise UserError(
                f"--workdir={self.path} holds another run, as other data lies in {moved[0]} (compare "
                f"{self.path / 'data.json'}): give another --workdir"
            )
        raise UserError(
            f"the data under the run in {self.path} has changed since it began (compare {self.path / 'data.json'}): "
            "restore the data, or give another --workdir"
        )

    def check_config(self, config: Config) -> None:
        """Raises UserError unless `config` prolongs or repeats the recorded run, whose data may have been moved."""
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
        if config.data.vocabulary != recorded.data.vocabulary:
            where = f"--workdir={self.path} holds another run: it"
            tokenizer.check_fingerprint(config.data.vocabulary, str(self.manifest().get("vocabulary")), where)
        if not places.same(config.init_from, recorded.init_from):
            self._check_source(config.init_from, recorded.init_from)

    def _check_source(self, ours: str, theirs: str) -> None:
        """Raises UserError unless `ours` is the run that this run started from, which was at `theirs` then."""
        stages = self.stages_before()
        step = Path(ours).name if places.is_checkpoint(Path(ours)) else ""
        source = RunFolder(places.run_of(Path(ours)))
        if stages and stages[-1].identity and source.exists():
            is_same = stages[-1].identity == source.identity() and step in ("", str(stages[-1].step))
        else:  # it is not there to be compared; reading it raises later
            is_same = places.name(ours) == places.name(theirs)
        if not is_same:
            raise UserError(
                f"--workdir={self.path} holds another run, which differs in config.init_from: {theirs!r} -> {ours!r}: "
                "give another --workdir"
            )

    def identity(self) -> str:
        """The run's fingerprint (`config.identity`), the same wherever the folder lies. Raises as `config`."""
        return configs.identity(self.config(), self.manifest())

    def has_places_of(self, config: Config) -> bool:
        """Whether the recorded run reads its data where `config` says."""
        ours, theirs = config.data, self.config().data
        return all(places.same(getattr(ours, n), getattr(theirs, n)) for n in ("prepared", "files", "validation_files"))

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

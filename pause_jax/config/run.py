"""Settings that do not change the result beyond rounding: `config.run`."""

from __future__ import annotations

import dataclasses

from pause_jax.config import bounds
from pause_jax.config.model import Execution
from pause_jax.errors import UserError


@dataclasses.dataclass(frozen=True)
class MeshConfig:
    """Devices along each mesh axis; one of them may be -1: what is left over."""

    data: int = -1  # copies of the parameters, each with its own rows
    fsdp: int = 1  # rows too, and parameters cut along d_model
    tensor: int = 1  # heads, MLP width and vocabulary
    sequence: int = 1  # positions
    dcn_data: int = 1  # TPU slices; a divisor of `data`, whose outer part crosses the network between them

    def validate(self) -> None:
        if self.dcn_data < 1:
            raise UserError(f"config.run.mesh.dcn_data is {self.dcn_data}, but must be at least 1: how many TPU slices")
        sizes = self.sizes
        for name, size in sizes.items():
            if size < 1 and size != -1:
                raise UserError(f"config.run.mesh.{name} is {size}, but must be at least 1, or -1 for what is left")
        if sum(size == -1 for size in sizes.values()) > 1:
            raise UserError(f"config.run.mesh = {sizes} has more than one -1: only one axis can take what is left")

    @property
    def sizes(self) -> dict[str, int]:
        """Devices along each axis by the axis's name, as configured."""
        sizes = dataclasses.asdict(self)
        del sizes["dcn_data"]
        return sizes


@dataclasses.dataclass(frozen=True)
class RunConfig:
    """Settings that do not change the result (beyond rounding): speed, memory, logs, checkpoints."""

    mesh: MeshConfig = MeshConfig()
    execution: Execution = Execution()
    accumulation: int = 1  # microbatches a step; k of them equal one batch k times their size
    loss_chunk: int = -1  # positions whose logits exist at a time; 0: all; -1: all on CPUs, 1024 on accelerators
    log_every: int = 10  # steps
    validate_every: int = 100  # steps; 0: never
    validation_batches: int = 8  # at most; a smaller validation text is used whole
    checkpoint_every: int = 100  # steps; the last step is always saved
    keep_checkpoints: int = 2
    keep_every: int = 0  # steps; checkpoints at its multiples are kept for good; 0: none
    max_skipped_steps: int = 10  # non-finite steps in a row after which the run stops
    max_failed_saves: int = 3  # checkpoints in a row that cannot be written, after which the run stops
    replay_step: int = 0  # a step to take again and inspect instead of training (training/replay.py); 0: train
    max_seconds: int = 0  # of training, compilation included, after which it saves and stops; 0: no limit
    profile_steps: str = ""  # FIRST:LAST, such as 10:13: steps traced into profile/ (docs/profiling.md); "": none
    check_memory: bool = True  # refuse what, by formula, does not fit the devices, before anything is allocated
    stall_seconds: int = 60  # without progress, and 20 times the usual, after which stacks are shown; 0: never
    loggers: tuple[str, ...] = ("jsonl", "tensorboard")  # of pause_jax/logging/loggers.py; jsonl is always written

    def validate(self) -> None:
        bounds.check(
            self,
            "config.run",
            "be at least 1",
            "accumulation",
            "log_every",
            "validation_batches",
            "checkpoint_every",
            "keep_checkpoints",
            "max_skipped_steps",
            "max_failed_saves",
        )
        bounds.check(
            self,
            "config.run",
            "not be negative",
            "validate_every",
            "keep_every",
            "max_seconds",
            "replay_step",
            "stall_seconds",
        )
        if self.loss_chunk < -1:
            raise UserError(f"config.run.loss_chunk is {self.loss_chunk}, but must be a length, 0 (all) or -1 (auto)")
        self.execution.validate()
        self.mesh.validate()
        _ = self.profiled_steps  # or it raises
        self._validate_loggers()

    def _validate_loggers(self) -> None:
        from pause_jax.logging.loggers import LOGGERS  # not at the top: loggers import configs

        for name in self.loggers:
            if name not in LOGGERS:
                raise UserError(
                    f"config.run.loggers names {name!r}, but has a choice of {', '.join(map(repr, LOGGERS))}"
                )

    @property
    def profiled_steps(self) -> range:
        """The steps of `profile_steps`, both ends included. Raises UserError where it is not two numbers in order."""
        if not self.profile_steps:
            return range(0)
        first, _, last = self.profile_steps.partition(":")
        if not (first.isdecimal() and last.isdecimal() and 1 <= int(first) <= int(last)):
            raise UserError(
                f"config.run.profile_steps = {self.profile_steps!r} is not FIRST:LAST: give the first and the last "
                "step to trace, from 1 on, such as 10:13"
            )
        return range(int(first), int(last) + 1)

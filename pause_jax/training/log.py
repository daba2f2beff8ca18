"""Turns the metrics of steps, which may still be under way on the devices, into records, counters and rates.

Every step has its own record, with its own values, so that a resumed run writes what an undisturbed one does.
Times are of the stretch since the last flush.
"""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Iterator, Mapping
from typing import Any

import jax
from absl import logging

from pause_jax.errors import RunStopped
from pause_jax.logging.progress import Progress
from pause_jax.logging.writers import MetricWriter
from pause_jax.system.cores import available_cores

SLOW_DATA = 0.05  # share of the time spent waiting for data above which the progress line says so


@dataclasses.dataclass
class Counters:
    """Sums since step 1, kept in checkpoints. Python integers: 200 billion text tokens fit."""

    text_tokens: int = 0  # positions read that are text
    pause_tokens: int = 0  # positions read that are pauses
    loss_tokens: int = 0  # positions that carry loss
    skipped_steps: int = 0  # steps whose loss or gradient was not finite
    skipped_in_a_row: int = 0  # the latest ones


@dataclasses.dataclass
class StepLog:
    """Collects the steps' metrics and, at `flush`, waits for them and writes them."""

    every_step: MetricWriter  # a record for each step
    at_flush: MetricWriter  # the last step's record only
    progress: Progress
    counters: Counters
    flops_per_step: float  # model FLOPs
    peak_flops: float | None  # of all devices together; None: unknown, no MFU
    max_skipped_steps: int

    def __post_init__(self) -> None:
        self._pending: list[tuple[int, dict[str, jax.Array]]] = []
        self._seconds: dict[str, float] = {}
        self._since = time.monotonic()

    def add(self, step: int, metrics: dict[str, jax.Array]) -> None:
        """Note a dispatched step; does not wait for it."""
        self._pending.append((step, metrics))

    @contextlib.contextmanager
    def timed(self, what: str) -> Iterator[None]:
        """Seconds spent within are logged as `<what>_seconds`."""
        start = time.monotonic()
        try:
            yield
        finally:
            self._seconds[what] = self._seconds.get(what, 0.0) + time.monotonic() - start

    def flush(self, extra: Mapping[str, float]) -> None:
        """Write all noted steps, the last with `extra` and the times.

        Raises:
          RunStopped: too many steps in a row were not finite.
        """
        if not self._pending:
            return
        before = dataclasses.replace(self.counters)
        skipped = [step for step, metrics in self._pending if metrics["skipped"]]
        records = [(step, self._record(step, jax.device_get(metrics))) for step, metrics in self._pending]
        step, record = records[-1]
        record.update(extra, **self._rates(before, len(records)))
        for at, one in records:
            self.every_step.write(at, one)
        self.at_flush.write(step, record)
        self.progress.update(step, self._progress_fields(record))
        self._pending, self._seconds, self._since = [], {}, time.monotonic()
        if skipped:
            self._warn_of_skipped(skipped, step)

    def keep(self) -> None:
        """Flush records to disk, so that they survive a crash of process or machine: called before each checkpoint."""
        self.every_step.flush()
        self.at_flush.flush()

    def _warn_of_skipped(self, skipped: list[int], step: int) -> None:
        """Warn of steps that were not finite. Raises RunStopped where too many, up to `step`, were so in a row."""
        logging.warning(
            "loss or gradient was not finite, and no update was made, in step%s %s",
            "s" * (len(skipped) > 1),
            ", ".join(map(str, skipped)),
        )
        in_a_row = self.counters.skipped_in_a_row
        if in_a_row >= self.max_skipped_steps:
            first = step - in_a_row + 1
            raise RunStopped(
                f"loss or gradient was not finite in {in_a_row} steps in a row, {first} to {step}, which are those of "
                f"batches {first - 1} to {step - 1}; no update was made in them and the checkpoints are as they were: "
                f"--config.run.replay_step={first} shows what the first one computes from which rows; a lower "
                "config.optimizer.learning_rate needs another --workdir, and may start from a checkpoint of this one "
                "(config.init_from)"
            )

    def _record(self, step: int, metrics: dict[str, Any]) -> dict[str, float]:
        counters, skipped = self.counters, bool(metrics["skipped"])
        counters.text_tokens += int(metrics["text_tokens"])
        counters.pause_tokens += int(metrics["pause_tokens"])
        counters.loss_tokens += int(metrics["loss_tokens"])
        counters.skipped_steps += skipped
        counters.skipped_in_a_row = counters.skipped_in_a_row + 1 if skipped else 0
        counted = {"text_tokens", "pause_tokens", "loss_tokens", "skipped"}
        names = dict.fromkeys(["loss", "grad_norm", "learning_rate", *metrics])  # then the objective's own
        values = {name: float(metrics[name]) for name in names if name not in counted}
        return {**values, **dataclasses.asdict(counters), "model_flops": step * self.flops_per_step}

    def _rates(self, before: Counters, steps: int) -> dict[str, float]:
        """Rates over the time spent training: validation and checkpoints are left out, waiting for data is not."""
        elsewhere = self._seconds.get("validation", 0.0) + self._seconds.get("checkpoint", 0.0)
        seconds = max(1e-9, time.monotonic() - self._since - elsewhere)
        flops_per_second = steps * self.flops_per_step / seconds
        rates = {
            "step_seconds": seconds / steps,
            "text_tokens_per_second": (self.counters.text_tokens - before.text_tokens) / seconds,
            "pause_tokens_per_second": (self.counters.pause_tokens - before.pause_tokens) / seconds,
            "model_flops_per_second": flops_per_second,
        }
        # An upper bound of the share that the devices wait: they may still be busy with earlier steps.
        rates["data_seconds_share"] = self._seconds.get("data", 0.0) / seconds
        if self.peak_flops is not None:
            rates["mfu"] = flops_per_second / self.peak_flops
        return rates | {f"{what}_seconds": spent for what, spent in self._seconds.items()}

    def _progress_fields(self, record: Mapping[str, float]) -> dict[str, str | float]:
        fields: dict[str, str | float] = {"loss": f"{record['loss']:.3f}"}
        if "validation/loss" in record:
            fields["validation"] = f"{record['validation/loss']:.3f}"
        fields["text tokens/s"] = f"{record['text_tokens_per_second']:,.0f}"
        # On a single core, making batches and training take turns: there the share tells nothing.
        if record["data_seconds_share"] > SLOW_DATA and len(available_cores()) > 1:
            fields["waiting for data"] = f"{record['data_seconds_share']:.0%}"
        if self.counters.skipped_steps:
            fields["skipped"] = str(self.counters.skipped_steps)
        return fields

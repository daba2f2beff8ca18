"""What a sweep costs before it is run: device-hours and disk."""

from __future__ import annotations

from collections.abc import Sequence

from pause_jax.aot.chips import Chip
from pause_jax.sweeps.graph import Job
from pause_jax.sweeps.record import Line

UTILISATION = 0.4  # model FLOP/s as a share of a chip's peak, assumed


def device_hours(flops: float, chip: Chip) -> float:
    """Hours of one device at the assumed utilisation."""
    return flops / (UTILISATION * chip.flops) / 3600


def measured_rate(lines: Sequence[Line]) -> float | None:
    """Model FLOP/s of one worker over the jobs that are done; None while none is."""
    done = [line for line in lines if line.status in ("cached", "done") and line.seconds]
    return sum(line.flops for line in done) / sum(line.seconds for line in done) if done else None


def checkpoint_bytes(job: Job) -> int:
    """Bytes of the checkpoints that a training job keeps at its end; 0 for an evaluation."""
    from pause_jax.distributed import memory
    from pause_jax.distributed.mesh import AXES

    if job.evaluation is not None:
        return 0
    config, run = job.config, job.config.run
    saved = {*range(run.checkpoint_every, config.train.steps + 1, run.checkpoint_every), config.train.steps}
    for_good = {step for step in saved if run.keep_every and step % run.keep_every == 0}
    kept = len(for_good | set(sorted(saved)[-run.keep_checkpoints :]))
    whole = dict.fromkeys(AXES, 1)  # a mesh of one device
    return int(memory.parameter_bytes(config, whole) + memory.optimizer_bytes(config, whole)) * kept

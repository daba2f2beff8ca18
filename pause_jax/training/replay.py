"""Takes one step of a run again, to show which rows and gradients are not finite, or are the largest."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from pause_jax import trees
from pause_jax.checkpointing.checkpoints import Checkpoints
from pause_jax.distributed import global_batch as global_batches
from pause_jax.errors import UserError
from pause_jax.training.loop import TrainingJob, compile_steps, restore_or_start

SHOWN = 10  # rows and parameters, at most


def replay(job: TrainingJob) -> str:
    """A report, in lines, of what step `config.run.replay_step` computes. Writes nothing.

    It starts from the newest checkpoint before the step, or anew, and takes the steps in between as the run did.

    Raises:
      UserError: the run has no such step.
    """
    config, step = job.config, job.config.run.replay_step
    if step > config.train.steps:
        raise UserError(f"config.run.replay_step = {step} is beyond config.train.steps = {config.train.steps}")
    compiled = compile_steps(job)
    checkpoints = Checkpoints(job.folder.checkpoints, keep=config.run.keep_checkpoints)
    state, _ = restore_or_start(job, checkpoints, up_to=step - 1)
    checkpoints.close()
    start = int(state["step"])
    batches = global_batches.prefetch(job.open_batches(start), compiled.put)
    for _ in range(start, step - 1):
        state, _ = compiled.train_step(state, next(batches))
    found = jax.device_get(compiled.debug_step(state, next(batches)))
    where = f"step {step} (batch {step - 1}), from the state of step {start}" + (" on" if start < step - 1 else "")
    return "\n".join([where, *_lines(found)])


def _lines(found: dict[str, Any]) -> list[str]:
    rows = dict(enumerate(found["row_losses"]))
    parameters = trees.flatten(found["grad_norms"])
    return [
        f"loss {found['loss']:.6g}, gradient norm {found['grad_norm']:.6g}",
        _worst("rows", "loss", {f"row {row}": value for row, value in rows.items()}),
        _worst("parameters", "norm of the gradient", parameters),
    ]


def _worst(what: str, quantity: str, values: dict[str, Any]) -> str:
    """The values that are not finite; where all are finite, the largest."""
    bad = [f"{name} {value:.6g}" for name, value in values.items() if not np.isfinite(value)]
    if bad:
        more = ", …" if len(bad) > SHOWN else ""
        return f"{len(bad)} of {len(values)} {what}: {quantity} not finite: {', '.join(bad[:SHOWN])}{more}"
    largest = sorted(values, key=lambda name: -values[name])[:SHOWN]
    return f"{len(values)} {what}, largest {quantity}: " + ", ".join(f"{name} {values[name]:.6g}" for name in largest)

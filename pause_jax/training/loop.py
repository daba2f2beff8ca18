"""The training loop: restore or start, then step, log, validate, save, until done or asked to stop."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal

import jax
import numpy as np

from pause_jax.aot import chips
from pause_jax.checkpointing.checkpoints import Checkpoints
from pause_jax.checkpointing.run_folder import RunFolder
from pause_jax.config import Config, flatten, to_dict
from pause_jax.data.training_data import HostBatch
from pause_jax.distributed import global_batch as global_batches
from pause_jax.distributed import kernels, processes, sharding
from pause_jax.logging.loggers import open_loggers
from pause_jax.logging.progress import Progress
from pause_jax.logging.writers import LoggedRun, MetricWriter, NullWriter
from pause_jax.network import Network
from pause_jax.training import header, initialize
from pause_jax.training.flops import flops_per_step
from pause_jax.training.log import Counters, StepLog
from pause_jax.training.objective import make_objective, make_validation_objective
from pause_jax.training.optimizer import make_optimizer, make_schedule
from pause_jax.training.profile import StepProfile
from pause_jax.training.signals import StopSignals
from pause_jax.training.step import State, make_debug_step, make_train_step, make_validation_step
from pause_jax.training.watchdog import Watchdog


@dataclasses.dataclass(frozen=True)
class TrainingJob:
    """What the loop is given: a run's config, mesh, data and folder."""

    config: Config
    mesh: jax.sharding.Mesh
    rows: list[int]  # this process's rows of the global batch
    open_batches: Callable[[int], Iterator[HostBatch]]  # batches number k, k + 1, … (step k + 1 trains on batch k)
    validation: Mapping[str, Callable[[], Iterator[HostBatch]]]  # metric's name → its batches, from the start
    folder: RunFolder
    label: str  # of the progress line
    provenance: Mapping[str, str]  # noted in each checkpoint: the code's version, the tokenizer's fingerprint

    def __post_init__(self) -> None:
        resolved = kernels.resolve_config(self.config, kernels.platform_of(self.mesh))
        object.__setattr__(self, "config", resolved)


def train(job: TrainingJob) -> Literal["finished", "stopped"]:
    """Train to `config.train.steps`, or until a signal or `max_seconds` stops it ("stopped"); everything is saved.

    Raises:
      RunStopped: too many steps in a row without a finite loss and gradient, or too many failed saves.
      UserError: the checkpoint to go on or start from is not there or does not fit.
    """
    config, run = job.config, job.config.run
    compiled = compile_steps(job)
    with contextlib.ExitStack() as exits:
        checkpoints = _open_checkpoints(job)
        exits.callback(checkpoints.close)  # whatever happens, what is being saved is saved
        state, counters = restore_or_start(job, checkpoints)
        start, steps = int(state["step"]), config.train.steps
        processes.assert_equal_across_processes({"the step to go on from": start})
        _show_header(job, start)
        every_step, at_flush = (exits.enter_context(contextlib.closing(writer)) for writer in _open_writers(job, start))
        progress = exits.enter_context(Progress(job.label, steps, start, shown=jax.process_index() == 0))
        stop = exits.enter_context(StopSignals(run.max_seconds))
        watch = exits.enter_context(Watchdog(run.stall_seconds))
        profile = exits.enter_context(StepProfile(run.profiled_steps, job.folder.profile))
        log = StepLog(
            every_step,
            at_flush,
            progress,
            counters,
            flops_per_step(config),
            _peak_flops(job.mesh),
            run.max_skipped_steps,
        )
        batches = global_batches.prefetch(job.open_batches(start), compiled.put)
        for step in range(start + 1, steps + 1):
            with profile.step(step):
                with log.timed("data"):
                    batch = next(batches)
                state, metrics = compiled.train_step(state, batch)
            profile.end(step, metrics)
            log.add(step, metrics)
            stopping = stop.agreed(step)
            last = step == steps or stopping
            validated: dict[str, float] = {}
            if run.validate_every and (step % run.validate_every == 0 or step == steps):
                jax.block_until_ready(metrics)  # or the time of the steps under way would count as validation's
                with log.timed("validation"):
                    validated = _validate(job, compiled, state)
            save = last or step % run.checkpoint_every == 0
            if save or validated or step % run.log_every == 0 or step == start + 1:
                log.flush(validated)
                watch.heartbeat(step)
            if save:
                with log.timed("checkpoint"):
                    log.keep()  # or a run that goes on from here would lack them
                    checkpoints.save(state, step, {"counters": dataclasses.asdict(counters), **job.provenance})
            if stopping:
                break
        checkpoints.finish()
    return "finished" if int(state["step"]) >= steps else "stopped"


@dataclasses.dataclass(frozen=True)
class Compiled:
    """The jitted steps of a run, and the function that puts its batches on the devices."""

    train_step: Callable[[State, Any], tuple[State, dict[str, jax.Array]]]
    validation_step: Callable[[Any, Any], tuple[jax.Array, jax.Array, jax.Array, jax.Array]]
    debug_step: Callable[[Any, Any], dict[str, Any]]  # step.make_debug_step
    put: Callable[[HostBatch], dict[str, jax.Array]]  # host to devices


def compile_steps(job: TrainingJob) -> Compiled:
    """The jitted steps on the job's mesh. They compile at their first call."""
    return Compiled(
        *jit_steps(job.config, job.mesh),
        put=lambda local: global_batches.to_global(local, job.rows, job.config.train.batch_size, job.mesh),
    )


def jit_steps(config: Config, mesh: jax.sharding.Mesh) -> tuple[Any, Any, Any]:
    """(training step, validation step, debug step), sharded over `mesh`; they can be lowered without its devices."""
    config = kernels.resolve_config(config, kernels.platform_of(mesh))
    network = Network(config.model, config.run.execution, mesh).bind
    optimizer = make_optimizer(config.optimizer)
    objective, vocab_size = make_objective(config, network), config.model.vocab_size
    step = make_train_step(
        objective,
        optimizer,
        make_schedule(config.optimizer, config.train.steps),
        vocab_size=vocab_size,
        accumulation=config.run.accumulation,
    )
    debug = make_debug_step(objective, accumulation=config.run.accumulation)
    validation = make_validation_step(make_validation_objective(config, network), vocab_size=vocab_size)
    state = initialize.state_shardings(config, optimizer, mesh)
    batch = None  # no constraint: it lies where `put` has put it
    everywhere = sharding.replicated(mesh)
    return (
        jax.jit(_on(mesh, step), in_shardings=(state, batch), out_shardings=(state, everywhere), donate_argnums=0),
        jax.jit(_on(mesh, validation), in_shardings=(state["params"], batch), out_shardings=everywhere),
        jax.jit(_on(mesh, debug), in_shardings=(state, batch), out_shardings=everywhere),
    )


def _on(mesh: jax.sharding.Mesh, function: Callable[..., Any]) -> Callable[..., Any]:
    """`function`, its activations laid out on `mesh`."""

    def on_mesh(*args: Any) -> Any:
        with sharding.with_mesh(mesh):
            return function(*args)

    return on_mesh


def restore_or_start(job: TrainingJob, checkpoints: Checkpoints, up_to: int | None = None) -> tuple[State, Counters]:
    """The newest saved state, not beyond step `up_to`, and its counters; where there is none, the initial state."""
    optimizer = make_optimizer(job.config.optimizer)
    restored = checkpoints.restore_newest(initialize.abstract_state(job.config, optimizer, job.mesh), up_to)
    if restored is not None:
        return restored.state, Counters(**restored.meta["counters"])
    return initialize.initial_state(job.config, optimizer, job.mesh), Counters()


def _open_checkpoints(job: TrainingJob) -> Checkpoints:
    run = job.config.run
    return Checkpoints(
        job.folder.checkpoints,
        keep=run.keep_checkpoints,
        keep_every=run.keep_every,
        max_failed_saves=run.max_failed_saves,
    )


def _show_header(job: TrainingJob, start: int) -> None:
    if jax.process_index() == 0:
        flops = flops_per_step(job.config)
        print(*header.lines(job.label, job.config, job.folder.manifest(), job.mesh, start, flops), sep="\n", flush=True)


def _open_writers(job: TrainingJob, start: int) -> tuple[MetricWriter, MetricWriter]:
    """As `open_loggers`: process 0 writes, the others do not."""
    if jax.process_index() != 0:
        return NullWriter(), NullWriter()
    settings = {k: v for k, v in flatten(to_dict(job.config)).items() if not k.startswith("run.")}
    return open_loggers(job.config.run.loggers, LoggedRun(job.folder.path, job.label, start, settings))


def _validate(job: TrainingJob, compiled: Compiled, state: State) -> dict[str, float]:
    """Mean loss in nats per predicted text token of each validation text; for paused text also by kind of position.

    `after_pause_loss` is of the positions whose input token is a pause, `elsewhere_loss` of all others with a loss:
    both come from the pass that gives `paused_loss`, and are left out where there are no such positions.
    """
    losses = {}
    for name, open_batches in job.validation.items():
        parts = [compiled.validation_step(state["params"], compiled.put(batch)) for batch in open_batches()]
        loss, count, paused, pauses = np.sum([[float(x) for x in part] for part in parts], axis=0).tolist()
        losses[f"validation/{name}"] = loss / max(count, 1.0)
        if name == "paused_loss":
            kinds = {"after_pause_loss": (paused, pauses), "elsewhere_loss": (loss - paused, count - pauses)}
            losses |= {f"validation/{kind}": total / of for kind, (total, of) in kinds.items() if of}
    return losses


def _peak_flops(mesh: jax.sharding.Mesh) -> float | None:
    peak = chips.peak_flops(mesh.devices.flat[0].device_kind)
    return None if peak is None else peak * mesh.size

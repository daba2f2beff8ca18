"""A sweep's driver: makes the schedule of its jobs, and runs it here, through SLURM, or as JobSets on GKE."""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pause_jax import config as configs
from pause_jax import extras
from pause_jax.aot import topologies
from pause_jax.aot.chips import CHIPS
from pause_jax.checkpointing import locks
from pause_jax.config import Config, user_paths
from pause_jax.errors import UserError
from pause_jax.sweeps import graph, job_files, record, results, run_job
from pause_jax.sweeps.execution import ExecutorConfig, Resources
from pause_jax.sweeps.executors import gke, local
from pause_jax.sweeps.graph import Job, Sweep
from pause_jax.sweeps.results import is_finished
from pause_jax.sweeps.scheduler import Schedule
from pause_jax.sweeps.table import ProgressTable
from pause_jax.system import local_chips
from pause_jax.system.files import write_atomically
from pause_jax.training import run as training
from pause_jax.training.signals import StopSignals

if TYPE_CHECKING:
    from pause_jax.sweeps.executors.slurm import Cluster, Watch


@dataclasses.dataclass(frozen=True)
class _Calls:
    """The driver's callbacks for an executor: arguments of `Schedule.run`."""

    stopping: Callable[[], bool]
    on_done: Callable[[Job], None]
    on_tick: Callable[[], None]


def make_schedule(sweep: Sweep, workdir: Path, how: ExecutorConfig, *, retries: int) -> Schedule:
    """The schedule of all jobs; those that are finished already have the status "cached".

    Raises:
      UserError: `workdir` holds another sweep, or as `graph.make_jobs`.
    """
    check_folder(workdir, sweep)
    seen_as = gke.workdir_in_pods(workdir, how.gke) if how.executor == "gke" else workdir  # where the jobs run

    def resolve(config: Config) -> Config:
        return training.resolve(user_paths.expand(config))

    made = Schedule.make(
        graph.make_jobs(sweep, seen_as / "runs", resolve),
        graph.flops,
        lambda job: is_finished(job, workdir),
        retries=retries,
        log_folder=workdir / "logs",
    )
    took = record.seconds_of(workdir)
    for entry in made.with_status("cached"):
        entry.seconds = took.get(entry.job.name, 0.0)
    return made


def check_folder(workdir: Path, sweep: Sweep) -> None:
    """Raises UserError where `workdir` holds another sweep: one made from other configs."""
    recorded = workdir / "sweep.json"
    if not recorded.is_file():
        return
    ours, theirs = (
        configs.flatten(json.loads(text))
        for text in (json.dumps(sweep.identity()), recorded.read_text(encoding="utf-8"))
    )
    other = sorted(field for field in ours.keys() | theirs.keys() if ours.get(field) != theirs.get(field))
    other = [field for field in other if ".config.run." not in f".config.{field.split('.', 1)[1]}"]
    if other:
        raise UserError(
            f"--workdir={workdir} holds another sweep, which differs in {', '.join(other[:3])}: give another --workdir"
        )


def run_sweep(
    schedule: Schedule, sweep: Sweep, workdir: Path, how: ExecutorConfig, workers: int
) -> Literal["finished", "stopped"]:
    """Run the jobs that are left, and write results.csv, jobs.json and failures.json.

    Args:
      workers: processes on this machine; 0: one a chip, or on a machine without chips one a core.

    Raises:
      UserError: another sweep's driver is at work in `workdir`, the cluster is not to be had, or a package is missing.
    """
    left = schedule.with_status("waiting")
    extras.require("report", *(["data"] if left else []))
    is_local = how.executor != "slurm" or not left  # results of finished jobs can be collected without a cluster
    count = local.worker_count(workers, local_chips.of_this_machine(), len(left)) if is_local else 0
    cluster = None if is_local else _slurm_cluster(workdir, how)
    with locks.held(workdir / "lock"), StopSignals() as stop, ProgressTable(schedule, count) as table:
        write_atomically(workdir / "sweep.json", json.dumps(sweep.identity(), indent=1))
        recorder = record.Recorder(schedule, workdir, how.executor, count)

        def on_tick() -> None:
            recorder.write_changes()
            table.show()

        calls = _Calls(
            stopping=lambda: stop.requested is not None,
            on_done=lambda job: results.collect(schedule, workdir),
            on_tick=on_tick,
        )
        if cluster is None:
            setups = run_job.setups(count if left else 0, local_chips.of_this_machine(), asked=workers)
            _run_here(schedule, workdir, setups, calls)
        else:
            _watch(schedule, workdir, how, cluster).run(**vars(calls))
        recorder.write(ended=True)
        results.collect(schedule, workdir)
        failed = [dataclasses.asdict(failure) for failure in results.failures(schedule)]
        write_atomically(workdir / "failures.json", json.dumps(failed, indent=1))
    _print_end(schedule, workdir)
    if stop.requested is None:
        return "finished"
    what = "" if is_local else " what SLURM has queued stays there (scancel ends it), and"
    print(f"stopped by a signal;{what} the same command goes on {'from here' if is_local else 'watching it'}")
    return "stopped"


def _print_end(schedule: Schedule, workdir: Path) -> None:
    overhead, seconds = schedule.overhead()
    if seconds:
        print(f"start-up and compilation: {100 * overhead / seconds:.0f} % of {seconds:.0f} s of work")
    print(f"{len(schedule.with_status('cached', 'done'))} of {len(schedule.entries)} jobs done: {workdir}")


def _run_here(schedule: Schedule, workdir: Path, setups: list[local.Setup], calls: _Calls) -> None:
    """Run the jobs on this machine, one at a time on each worker."""
    pool = [local.Worker(*one) for one in zip(setups, local.core_groups(len(setups)), strict=True)] if setups else []
    try:
        schedule.run(pool, lambda job: (job, str(workdir)), **vars(calls))
    finally:
        for worker in pool:
            worker.close()


def _slurm_cluster(workdir: Path, how: ExecutorConfig) -> Cluster:
    """The SLURM cluster. Raises UserError where it cannot be reached."""
    from pause_jax.sweeps.executors.slurm import Cluster

    return Cluster(workdir, how.slurm)


def _watch(schedule: Schedule, workdir: Path, how: ExecutorConfig, cluster: Cluster) -> Watch:
    """The object that submits the jobs to SLURM and watches them."""
    from pause_jax.sweeps.executors.slurm import Watch

    def call(job: Job) -> Any:
        files = (
            job_files.write_job(job, workdir.absolute()),
            schedule.log_of(job).absolute(),
            cluster.report_file(job),
        )
        for file in files:
            file.parent.mkdir(parents=True, exist_ok=True)
        return functools.partial(run_job.on_slurm, *map(str, files))

    return Watch(schedule, cluster, lambda job: how.of(job.size), call, lambda job: is_finished(job, workdir))


def write_jobsets(schedule: Schedule, sweep: Sweep, workdir: Path, how: ExecutorConfig, *, template: str) -> None:
    """Write WORKDIR/gke/ and the job files of the jobs that are left.

    Args:
      template: the text of launch/gke/jobset.yaml.

    Raises:
      UserError: a driver is at work in `workdir`, or a job does not go on its chips.
    """
    left = [_on_slices(entry.job, how.of(entry.job.size)) for entry in schedule.with_status("waiting")]
    with locks.held(workdir / "lock"):
        # It comes first, as it may raise.
        files = gke.write(left, workdir, gke=how.gke, takes=lambda job: how.of(job.size), template=template)
        write_atomically(workdir / "sweep.json", json.dumps(sweep.identity(), indent=1))
        for job in left:
            job_files.write_job(job, workdir)
        record.Recorder(schedule, workdir, how.executor, 0).write(ended=True)
        results.collect(schedule, workdir)
    seen = gke.workdir_in_pods(workdir, how.gke)
    print(
        f"{len(left)} JobSets: {', '.join(file.name for file in files[:-1])} in {workdir / 'gke'}; nothing is applied"
    )
    print(f"{workdir} must be {seen} of the claim {how.gke.claim}; then: bash {files[-1]}")
    print("the same command afterwards collects the results, and writes JobSets of what is missing")


def _on_slices(job: Job, takes: Resources) -> Job:
    """The job with the mesh of all its slices; where it trains, its memory is checked against the chips'.

    Raises:
      UserError: the mesh does not go with the chips, or they do not hold what training takes.
    """
    from pause_jax.distributed import kernels, memory
    from pause_jax.distributed.mesh import AXES, over_slices

    if job.evaluation is not None:  # an evaluation takes one slice, each chip with all parameters
        return job
    where = f"config.resources.{job.size or 'default'}"
    try:
        mesh = over_slices(job.config.run.mesh, takes.slices, takes.chips())
        config = dataclasses.replace(job.config, run=dataclasses.replace(job.config.run, mesh=mesh))
        sizes = {axis: mesh.sizes[axis] for axis in AXES}
        on_chips = kernels.resolve_config(config, topologies.platform_of_chip(takes.chip))
        memory.check_chips(on_chips, sizes, CHIPS[takes.chip].hbm_bytes, f"the memory of a {takes.chip}")
    except UserError as error:
        raise UserError(f"{where}, of which {job.name} takes {takes.slices} x {takes.topology}: {error}") from None
    return dataclasses.replace(job, config=config)

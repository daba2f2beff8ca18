"""Pretrain, finetune and evaluate over axes of settings: a graph of jobs on this machine's cores or chips or a cluster.

    python -m launch.sweep --config=experiments/sweeps/two_by_two.py --workdir=runs/sweep --dry_run
    python -m launch.sweep --config=experiments/sweeps/two_by_two.py --workdir=runs/sweep

The same command again goes on where it stopped; what is finished is found and not run again, also when the sweep has
got more points since. A job that fails is tried again, then reported; it stops only what needs it. WORKDIR gets
runs/, logs/, results.csv of all evaluations and, at the end, report/ (what `launch.report` makes of results.csv).
pause_jax/sweeps/graph.py says what a sweep's config has; execution.py beside it, how it is run through SLURM
(config.executor = "slurm": Ctrl-C leaves the jobs queued, and the same command goes on watching them) and on GKE
(config.executor = "gke": JobSets are written into WORKDIR/gke). `launch.status` shows how a sweep stands.
Exit codes: 0 all done, 1 some jobs failed, 2 a mistake in the command, 75 stopped by a signal with everything saved.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from absl import flags

from launch import evaluate, train
from pause_jax import config as configs
from pause_jax.aot.chips import CHIPS
from pause_jax.checkpointing import locks
from pause_jax.checkpointing.run_folder import RunFolder, write_atomically
from pause_jax.command_line import cli, flag_errors
from pause_jax.distributed import processes
from pause_jax.errors import UserError
from pause_jax.logging.progress import SECONDS_BETWEEN_LINES, format_seconds
from pause_jax.report import demonstration, run_curves, tables
from pause_jax.report.comparisons import Failure, Report
from pause_jax.report.report import print_report, write_report
from pause_jax.report.results import Result, read_results, write_results
from pause_jax.sweeps import costs, execution, graph, record, verdicts
from pause_jax.sweeps.execution import Execution, Resources
from pause_jax.sweeps.executors import gke
from pause_jax.sweeps.executors import local as local_lib
from pause_jax.sweeps.graph import Job, Sweep
from pause_jax.sweeps.scheduler import Schedule
from pause_jax.system import local_chips
from pause_jax.system.cores import available_cores
from pause_jax.training.signals import StopSignals

if TYPE_CHECKING:
    from pause_jax.sweeps.executors.slurm import Cluster, Watch

FLAGS = flags.FLAGS
EXIT_JOBS_FAILED = 1
MOST_JOBS_SHOWN = 40
PRELOAD = ("pause_jax.data.pretraining", "pause_jax.tasks.seqio_examples", "pause_jax.training.loop")
SETUP = local_lib.Setup("launch.sweep:run_job", PRELOAD, {"JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.1"})


def main(argv: list[str]) -> int:
    workdir = cli.workdir()
    if FLAGS.workers < 0 or FLAGS.retries < 0:
        raise UserError(f"--workers={FLAGS.workers} and --retries={FLAGS.retries} must not be negative")
    flag: Any = FLAGS["config"]
    if not flag.present:
        raise UserError("--config is missing: give a sweep, such as --config=experiments/sweeps/two_by_two.py")
    sweep = graph.parse(flag_errors.as_dict(FLAGS.config, flag.config_filename))
    how = execution.parse(sweep.execution, sweep.sizes)
    check_folder(workdir, sweep)
    in_pods = gke.workdir_in_pods(workdir, how.gke) if how.executor == "gke" else None
    schedule = make_schedule(sweep, workdir, retries=FLAGS.retries, seen_as=in_pods)
    if FLAGS.dry_run:
        show_graph(schedule)
        show_costs(schedule, how, workdir)
        print(verdicts.sentence([entry.job for entry in schedule.entries]) or "nothing to compare: no verdicts")
        return cli.EXIT_DONE
    if how.executor == "gke" and schedule.with_status("waiting"):
        write_jobsets(schedule, sweep, workdir, how)
        return cli.EXIT_DONE
    if run(schedule, sweep, workdir, how, FLAGS.workers) == "stopped":
        return cli.EXIT_STOPPED
    results = workdir / "results.csv"
    print(f"results: {results}")
    rows, title, failed = read_results(results), f"Sweep {workdir.name}", failures(schedule)
    code = conclude(rows, failed, workdir / "report", title, [workdir / "runs"])
    if sweep.demonstration and not failed:
        command = f"python -m launch.sweep --config={flag.config_filename} --workdir={workdir}"
        seconds = record.wall_seconds_of(workdir)
        demonstration.write(Path(sweep.demonstration), rows, wall_seconds=seconds, command=command)
        print(f"demonstration: {sweep.demonstration}")
    return code


def make_schedule(sweep: Sweep, workdir: Path, *, retries: int, seen_as: Path | None = None) -> Schedule:
    """All jobs, those that are finished found. Raises UserError as `graph.make_jobs`.

    Args:
      seen_as: `workdir` where the jobs run; None: the same path.
    """
    jobs = graph.make_jobs(sweep, (seen_as or workdir) / "runs", lambda config: train.resolve(cli.at_home(config)))
    made = Schedule.make(
        jobs, graph.flops, lambda job: is_finished(job, workdir), retries=retries, log_folder=workdir / "logs"
    )
    took = record.seconds_of(workdir)
    for entry in made.with_status("found"):
        entry.seconds = took.get(entry.job.name, 0.0)
    return made


def is_finished(job: Job, workdir: Path) -> bool:
    """Whether what the job makes is there. Raises UserError where another run lies in its folder."""
    if job.evaluation is not None:
        return results_of(workdir, job.name).is_file()
    return RunFolder(workdir / "runs" / job.name).is_finished(job.config)


def check_folder(workdir: Path, sweep: Sweep) -> None:
    """Raises UserError where `workdir` holds another sweep: one of other base configs."""
    record = workdir / "sweep.json"
    if not record.is_file():
        return
    ours, theirs = (
        configs.flatten(json.loads(text)) for text in (json.dumps(sweep.base()), record.read_text(encoding="utf-8"))
    )
    other = sorted(field for field in ours.keys() | theirs.keys() if ours.get(field) != theirs.get(field))
    other = [field for field in other if ".config.run." not in f".config.{field.split('.', 1)[1]}"]
    if other:
        raise UserError(
            f"--workdir={workdir} holds another sweep, which differs in {', '.join(other[:3])}: give another --workdir"
        )


def run(schedule: Schedule, sweep: Sweep, workdir: Path, how: Execution, count: int) -> Literal["finished", "stopped"]:
    """Run what is left; leaves results.csv, jobs.json and failures.json.

    Raises:
      UserError: another sweep's driver is at work in `workdir`, or the cluster is not to be had.
    """
    left = schedule.with_status("waiting")
    local = how.executor != "slurm" or not left  # the results of what is done are collected anywhere
    count = worker_count(count, local_chips.of_this_machine(), len(left)) if local else 0
    cluster = None if local else slurm_cluster(workdir, how)
    with locks.held(workdir / "lock"), StopSignals() as stop, Table(schedule, count) as table:
        write_atomically(workdir / "sweep.json", json.dumps(sweep.base(), indent=1))
        recorder = record.Recorder(schedule, workdir, how.executor, count)

        def on_tick() -> None:
            recorder.write_changes()
            table.show()

        calls: dict[str, Any] = {
            "stopping": lambda: stop.requested is not None,
            "on_done": lambda job: collect(schedule, workdir),
            "on_tick": on_tick,
        }
        if cluster is None:
            run_here(schedule, workdir, count if left else 0, calls)
        else:
            watch(schedule, workdir, how, cluster).run(**calls)
        recorder.write(ended=True)
        collect(schedule, workdir)
        failed = [dataclasses.asdict(failure) for failure in failures(schedule)]
        write_atomically(workdir / "failures.json", json.dumps(failed, indent=1))
    overhead, seconds = schedule.overhead()
    if seconds:
        print(f"start-up and compilation: {100 * overhead / seconds:.0f} % of {seconds:.0f} s of work")
    print(f"{len(schedule.with_status('found', 'done'))} of {len(schedule.entries)} jobs done: {workdir}")
    if stop.requested is None:
        return "finished"
    print(
        "stopped by a signal; the same command goes on from here"
        if local
        else "stopped by a signal; what SLURM has "
        "queued stays there (scancel ends it), and the same command goes on watching it"
    )
    return "stopped"


def worker_count(asked: int, chips: local_chips.Chips | None, jobs: int) -> int:
    """How many workers: as asked, or one a chip, or on a machine without any one a core.

    Raises:
      UserError: more are asked for than there are chips, and two cannot have one.
    """
    if chips and asked > len(chips.names):
        raise UserError(
            f"--workers={asked} is more than the {len(chips.names)} accelerators of this machine, of which a worker "
            "takes one: give as many or fewer, or leave it out; JAX_PLATFORMS=cpu uses the cores alone"
        )
    most = len(chips.names) if chips else len(available_cores())
    return max(1, min(asked or most, jobs))


def setups(count: int, chips: local_chips.Chips | None) -> list[local_lib.Setup]:
    """Of so many workers; where there are several and chips, each sees one."""
    if chips is None or FLAGS.workers == 1:
        return [SETUP] * count
    return [dataclasses.replace(SETUP, own_environment=chips.alone(i)) for i in range(count)]


def run_here(schedule: Schedule, workdir: Path, count: int, calls: dict[str, Any]) -> None:
    """A job a worker, on this machine."""
    made = setups(count, local_chips.of_this_machine())
    pool = [local_lib.Worker(*one) for one in zip(made, local_lib.core_groups(count), strict=True)] if count else []
    try:
        schedule.run(pool, lambda job: (job, str(workdir)), **calls)
    finally:
        for worker in pool:
            worker.close()


def slurm_cluster(workdir: Path, how: Execution) -> Cluster:
    """Raises UserError where it is not to be had."""
    from pause_jax.sweeps.executors.slurm import Cluster

    return Cluster(workdir, how.slurm)


def watch(schedule: Schedule, workdir: Path, how: Execution, cluster: Cluster) -> Watch:
    """What takes the jobs through SLURM."""
    from launch import run_job as program
    from pause_jax.sweeps.executors.slurm import Watch

    def call(job: Job) -> Any:
        files = (program.write(job, workdir.absolute()), schedule.log_of(job).absolute(), cluster.report_file(job))
        for file in files:
            file.parent.mkdir(parents=True, exist_ok=True)
        return functools.partial(program.on_slurm, *map(str, files))

    return Watch(schedule, cluster, lambda job: how.of(job.size), call, lambda job: is_finished(job, workdir))


def conclude(
    rows: Sequence[Result], failed: Sequence[Failure], folder: Path, title: str, runs: Sequence[Path] = ()
) -> int:
    """Print and write the report of results, of runs that lie in the folders `runs`; the exit code."""
    report = Report.of(run_curves.name_pretraining(rows, runs), title=title, failures=failed)
    page = write_report(report, folder, runs)
    print_report(report)
    print(f"\nreport: {page}")
    return EXIT_JOBS_FAILED if failed else cli.EXIT_DONE


def failures(schedule: Schedule) -> list[Failure]:
    """Jobs that failed, and those that needed them."""
    return [
        Failure(entry.job.name, f"{entry.message} (see {schedule.log_of(entry.job)})")
        for entry in schedule.with_status("failed", "blocked")
    ]


def collect(schedule: Schedule, workdir: Path) -> None:
    """results.csv of all evaluations that are done, in the order of the jobs; of a sweep without any, of the losses."""
    done = [entry.job for entry in schedule.with_status("found", "done")]
    if any(entry.job.evaluation is not None for entry in schedule.entries):
        rows = [row for job in done if job.evaluation for row in read_results(results_of(workdir, job.name))]
    else:
        rows = [row for job in done if not job.config.finetune.task for row in losses_of(workdir, job)]
    write_results(workdir / "results.csv", rows)


@functools.cache  # asked for at the end of each job, of all that are done
def losses_of(workdir: Path, job: Job) -> list[Result]:
    """The last losses of a run that pretrained, on the text that it held out."""
    return evaluate.loss_rows(RunFolder(workdir / "runs" / job.name), job.config, job.size)


def results_of(workdir: Path, evaluation: str) -> Path:
    """Where the rows of the evaluation of this name are kept."""
    return workdir / "results" / f"{evaluation}.csv"


def run_job(task: tuple[Job, str]) -> local_lib.Outcome:
    """One job, in a worker's process."""
    job, workdir = task[0], Path(task[1])
    if job.evaluation is None:
        return "stopped" if train.run(job.config, workdir / "runs" / job.name) == "stopped" else "done"
    asked = job.evaluation
    evaluation = evaluate.evaluate(
        str(workdir / "runs" / job.needs),
        list(asked.tasks),
        list(asked.m_inf),
        splits=asked.splits,
        batch_size=asked.batch_size,
        limit=asked.limit or None,
        model=job.size,
    )
    if processes.index() == 0:
        write_results(results_of(workdir, job.name), evaluation.results)
    return "done"


def write_jobsets(schedule: Schedule, sweep: Sweep, workdir: Path, how: Execution) -> None:
    """WORKDIR/gke/ and the files of the jobs that are left. Raises UserError where a driver is at work."""
    from launch import run_job as program

    template = (Path(__file__).parent / "gke" / "jobset.yaml").read_text(encoding="utf-8")
    left = [_on_slices(entry.job, how.of(entry.job.size)) for entry in schedule.with_status("waiting")]
    with locks.held(workdir / "lock"):
        files = gke.write(
            left, workdir, gke=how.gke, takes=lambda job: how.of(job.size), template=template
        )  # raises before anything else is written
        write_atomically(workdir / "sweep.json", json.dumps(sweep.base(), indent=1))
        for job in left:
            program.write(job, workdir)
        record.Recorder(schedule, workdir, how.executor, 0).write(ended=True)
        collect(schedule, workdir)
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
    from pause_jax.aot import topologies
    from pause_jax.distributed import kernels, memory
    from pause_jax.distributed.mesh import AXES, over_slices

    if job.evaluation is not None:  # one slice answers, each chip with all parameters
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


def show_graph(schedule: Schedule) -> None:
    """The jobs, or where they are many how many each stage has, and their FLOPs."""
    entries = schedule.entries
    if len(entries) <= MOST_JOBS_SHOWN or FLAGS.all_jobs:
        rows = [[e.job.name, e.job.needs or "-", e.status, tables.human_flops(e.flops)] for e in entries]
        tables.print_table("Jobs", ["job", "needs", "status", "model FLOPs"], rows)
    else:
        rows = []
        for kind in dict.fromkeys(entry.kind for entry in entries):
            stage = [entry for entry in entries if entry.kind == kind]
            found = sum(1 for entry in stage if entry.status == "found")
            rows.append([kind, str(len(stage)), str(found), tables.human_flops(sum(e.flops for e in stage))])
        tables.print_table("Jobs (--all_jobs names them)", ["stage", "jobs", "found", "model FLOPs"], rows)
    left = schedule.with_status("waiting")
    print(f"{len(left)} of {len(entries)} jobs to run: {tables.human_flops(sum(e.flops for e in left))} model FLOPs")


def show_costs(schedule: Schedule, how: Execution, workdir: Path) -> None:
    """Device-hours of what is left, and the disk that all of it takes at its end."""
    left = schedule.with_status("waiting")
    hours: dict[str, float] = {}
    unknown = 0.0
    for entry in left:
        name, chip = how.of(entry.job.size).chip, how.chip(entry.job.size)
        if chip is None:
            unknown += entry.flops
        else:
            hours[name] = hours.get(name, 0.0) + costs.device_hours(entry.flops, chip)
    for name, sum_ in hours.items():
        print(f"{name}: {sum_:.3g} device-hours, if {100 * costs.UTILISATION:.0f} % of its peak is reached")
    rate = costs.measured_rate([record.Line.of(entry, "") for entry in schedule.entries])
    if unknown and rate:
        print(f"{format_seconds(unknown / rate)} of one worker, at the {rate:.2e} FLOP/s of the jobs that are done")
    elif unknown and left:
        print("no time is reckoned: config.resources names no chip, and no job is done here that could tell")
    kept = sum(costs.checkpoint_bytes(entry.job) for entry in schedule.entries)
    print(f"disk: {kept / 1e9:.3g} GB of checkpoints that are kept (parameters and Adam's moments, float32)")


class Table:
    """How the jobs stand: redrawn in place on a terminal, elsewhere a line for each change and now and then."""

    def __init__(self, schedule: Schedule, count: int):
        from rich.console import Console
        from rich.live import Live

        self._schedule, self._count = schedule, count
        console = Console()
        self._live = Live(console=console, auto_refresh=False) if console.is_terminal else None
        self._said = {entry.job.name: entry.status for entry in schedule.entries}
        self._said_at = time.monotonic()

    def __enter__(self) -> Table:
        if self._live:
            self._live.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        if self._live:
            self._live.__exit__(*error)

    def show(self) -> None:
        if self._live:
            self._live.update(self._drawn(), refresh=True)
            return
        for entry in self._schedule.entries:
            if self._said[entry.job.name] != entry.status:
                self._said[entry.job.name] = entry.status
                self._print(f"{entry.job.name}: {entry.status} {entry.message}")
        if time.monotonic() - self._said_at >= SECONDS_BETWEEN_LINES:
            for entry in self._schedule.with_status("running"):
                self._print(last_line(self._schedule.log_of(entry.job)) or entry.job.name)

    def _print(self, line: str) -> None:
        print(f"{self._summary()}  {line}".rstrip(), flush=True)
        self._said_at = time.monotonic()

    def _summary(self) -> str:
        done = len(self._schedule.with_status("found", "done"))
        left = self._schedule.seconds_left(self._count or max(1, len(self._schedule.with_status("running"))))
        return f"{done}/{len(self._schedule.entries)}" + (f"  ETA {format_seconds(left)}" if left is not None else "")

    def _drawn(self) -> Any:
        from rich.table import Table as RichTable
        from rich.text import Text  # a string's square brackets would be read as markup

        table = RichTable("job", "status", "last line of its log", title=f"sweep  {self._summary()}", expand=True)
        for entry in self._schedule.with_status("running", "failed", "blocked"):
            line = entry.message or last_line(self._schedule.log_of(entry.job))
            table.add_row(entry.job.name, entry.status, Text(line))
        return table


def last_line(log: Path) -> str:
    """The last line of a file, of 1000 bytes at most; "" where there is none."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, os.path.getsize(log) - 1000))
            return file.read().decode(errors="replace").strip().rpartition("\n")[2]
    except OSError:
        return ""


if __name__ == "__main__":
    cli.config_flag(executor="local")
    cli.include_flag()
    cli.workdir_flag()
    flags.DEFINE_bool("dry_run", False, "show the graph and its cost, run nothing")
    flags.DEFINE_bool("all_jobs", False, f"with --dry_run: name every job, also where there are over {MOST_JOBS_SHOWN}")
    flags.DEFINE_integer(
        "workers",
        0,
        "processes, each with its share of the cores; 0: one a core, or where there are "
        "accelerators one a chip, which it sees alone (1: one that sees all)",
    )
    flags.DEFINE_integer("retries", 1, "how often a job that fails is tried again")
    cli.run(main)

"""Runs one job of a sweep: in a worker's process, in a JobSet's pods, or in the tasks of a SLURM job."""

from __future__ import annotations

import dataclasses
import functools
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

from pause_jax.distributed import processes
from pause_jax.evaluation import run as evaluation
from pause_jax.report.results import write_results
from pause_jax.sweeps import job_files
from pause_jax.sweeps.executors import local
from pause_jax.sweeps.graph import Job
from pause_jax.sweeps.results import results_of
from pause_jax.system import exit_codes, local_chips, process
from pause_jax.system.files import write_atomically
from pause_jax.training import run as training

PRELOAD = ("pause_jax.data.pretraining", "pause_jax.tasks.seqio_examples", "pause_jax.training.loop")
SETUP = local.Setup("pause_jax.sweeps.run_job:run_job", PRELOAD, {"JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.1"})


def setups(count: int, chips: local_chips.Chips | None, *, asked: int) -> list[local.Setup]:
    """The setups of `count` workers: each sees one of the chips, if any; one worker `asked` for alone sees all."""
    if chips is None or asked == 1:
        return [SETUP] * count
    return [dataclasses.replace(SETUP, own_environment=chips.alone(i)) for i in range(count)]


def run_job(task: tuple[Job, str]) -> local.Outcome:
    """Run one job: (job, the sweep's folder)."""
    job, workdir = task[0], Path(task[1])
    if job.evaluation is None:
        return "stopped" if training.run_training(job.config, workdir / "runs" / job.name) == "stopped" else "done"
    evaluated = evaluation.evaluate_run(str(workdir / "runs" / job.depends_on), job.evaluation, model=job.size)
    if processes.index() == 0:
        write_results(results_of(workdir, job.name), evaluated.results)
    return "done"


def on_slurm(file: str, log: str, report: str) -> None:
    """The function that submitit calls in each process of a SLURM job.

    Args:
      file: the job's file.
      log: where process 0 prints to; the others' output stays in submitit's files.
      report: the file into which process 0 writes the job's result and the SLURM job's number.
    """
    # submitit ignores SIGTERM; here it ends the process, except while a run is under way, which has its own handler.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    process.prepare_process()
    os.environ.update(SETUP.environment)
    first, number = os.environ["SLURM_PROCID"] == "0", os.environ["SLURM_JOB_ID"]
    done = local.run_once(functools.partial(_join_and_run, file), Path(log) if first else None)
    if first:
        write_atomically(Path(report), json.dumps({"id": number, **dataclasses.asdict(done)}))
    if done.outcome == "done":
        return
    if done.outcome == "stopped" and first and _state(number) == "RUNNING":  # otherwise requeued already, or cancelled
        subprocess.run(["scontrol", "requeue", number], check=False)  # noqa: S603, S607
    sys.stdout.flush()
    processes.shutdown(exit_codes.EXIT_STOPPED if done.outcome == "stopped" else exit_codes.EXIT_DEFECT)


def _join_and_run(file: str) -> local.Outcome:
    job = job_files.read_job(Path(file))
    with processes.initialize(None, processes.START_TIMEOUT):
        return run_job((job, str(Path(file).parent.parent)))


def _state(number: str) -> str:
    command = ["squeue", "--noheader", f"--jobs={number}", "--format=%T"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()  # noqa: S603

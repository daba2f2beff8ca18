"""One job of a sweep, from its file: what SLURM and JobSets start.

    python -m launch.run_job --job=WORKDIR/jobs/NAME.json

The folder of the file is WORKDIR/jobs; the run, or the evaluation's rows, go where the sweep looks for them. Several
processes are one job, as those of launch.train are one run. Exit codes are those of launch.train.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from absl import flags

from launch import sweep
from pause_jax import config as configs
from pause_jax.checkpointing.run_folder import write_atomically
from pause_jax.command_line import cli
from pause_jax.distributed import processes
from pause_jax.errors import UserError
from pause_jax.sweeps.executors import local
from pause_jax.sweeps.graph import Evaluation, Job

FLAGS = flags.FLAGS


def main(argv: list[str]) -> int:
    if not FLAGS.job:
        raise UserError(f"--job is missing: {FLAGS['job'].help}")
    file = Path(FLAGS.job)
    job = read(file)
    with processes.joined(cli.address(), FLAGS.start_timeout):
        outcome = sweep.run_job((job, str(file.parent.parent)))
    return cli.EXIT_STOPPED if outcome == "stopped" else cli.EXIT_DONE


def write(job: Job, workdir: Path) -> Path:
    """The job's file in `workdir`, which is returned."""
    file = workdir / "jobs" / f"{job.name}.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    fields: dict[str, Any] = {field.name: getattr(job, field.name) for field in dataclasses.fields(Job)}
    fields["config"] = configs.to_dict(job.config)
    fields["evaluation"] = job.evaluation and dataclasses.asdict(job.evaluation)
    write_atomically(file, json.dumps(fields, indent=1))
    return file


def read(file: Path) -> Job:
    """What `write` wrote. Raises UserError where it did not."""
    try:
        fields = json.loads(file.read_text(encoding="utf-8"))
        asked = fields["evaluation"]
        if asked is not None:
            values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in asked.items()}
            asked = Evaluation(**values)
        return Job(**fields | {"config": configs.from_recorded(fields["config"]), "evaluation": asked})
    except OSError as error:
        raise UserError(f"--job={file} cannot be read ({error.strerror}): launch.sweep writes such files") from None
    except (ValueError, KeyError, TypeError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"--job={file} is no job of a sweep ({error}): launch.sweep writes such files") from None


def on_slurm(file: str, log: str, report: str) -> None:
    """What submitit calls, in each process of a SLURM job.

    Args:
      file: the job's.
      log: where process 0 prints to; the others' output stays in submitit's files.
      report: the file in which process 0 leaves what became of the job, and under which number of SLURM's.
    """
    # submitit ignores SIGTERM; between the stages of a job it is to end it, and a run under way has its own handler.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    cli.prepare_process()
    os.environ.update(sweep.SETUP.environment)
    first, number = os.environ["SLURM_PROCID"] == "0", os.environ["SLURM_JOB_ID"]
    done = local.run_once(functools.partial(_join_and_run, file), Path(log) if first else None)
    if first:
        write_atomically(Path(report), json.dumps({"id": number, **dataclasses.asdict(done)}))
    if done.outcome == "done":
        return
    if done.outcome == "stopped" and first and _state(number) == "RUNNING":  # otherwise requeued already, or cancelled
        subprocess.run(["scontrol", "requeue", number], check=False)  # noqa: S603, S607
    sys.stdout.flush()
    processes.leave(cli.EXIT_STOPPED if done.outcome == "stopped" else cli.EXIT_DEFECT)


def _join_and_run(file: str) -> local.Outcome:
    job = read(Path(file))
    with processes.joined(None, cli.START_TIMEOUT):
        return sweep.run_job((job, str(Path(file).parent.parent)))


def _state(number: str) -> str:
    command = ["squeue", "--noheader", f"--jobs={number}", "--format=%T"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()  # noqa: S603


if __name__ == "__main__":
    cli.path_flag("job", None, "the job's file, WORKDIR/jobs/NAME.json, which launch.sweep has written")
    cli.process_flags()
    cli.run(main)

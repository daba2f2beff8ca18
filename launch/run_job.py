"""Run one job of a sweep, from its file, as SLURM and JobSets start it.

    python -m launch.run_job --job=WORKDIR/jobs/NAME.json

The folder of the file is WORKDIR/jobs; the run, or the evaluation's rows, go where the sweep looks for them. Several
processes are one job, as those of launch.train are one run. Exit codes are those of launch.train.
"""

from __future__ import annotations

from pathlib import Path

from absl import flags

from pause_jax.command_line import cli
from pause_jax.distributed import processes
from pause_jax.sweeps import job_files, run_job

FLAGS = flags.FLAGS


def main(argv: list[str]) -> int:
    cli.check_given("job")
    file = Path(FLAGS.job)
    job = job_files.read_job(file)
    with processes.initialize(cli.address(), FLAGS.start_timeout):
        outcome = run_job.run_job((job, str(file.parent.parent)))
    return cli.EXIT_STOPPED if outcome == "stopped" else cli.EXIT_DONE


if __name__ == "__main__":
    cli.path_flag("job", None, "the job's file, WORKDIR/jobs/NAME.json, which launch.sweep has written")
    cli.process_flags()
    cli.run(main)

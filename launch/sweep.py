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

from pathlib import Path
from typing import Any

from absl import flags

from pause_jax.command_line import cli, flag_errors, installed
from pause_jax.errors import UserError
from pause_jax.sweeps import driver, execution, graph, results, table, verdicts

FLAGS = flags.FLAGS
EXIT_JOBS_FAILED = 1
JOBSET = Path(__file__).parent / "gke" / "jobset.yaml"


def main(argv: list[str]) -> int:
    workdir = cli.workdir()
    if FLAGS.workers < 0 or FLAGS.retries < 0:
        raise UserError(f"--workers={FLAGS.workers} and --retries={FLAGS.retries} must not be negative")
    flag: Any = FLAGS["config"]
    if not flag.present:
        raise UserError("--config is missing: give a sweep, such as --config=experiments/sweeps/two_by_two.py")
    sweep = graph.parse(flag_errors.as_dict(FLAGS.config, flag.config_filename))
    how = execution.parse(sweep.execution, sweep.sizes)
    schedule = driver.make_schedule(sweep, workdir, how, retries=FLAGS.retries)
    if FLAGS.dry_run:
        table.show_graph(schedule, all_jobs=FLAGS.all_jobs)
        table.show_costs(schedule, how)
        print(verdicts.sentence([entry.job for entry in schedule.entries]) or "nothing to compare: no verdicts")
        return cli.EXIT_DONE
    if how.executor == "gke" and schedule.with_status("waiting"):
        driver.write_jobsets(schedule, sweep, workdir, how, template=JOBSET.read_text(encoding="utf-8"))
        return cli.EXIT_DONE
    if driver.run_sweep(schedule, sweep, workdir, how, FLAGS.workers) == "stopped":
        return cli.EXIT_STOPPED
    failures = results.conclude(schedule, workdir)
    if FLAGS.demonstration and not failures:
        command = f"python -m pause_jax sweep --config={installed.shorten(flag.config_filename)} --workdir={workdir}"
        results.write_demonstration(Path(FLAGS.demonstration), workdir, command=command)
    return EXIT_JOBS_FAILED if failures else cli.EXIT_DONE


if __name__ == "__main__":
    cli.config_flag(executor="local")
    cli.include_flag()
    cli.workdir_flag()
    flags.DEFINE_bool("dry_run", False, "show the graph and its cost, run nothing")
    flags.DEFINE_bool("all_jobs", False, f"with --dry_run: name every job, also of over {table.MOST_JOBS_SHOWN}")
    flags.DEFINE_integer(
        "workers",
        0,
        "processes, each with its share of the cores; 0: one a core, or where there are "
        "accelerators one a chip, which it sees alone (1: one that sees all)",
    )
    flags.DEFINE_integer("retries", 1, "how often a job that fails is tried again")
    cli.path_flag("demonstration", "", "at the end, of a sweep of its arms, a JSON file (report/demonstration.py)")
    cli.run(main)

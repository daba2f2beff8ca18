"""Evaluate a run on tasks, with any number of pauses at inference.

    python -m launch.evaluate --run=runs/mine --tasks=count_parity_24 --m_inf=0,2,5,10 --out=results.csv

Every M_inf is evaluated from one restored checkpoint. Answers are decoded greedily; where a task has options they are
scored by likelihood too. Rows are added to the CSV (the same ones are replaced); each answer is kept in
RUN/predictions/STEP/ as it comes, and the same command, started again, goes on from there. --tasks=all are the official
ones whose files are in the data directory. Select checkpoints and M on --split=validation, a part of the training
data. Several processes share the work as those of launch.train do, each started with this same command.
"""

from __future__ import annotations

from pathlib import Path

from absl import flags

from pause_jax.command_line import cli
from pause_jax.distributed import processes
from pause_jax.errors import UserError
from pause_jax.evaluation import run
from pause_jax.evaluation.spec import EvaluationSpec, parse_m_inf

FLAGS = flags.FLAGS
# Flags that must be the same in all processes.
SHARED = ("run", "step", "tasks", "m_inf", "split", "batch_size", "limit", "history", "mesh")


def main(argv: list[str]) -> int:
    cli.check_given("run", "tasks", "out")
    if FLAGS.batch_size < 1:
        raise UserError(f"--batch_size={FLAGS.batch_size} is too small: give 1 or more")
    if FLAGS.limit is not None and FLAGS.limit < 1:
        raise UserError(f"--limit={FLAGS.limit} leaves nothing to evaluate: give 1 or more")
    spec = EvaluationSpec(
        tasks=tuple(FLAGS.tasks),
        m_inf=parse_m_inf(FLAGS.m_inf),
        splits=tuple(FLAGS.split),
        limit=FLAGS.limit or 0,
        batch_size=FLAGS.batch_size,
    )
    how = run.Options(data_dir=FLAGS.data_dir, history=FLAGS.history, mesh=cli.parse_mesh(FLAGS.mesh))
    checkpoint = f"{FLAGS.run.rstrip('/')}/checkpoints/{FLAGS.step}" if FLAGS.step is not None else FLAGS.run
    out = Path(FLAGS.out)
    run.check_results_file(out)
    with processes.initialize(cli.address(), FLAGS.start_timeout):
        run.assert_same_command({f"--{name}": FLAGS[name].value for name in SHARED})
        run.evaluate_and_write(checkpoint, spec, how, out)
    return cli.EXIT_DONE


if __name__ == "__main__":
    cli.include_flag()
    cli.path_flag("run", None, "a run's folder (its newest checkpoint), or RUN/checkpoints/STEP")
    flags.DEFINE_integer("step", None, "another checkpoint of the run than its newest")
    flags.DEFINE_list("tasks", None, "names of tasks, such as count_parity_24,recall_8,gsm8k; or all")
    flags.DEFINE_string("m_inf", "0", "numbers of pauses after the prompt, such as 0,2,5,10")
    cli.path_flag("out", None, "the CSV file to add rows to, such as results.csv")
    flags.DEFINE_list(
        "split", "test", "of the tasks: train, validation (a part of the training data), test, or several"
    )
    flags.DEFINE_integer("batch_size", 64, "examples at a time; the numbers do not depend on it, but for rounding")
    flags.DEFINE_string(
        "mesh",
        "",
        "how the devices are used, such as fsdp=4,tensor=2; without it each has all parameters, its own rows",
    )
    flags.DEFINE_enum(
        "history", "gold", ["gold", "predicted"], "whose earlier answers the prompts of a conversation hold"
    )
    cli.path_flag("data_dir", None, "where tasks find their official files; without it where the run's config says")
    flags.DEFINE_integer("limit", None, "evaluate the first so many examples only")
    cli.process_flags()
    cli.run(main)

"""Look at what a run does with its pauses: answers that they change, attention, and where the answer forms.

    python -m launch.diagnose --run=runs/time_to_think/24 --task=count_parity_24 --m_inf=24 --out=diagnosis

The examples are answered without pauses and with M_inf of them (answers that launch.evaluate has kept beside the run
are used); attention and the predictions of every layer are measured on the first --examples of them. The folder gets
diagnosis.html, one self-contained page, with its pictures and CSV files beside it: docs/diagnostics.md says what each
figure is.
"""

from __future__ import annotations

from pathlib import Path

from absl import flags

from pause_jax.command_line import cli
from pause_jax.diagnostics import run
from pause_jax.errors import UserError

FLAGS = flags.FLAGS


def main(argv: list[str]) -> int:
    cli.check_given("run", "task", "out")
    if FLAGS.m_inf is None or FLAGS.m_inf < 1:
        given = " is missing" if FLAGS.m_inf is None else f"={FLAGS.m_inf} leaves no pauses to look at"
        raise UserError(f"--m_inf{given}: give 1 or more; answers with them are compared with those without any")
    if FLAGS.examples < 1:
        raise UserError(f"--examples={FLAGS.examples} leaves nothing to look at: give 1 or more")
    out = Path(FLAGS.out)
    run.check_folder(out)
    findings = run.diagnose(
        FLAGS.run, FLAGS.task, FLAGS.m_inf, split=FLAGS.split, examples=FLAGS.examples, data_dir=FLAGS.data_dir
    )
    run.write(findings, out)
    return cli.EXIT_DONE


if __name__ == "__main__":
    cli.include_flag()
    cli.path_flag("run", None, "a run's folder (its newest checkpoint), or RUN/checkpoints/STEP")
    flags.DEFINE_string("task", None, "name of a task whose answers are written, such as count_parity_24 or gsm8k")
    flags.DEFINE_integer("m_inf", None, "number of pauses, 1 or more")
    cli.path_flag("out", None, "the folder to write the page, its pictures and CSV files into")
    flags.DEFINE_integer("examples", 64, "look at the first so many examples")
    flags.DEFINE_string("split", "test", "of the task: train, validation (a part of the training data) or test")
    cli.path_flag("data_dir", None, "where the task finds its official files; without it where the run's config says")
    cli.run(main)

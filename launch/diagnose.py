"""Look at what a run does with its pauses: answers that they change, attention, and where the answer forms.

    python -m launch.diagnose --run=runs/time_to_think/24 --task=count_parity_24 --m_inf=24 --out=diagnosis

The examples are answered without pauses and with M_inf of them (answers that launch.evaluate has kept beside the run
are used); attention and the predictions of every layer are measured on the first --examples of them. The folder gets
diagnosis.html, one self-contained page, with its pictures and CSV files beside it: docs/diagnostics.md says what each
figure is.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from absl import flags

from launch import evaluate
from pause_jax.command_line import cli
from pause_jax.errors import UserError
from pause_jax.logging.progress import Progress
from pause_jax.report.results import check_writable
from pause_jax.system import native_stderr

if TYPE_CHECKING:  # JAX is imported after the flags
    from pause_jax.diagnostics.findings import Findings
    from pause_jax.diagnostics.flips import Flips
    from pause_jax.inference.restored import RestoredRun
    from pause_jax.tasks.examples import TaskExamples

BATCH_SIZE = 64  # examples answered at a time
FLAGS = flags.FLAGS


def main(argv: list[str]) -> int:
    for name in ("run", "task", "out"):
        if not FLAGS[name].value:
            raise UserError(f"--{name} is missing: {FLAGS[name].help}")
    if FLAGS.m_inf is None or FLAGS.m_inf < 1:
        given = " is missing" if FLAGS.m_inf is None else f"={FLAGS.m_inf} leaves no pauses to look at"
        raise UserError(f"--m_inf{given}: give 1 or more; answers with them are compared with those without any")
    if FLAGS.examples < 1:
        raise UserError(f"--examples={FLAGS.examples} leaves nothing to look at: give 1 or more")
    out = Path(FLAGS.out)
    if out.exists() and not out.is_dir():
        raise UserError(f"--out={out} is a file: give a folder")
    check_writable(out / "diagnosis.html", f"--out={out}")
    findings = diagnose(
        FLAGS.run, FLAGS.task, FLAGS.m_inf, split=FLAGS.split, examples=FLAGS.examples, data_dir=FLAGS.data_dir
    )
    from pause_jax.diagnostics import page

    file = page.write_page(findings, out)
    print("\n".join([*page.summary(findings), f"page: {file}"]))
    return cli.EXIT_DONE


def diagnose(
    run_or_checkpoint: str,
    task: str,
    m_inf: int,
    *,
    split: str = "test",
    examples: int = 64,
    data_dir: str | None = None,
) -> Findings:
    """What the run does with `m_inf` pauses on a task. Answers that are not there yet are kept as by evaluation.

    Args:
      examples: how many the layers are measured on; as many are answered where there are no answers to all.
      data_dir: as of `evaluate.evaluate`.

    Raises:
      UserError: no such run, task or split, a run without pauses, a task without written answers, or more positions
        than the model has learned; found before anything is computed.
    """
    with native_stderr.hidden():
        from pause_jax.data import finetuning
        from pause_jax.tasks import seqio_examples
        from pause_jax.tokenizers import vocabularies
    from pause_jax.diagnostics.context import position_names, read_context
    from pause_jax.diagnostics.findings import Findings
    from pause_jax.diagnostics.measure import measure
    from pause_jax.evaluation import evaluator
    from pause_jax.inference.restored import RestoredRun
    from pause_jax.tokenizers import tokenizer

    run = RestoredRun.restore(run_or_checkpoint)
    config = run.config
    if not config.pauses.num_pause_tokens and config.finetune.placement != "filler":
        raise UserError(
            f"the model of {run.folder.path} has no pauses: there is nothing to diagnose; give a run with "
            "config.pauses.num_pause_tokens of 1 or more"
        )
    vocabulary = config.data.vocabulary
    data_dir = config.data.data_dir if data_dir is None else data_dir
    whole = seqio_examples.read_examples(task, vocabulary=vocabulary, split=split, data_dir=data_dir)
    if not whole.predict_metrics:
        raise UserError(
            f"task {task!r} is answered by the likelihood of given options, none is written: give a task "
            "whose answers are written"
        )
    evaluator.check(run, whole, [m_inf])
    count = min(examples, len(whole.ids))
    first = seqio_examples.read_examples(task, vocabulary=vocabulary, split=split, data_dir=data_dir, limit=count)
    filler = finetuning.filler_id(config.finetune.filler, vocabularies.load(vocabulary))
    words = tokenizer.load(vocabulary)
    tokens = [[*words.encode(reference), words.eos_id][0] for reference in first.references]
    with Progress(f"diagnose {run.folder.name}", 3 * count, unit="examples") as progress:
        flips = find_flips(run, whole, first, m_inf, filler, progress)
        measured = measure(
            run.params,
            config,
            read_context(config, first.prompts, m_inf, filler=filler),
            tokens,
            done=lambda number: progress.update(2 * count + number, {"now": "layer by layer"}),
        )
    return Findings(
        checkpoint=f"{run.folder.name}/checkpoints/{run.step}",
        task=task,
        split=split,
        m_inf=m_inf,
        m_ft=config.finetune.m_ft if config.finetune.task else (),
        placement=config.finetune.placement,
        attention=run.attention,
        flips=flips,
        measured=measured,
        positions=position_names(config.finetune.placement, m_inf),
        first_tokens=[words.decode([t]) for t in tokens],
    )


def find_flips(
    run: RestoredRun, whole: TaskExamples, first: TaskExamples, m_inf: int, filler: int, progress: Progress
) -> Flips:
    """Without pauses against `m_inf` of them: over all examples where all have been answered, else over the first."""
    from pause_jax.diagnostics import flips
    from pause_jax.evaluation import evaluator
    from pause_jax.tokenizers import tokenizer

    m_infs: Sequence[int] = (0, m_inf)
    kept = evaluate.prediction_files(run, whole, m_infs)
    if any(i not in kept[m].records for m in m_infs for i in whole.ids):
        kept = evaluate.prediction_files(run, first, m_infs)
        done = evaluate.counter(progress, sum(len(file.records) for file in kept.values()))
        words = tokenizer.load(run.config.data.vocabulary)
        outcomes = evaluator.evaluate(
            run, first, m_infs, tokenizer=words, filler=filler, batch_size=BATCH_SIZE, kept=kept, done=done(first.name)
        )
        return flips.compare(*(outcome.predictions for outcome in outcomes))
    return flips.compare(*([kept[m].records[i] for i in whole.ids] for m in m_infs))


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

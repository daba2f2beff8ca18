"""Diagnoses a run's pauses on a task: answers that they flip, attention, the logit lens; and writes the page."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pause_jax import extras
from pause_jax.errors import UserError
from pause_jax.evaluation import run as evaluation
from pause_jax.logging.progress import Progress
from pause_jax.system.files import check_writable
from pause_jax.system.native_stderr import suppress_native_stderr

if TYPE_CHECKING:  # JAX is imported once the command is known to be right
    from pause_jax.diagnostics.findings import Findings
    from pause_jax.diagnostics.flips import Flips
    from pause_jax.inference.restored import RestoredRun
    from pause_jax.tasks.examples import TaskExamples

BATCH_SIZE = 64  # examples answered at a time


def check_folder(out: Path) -> None:
    """Raises UserError where the page cannot be written into the folder `out`, or what draws it is missing."""
    extras.require("report")
    if out.exists() and not out.is_dir():
        raise UserError(f"--out={out} is a file: give a folder")
    check_writable(out / "diagnosis.html", f"--out={out}")


def write(findings: Findings, out: Path) -> None:
    """Write the page, its pictures and CSV files into `out`; print the summary."""
    from pause_jax.diagnostics import page

    file = page.write_page(findings, out)
    print("\n".join([*page.summary(findings), f"page: {file}"]))


def diagnose(
    run_or_checkpoint: str,
    task: str,
    m_inf: int,
    *,
    split: str = "test",
    examples: int = 64,
    data_dir: str | None = None,
) -> Findings:
    """The findings on the run with `m_inf` pauses on a task. Answers are kept and reused as in evaluation.

    Args:
      examples: how many examples the layers are measured on; flips are over these, too, unless all examples have
        been answered.
      data_dir: where official files lie; None: where the run's config says.

    Raises:
      UserError: no such run, task or split, a run without pauses, a task without written answers, or more positions
        than the model has learned; found before anything is computed.
    """
    with suppress_native_stderr():
        from pause_jax.data import finetuning
        from pause_jax.tokenizers import vocabularies
    from pause_jax.diagnostics.context import marked_rows, position_names
    from pause_jax.diagnostics.findings import Findings
    from pause_jax.diagnostics.measure import measure
    from pause_jax.evaluation import evaluator
    from pause_jax.inference.restored import RestoredRun
    from pause_jax.tokenizers import tokenizer

    run = RestoredRun.restore(run_or_checkpoint)
    config = run.config
    _check_has_pauses(run)
    whole, first = _read_examples(run, task, split, examples, data_dir)
    evaluator.check_examples(run, whole, [m_inf])
    count, words = len(first.ids), tokenizer.load(config.data.vocabulary)
    filler = finetuning.filler_id(config.finetune.filler, vocabularies.load(config.data.vocabulary))
    tokens = [[*words.encode(reference), words.eos_id][0] for reference in first.references]
    with Progress(f"diagnose {run.folder.name}", 3 * count, unit="examples") as progress:
        flips = find_flips(run, whole, first, m_inf, filler, progress)
        measured = measure(
            run.params,
            config,
            marked_rows(config, first.prompts, m_inf, filler=filler),
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


def _read_examples(
    run: RestoredRun, task: str, split: str, examples: int, data_dir: str | None
) -> tuple[TaskExamples, TaskExamples]:
    """All examples of the split, and the first `examples`. Raises UserError for a task without generated answers."""
    with suppress_native_stderr():
        from pause_jax.tasks import seqio_examples

    data = run.config.data
    folder = data.data_dir if data_dir is None else data_dir
    read = functools.partial(
        seqio_examples.read_examples, task, vocabulary=data.vocabulary, split=split, data_dir=folder
    )
    whole = read()
    if not whole.predict_metrics:
        raise UserError(
            f"task {task!r} is answered by the likelihood of given options, none is written: give a task "
            "whose answers are written"
        )
    return whole, read(limit=min(examples, len(whole.ids)))


def _check_has_pauses(run: RestoredRun) -> None:
    if not run.config.model.num_pause_tokens and run.config.finetune.placement != "filler":
        raise UserError(
            f"the model of {run.folder.path} has no pauses: there is nothing to diagnose; give a run with "
            "config.model.num_pause_tokens of 1 or more"
        )


def find_flips(
    run: RestoredRun, whole: TaskExamples, first: TaskExamples, m_inf: int, filler: int, progress: Progress
) -> Flips:
    """Flips between no pauses and `m_inf`: over all examples where all have been answered, else over the first."""
    from pause_jax.diagnostics import flips
    from pause_jax.evaluation import evaluator
    from pause_jax.tokenizers import tokenizer

    m_infs: Sequence[int] = (0, m_inf)
    kept = evaluation.prediction_files(run, whole, m_infs)
    if any(i not in kept[m].records for m in m_infs for i in whole.ids):
        kept = evaluation.prediction_files(run, first, m_infs)
        done = evaluation.counter(progress, sum(len(file.records) for file in kept.values()))
        words = tokenizer.load(run.config.data.vocabulary)
        outcomes = evaluator.evaluate(
            run, first, m_infs, tokenizer=words, filler=filler, batch_size=BATCH_SIZE, kept=kept, done=done(first.name)
        )
        return flips.compare(*(outcome.predictions for outcome in outcomes))
    return flips.compare(*([kept[m].records[i] for i in whole.ids] for m in m_infs))

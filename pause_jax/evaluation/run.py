"""An evaluation, from its spec to rows of results: all M_inf from one restored checkpoint, answers kept."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pause_jax.config import Config, MeshConfig
from pause_jax.distributed import processes
from pause_jax.errors import UserError
from pause_jax.evaluation import rows
from pause_jax.evaluation.spec import EvaluationSpec
from pause_jax.logging.progress import Progress
from pause_jax.report import tables
from pause_jax.report.results import Result, add_results, read_results
from pause_jax.system import code_version
from pause_jax.system.files import check_writable
from pause_jax.system.native_stderr import suppress_native_stderr

if TYPE_CHECKING:  # JAX is imported once the command is known to be right
    from pause_jax.evaluation.predictions import PredictionFile
    from pause_jax.inference.restored import RestoredRun
    from pause_jax.tasks.examples import TaskExamples
    from pause_jax.tasks.seqio_examples import History

ALL = ("all",)


@dataclasses.dataclass(frozen=True)
class Options:
    """How an evaluation is carried out on this machine."""

    data_dir: str | None = None  # where official files lie; None: where the run's config says
    history: History = "gold"  # earlier answers that prompts of a conversation hold: the data's or "predicted" ones
    mesh: MeshConfig | None = None  # of `RestoredRun.restore`


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """The results of all tasks and M_inf."""

    results: list[Result]
    truncated: Mapping[tuple[str, str, int], int]  # (task, split, M_inf) → prompts that lost their beginning


def check_results_file(out: Path) -> None:
    """Raises UserError, before any work, where `out` is a file of other columns, to which no rows can be added."""
    if out.exists():
        read_results(out)


def assert_same_command(flags: Mapping[str, Any]) -> None:
    """Raises UserError, in all processes, where one was started with other flags or another version of the code."""
    processes.assert_equal_across_processes({**flags, "the code's version": code_version.code_version()})


def evaluate_and_write(run_or_checkpoint: str, spec: EvaluationSpec, how: Options, out: Path) -> None:
    """Evaluate a run, add the rows to the CSV `out` and print them. Of several processes the first one writes.

    Raises:
      UserError: as `evaluate_run`, or `out` cannot be written.
      KeyboardInterrupt: with a sentence on what is kept.
    """
    from pause_jax.checkpointing import checkpoints

    if processes.index() == 0:
        check_writable(out, f"--out={out}")
    try:
        evaluation = evaluate_run(run_or_checkpoint, spec, how)
    except KeyboardInterrupt:
        raise KeyboardInterrupt("answers given so far are kept beside the run: the same command goes on") from None
    if processes.index() == 0:
        add_results(out, evaluation.results)
        show(evaluation)
        print(f"rows: {out}\nanswers: {checkpoints.locate(run_or_checkpoint)[0].path / 'predictions'}")


def evaluate_run(
    run_or_checkpoint: str, spec: EvaluationSpec, how: Options | None = None, *, model: str = ""
) -> Evaluation:
    """Rows of every split, task, M_inf and metric; keeps answers beside the run, and reuses those that are there.

    Args:
      model: the rows' `model`; the number of parameters where it is empty.

    Raises:
      UserError: no such run, task or split, M_inf without pauses in the model, a prompt beyond the model's positions,
        or answers of another evaluation in their place; found before anything is evaluated.
    """
    how = how or Options()
    m_inf = spec.m_inf
    with suppress_native_stderr():
        from pause_jax.data import finetuning
        from pause_jax.tokenizers import vocabularies
    from pause_jax.evaluation import evaluator
    from pause_jax.inference.restored import RestoredRun
    from pause_jax.tokenizers import tokenizer

    say = functools.partial(print, flush=True) if processes.index() == 0 else lambda *parts: None
    say(f"restore {run_or_checkpoint}")
    run = RestoredRun.restore(run_or_checkpoint, how.mesh)
    config = run.config
    check_m_inf(run, m_inf)
    say(f"restored step {run.step}; read the examples of {', '.join(spec.tasks)}")
    sets = _read_examples(spec, how, config)
    processes.assert_equal_across_processes({f"the {e.split} examples of {e.name}": e.fingerprint() for e in sets})
    for examples in sets:
        evaluator.check_examples(run, examples, m_inf)
    vocabulary = config.data.vocabulary
    files = [prediction_files(run, examples, m_inf) for examples in sets]
    filler = finetuning.filler_id(config.finetune.filler, vocabularies.load(vocabulary))
    model = model or rows.size_of(config)
    results: list[Result] = []
    truncated: dict[tuple[str, str, int], int] = {}
    total = len(m_inf) * sum(len(examples.ids) for examples in sets)
    with Progress(f"evaluate {run.folder.name}", total, unit="examples", shown=processes.index() == 0) as progress:
        done = counter(progress, sum(len(file.records) for kept in files for file in kept.values()))
        for examples, kept in zip(sets, files, strict=True):
            outcomes = evaluator.evaluate(
                run,
                examples,
                m_inf,
                tokenizer=tokenizer.load(vocabulary),
                filler=filler,
                batch_size=spec.batch_size,
                kept=kept,
                done=done(examples.name),
            )
            for m, outcome in zip(m_inf, outcomes, strict=True):
                results += rows.result_rows(run, examples, m, outcome, model)
                truncated[examples.name, examples.split, m] = outcome.truncated
    return Evaluation(results, truncated)


def _read_examples(spec: EvaluationSpec, how: Options, config: Config) -> list[TaskExamples]:
    """The examples of each split and task, in this order."""
    with suppress_native_stderr():
        from pause_jax.tasks import seqio_examples

    data_dir = config.data.data_dir if how.data_dir is None else how.data_dir
    return [
        seqio_examples.read_examples(
            name,
            vocabulary=config.data.vocabulary,
            split=split,
            data_dir=data_dir,
            limit=spec.limit or None,
            history=how.history,
        )
        for split in spec.splits
        for name in (official_tasks(split, data_dir) if spec.tasks == ALL else spec.tasks)
    ]


def check_m_inf(run: RestoredRun, m_inf: Sequence[int]) -> None:
    """Raises UserError where the model has no pauses; prints a note where each M_inf reads the prompts anew."""
    finetune = run.config.finetune
    if max(m_inf) and not run.config.model.num_pause_tokens and finetune.placement != "filler":
        raise UserError(
            f"--m_inf={max(m_inf)} gives pauses to a model that has none: evaluate {run.folder.path} at --m_inf=0"
        )
    if len(m_inf) > 1 and not run.shares_prompts and processes.index() == 0:
        print(
            f"prompts are read anew for each M_inf: with attention {run.attention}, placement {finetune.placement}, "
            "what a prompt is read as depends on its pauses"
        )


def official_tasks(split: str, data_dir: str) -> list[str]:
    """Official tasks whose files are there; prints which are not. Raises UserError where none is."""
    from pause_jax.tasks import seqio_examples

    there, missing = seqio_examples.at_hand(split, data_dir)
    if not there:
        raise UserError(
            f"--tasks=all finds no official file for split {split!r} in {data_dir or 'no data directory'}: set "
            "--data_dir to the folder that has them, or name tasks that need none"
        )
    if missing and processes.index() == 0:
        print(f"not evaluated, as their files for split {split!r} are not in {data_dir}: {', '.join(missing)}")
    return there


def prediction_files(run: RestoredRun, examples: TaskExamples, m_inf: Sequence[int]) -> dict[int, PredictionFile]:
    """For each M_inf, the file of its answers, with those that are already there."""
    from pause_jax.evaluation import evaluator
    from pause_jax.evaluation.predictions import PredictionFile

    about = {
        "run": run.folder.identity(),
        "step": run.step,
        "task": examples.name,
        "split": examples.split,
        "data": examples.fingerprint(),
        "history": "predicted" if examples.render else "gold",
        "max_new_tokens": evaluator.new_tokens_at_most(run),
    }
    folder, code = run.folder.path / "predictions" / str(run.step), code_version.code_version()
    if processes.index() == 0:
        check_writable(folder / "answers", f"the answers beside the run, in {folder},")
    files = {
        m: PredictionFile(
            folder / f"{examples.label}.m{m}.jsonl", {**about, "m_inf": m}, code=code, writes=processes.index() == 0
        )
        for m in m_inf
    }
    processes.assert_equal_across_processes({})  # all have read them, and the first may write
    return files


def counter(progress: Progress, found: int) -> Callable[[str], Callable[[int, int], None]]:
    """(task's name) → the `done` of `evaluator.evaluate`, which counts answers in the progress line from `found` on."""
    count = found
    if found:
        progress.update(found, {"from before": f"{found:,}"})

    def of_task(name: str) -> Callable[[int, int], None]:
        def done(m_inf: int, answered: int) -> None:
            nonlocal count
            count += answered
            progress.update(count, {"task": f"{name}, M_inf {m_inf}"})

        return done

    return of_task


def show(evaluation: Evaluation) -> None:
    """Print a line for each task, M_inf and metric."""
    columns = ["task", "split", "M_ft", "M_inf", "metric", "value", "examples", "cut prompts", "FLOPs an example"]
    results = evaluation.results
    lines = [
        [
            r.task,
            r.split,
            r.m_ft,
            str(r.m_inf),
            r.metric,
            f"{r.value:.2f}",
            str(r.n_examples),
            str(evaluation.truncated[r.task, r.split, r.m_inf]),
            f"{r.inference_flops:.3g}",
        ]
        for r in results
    ]
    tables.print_table(f"{results[0].checkpoint}, {results[0].model} parameters", columns, lines)
    if any(result.has_untrained_pauses for result in results):
        print("no stage of its training had pauses: what it answers after some (M_inf over 0) means nothing")
    if any(evaluation.truncated.values()):
        print("cut prompts were longer than the run's config.finetune.max_prompt_length and lost their beginning")

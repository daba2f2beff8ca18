"""Evaluate a run on tasks, with any number of pauses at inference.

    python -m launch.evaluate --run=runs/mine --tasks=count_parity_24 --m_inf=0,2,5,10 --out=results.csv

Every M_inf is evaluated from one restored checkpoint. Answers are decoded greedily; where a task has options they are
scored by likelihood too. Rows are added to the CSV (the same ones are replaced); each answer is kept in
RUN/predictions/STEP/ as it comes, and the same command, started again, goes on from there. --tasks=all are the official
ones whose files are in the data directory. Choose what you choose (checkpoint, M) on --split=validation, a part of the
training data. Several processes share the work as those of launch.train do, each started with this same command.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from absl import flags

from pause_jax.checkpointing import history
from pause_jax.checkpointing.run_folder import RunFolder
from pause_jax.command_line import cli
from pause_jax.config import Config, MeshConfig
from pause_jax.distributed import processes
from pause_jax.errors import UserError
from pause_jax.logging.progress import Progress
from pause_jax.logging.writers import read_jsonl
from pause_jax.report import tables
from pause_jax.report.results import LOSSES, Result, add_results, check_writable, read_results
from pause_jax.system import native_stderr

if TYPE_CHECKING:  # JAX is imported after the flags
    from pause_jax.tasks.evaluation import History

    from pause_jax.evaluation.evaluator import Outcome
    from pause_jax.evaluation.predictions import PredictionFile
    from pause_jax.inference.restored import RestoredRun
    from pause_jax.tasks.examples import TaskExamples

ALL = ["all"]
FLAGS = flags.FLAGS


class Evaluation(NamedTuple):
    """What all tasks and M_inf gave."""

    results: list[Result]
    truncated: Mapping[tuple[str, str, int], int]  # (task, split, M_inf) → prompts that lost their beginning


def main(argv: list[str]) -> int:
    for name in ("run", "tasks", "out"):
        if not FLAGS[name].value:
            raise UserError(f"--{name} is missing: {FLAGS[name].help}")
    if FLAGS.batch_size < 1:
        raise UserError(f"--batch_size={FLAGS.batch_size} is too small: give 1 or more")
    if FLAGS.limit is not None and FLAGS.limit < 1:
        raise UserError(f"--limit={FLAGS.limit} leaves nothing to evaluate: give 1 or more")
    m_inf, mesh, out = parse_m_inf(FLAGS.m_inf), cli.parse_mesh(FLAGS.mesh), Path(FLAGS.out)
    if out.exists():
        read_results(out)  # before the work: rows could not be added to a file of other columns
    with processes.joined(cli.address(), FLAGS.start_timeout):
        asked = ("run", "step", "tasks", "m_inf", "split", "batch_size", "limit", "history", "mesh")
        processes.agree(
            {**{f"--{name}": FLAGS[name].value for name in asked}, "the code's version": cli.code_version()}
        )
        try:
            _evaluate_and_write(m_inf, mesh, out)
        except KeyboardInterrupt:
            raise KeyboardInterrupt("answers given so far are kept beside the run: the same command goes on") from None
    return cli.EXIT_DONE


def _evaluate_and_write(m_inf: list[int], mesh: MeshConfig, out: Path) -> None:
    """What the flags ask for. Of several processes the first one writes."""
    from pause_jax.checkpointing import checkpoints

    run = f"{FLAGS.run.rstrip('/')}/checkpoints/{FLAGS.step}" if FLAGS.step is not None else FLAGS.run
    if processes.index() == 0:
        check_writable(out, f"--out={out}")
    evaluation = evaluate(
        run,
        FLAGS.tasks,
        m_inf,
        splits=FLAGS.split,
        batch_size=FLAGS.batch_size,
        limit=FLAGS.limit,
        data_dir=FLAGS.data_dir,
        history=FLAGS.history,
        mesh=mesh,
    )
    if processes.index() == 0:
        add_results(out, evaluation.results)
        show(evaluation)
        print(f"rows: {out}\nanswers: {checkpoints.locate(run)[0].path / 'predictions'}")


def parse_m_inf(text: str) -> list[int]:
    """`0,2,5` as numbers. Raises UserError for anything else."""
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() for part in parts):
        raise UserError(
            f"--m_inf={text} is no list of whole numbers, 0 or more: give numbers of pauses such as 0,2,5,10"
        )
    return list(dict.fromkeys(map(int, parts)))


def evaluate(
    run_or_checkpoint: str,
    tasks: list[str],
    m_inf: list[int],
    *,
    splits: Sequence[str] = ("test",),
    batch_size: int = 64,
    limit: int | None = None,
    data_dir: str | None = None,
    model: str = "",
    history: History = "gold",
    mesh: MeshConfig | None = None,
) -> Evaluation:
    """Rows of every split, task, M_inf and metric; keeps answers beside the run, and goes on from those that are there.

    Args:
      tasks: their names; ["all"] for the official ones whose files are there.
      data_dir: where official files lie; None: where the run's config says.
      model: the rows' `model`; the number of parameters where it is empty.
      history: whose answers the later prompts of a conversation hold: the data set's, or the run's own ("predicted").
      mesh: of `RestoredRun.restore`.

    Raises:
      UserError: no such run, task or split, M_inf without pauses in the model, a prompt beyond the model's positions,
        or answers of another evaluation in their place; found before anything is evaluated.
    """
    with native_stderr.hidden():
        from pause_jax.data import finetuning
        from pause_jax.tasks import seqio_examples
        from pause_jax.tokenizers import vocabularies
    from pause_jax.evaluation import evaluator
    from pause_jax.inference.restored import RestoredRun
    from pause_jax.tokenizers import tokenizer

    say = functools.partial(print, flush=True) if processes.index() == 0 else lambda *parts: None
    say(f"restore {run_or_checkpoint}")
    run = RestoredRun.restore(run_or_checkpoint, mesh)
    config = run.config
    check_m_inf(run, m_inf)
    say(f"restored step {run.step}; read the examples of {', '.join(tasks)}")
    vocabulary = config.data.vocabulary
    data_dir = config.data.data_dir if data_dir is None else data_dir
    sets = [
        seqio_examples.read_examples(
            name, vocabulary=vocabulary, split=split, data_dir=data_dir, limit=limit, history=history
        )
        for split in splits
        for name in (official_tasks(split, data_dir) if tasks == ALL else tasks)
    ]
    processes.agree({f"the {e.split} examples of {e.name}": e.fingerprint() for e in sets})
    for examples in sets:
        evaluator.check(run, examples, m_inf)
    files = [prediction_files(run, examples, m_inf) for examples in sets]
    filler = finetuning.filler_id(config.finetune.filler, vocabularies.load(vocabulary))
    model = model or size_of(config)
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
                batch_size=batch_size,
                kept=kept,
                done=done(examples.name),
            )
            for m, outcome in zip(m_inf, outcomes, strict=True):
                results += rows(run, examples, m, outcome, model)
                truncated[examples.name, examples.split, m] = outcome.truncated
    return Evaluation(results, truncated)


def check_m_inf(run: RestoredRun, m_inf: Sequence[int]) -> None:
    """Says where prompts are read for each of several M_inf anew. Raises UserError where the model has no pauses."""
    finetune = run.config.finetune
    if max(m_inf) and not run.config.pauses.num_pause_tokens and finetune.placement != "filler":
        raise UserError(
            f"--m_inf={max(m_inf)} gives pauses to a model that has none: evaluate {run.folder.path} at --m_inf=0"
        )
    if len(m_inf) > 1 and not run.shares_prompts:
        print(
            f"prompts are read anew for each M_inf: with attention {run.attention}, placement {finetune.placement}, "
            "what a prompt is read as depends on its pauses"
        )


def official_tasks(split: str, data_dir: str) -> list[str]:
    """Those whose files are there; says which are not. Raises UserError where none is."""
    from pause_jax.tasks import seqio_examples

    there, missing = seqio_examples.at_hand(split, data_dir)
    if not there:
        raise UserError(
            f"--tasks=all finds no official file for split {split!r} in {data_dir or 'no data directory'}: set "
            "--data_dir to the folder that has them, or name tasks that need none"
        )
    if missing:
        print(f"not evaluated, as their files for split {split!r} are not in {data_dir}: {', '.join(missing)}")
    return there


def prediction_files(run: RestoredRun, examples: TaskExamples, m_inf: Sequence[int]) -> dict[int, PredictionFile]:
    """For each M_inf, where its answers are kept, with those that are there already."""
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
    folder, code = run.folder.path / "predictions" / str(run.step), cli.code_version()
    if processes.index() == 0:
        check_writable(folder / "answers", f"the answers beside the run, in {folder},")
    files = {
        m: PredictionFile(
            folder / f"{examples.label}.m{m}.jsonl", {**about, "m_inf": m}, code=code, writes=processes.index() == 0
        )
        for m in m_inf
    }
    processes.agree({})  # all have read them, and the first may write
    return files


def counter(progress: Progress, found: int) -> Callable[[str], Callable[[int, int], None]]:
    """For a task's name what counts its answers in the progress line, which begins with those that were found."""
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


def rows(run: RestoredRun, examples: TaskExamples, m_inf: int, outcome: Outcome, model: str) -> list[Result]:
    """A row for each metric."""
    suffix = "_predicted_history" if examples.render else ""
    common = {
        **of_run(run.folder, run.config, run.step, model),
        "m_inf": m_inf,
        "placement": run.config.finetune.placement if max(run.config.finetune.m_ft) or m_inf else "none",
        "task": examples.name,
        "split": examples.split,
        "n_examples": len(examples.ids),
        "inference_flops": outcome.inference_flops,
        "attention": run.attention,
    }
    return [Result(metric=name + suffix, value=float(value), **common) for name, value in outcome.metrics.items()]


def loss_rows(folder: RunFolder, config: Config, model: str) -> list[Result]:
    """The last validation losses of a run that pretrained, as results on the text that it held out.

    Args:
      model: as of `evaluate`.
    """
    step = config.train.steps
    common: dict[str, Any] = {
        **of_run(folder, config, step, model or size_of(config)),
        "m_inf": 0,
        "placement": "none",
        "task": config.data.prepared or config.data.files or config.data.task,
        "split": "held_out",
        "n_examples": config.run.validation_batches * config.train.batch_size,  # rows, at most
        "inference_flops": 0.0,
        "attention": "causal",
    }
    records = read_jsonl(folder.metrics) if folder.metrics.is_file() else []
    record = next((r for r in records if r["step"] == step), {})
    return [Result(metric=name, value=record[key], **common) for name, key in LOSSES.items() if key in record]


def size_of(config: Config) -> str:
    """What a model is called that has no name: its number of parameters."""
    from pause_jax.model import counts

    return tables.human_count(counts.parameter_counts(config.model, config.pauses.num_pause_tokens)[0])


def of_run(folder: RunFolder, config: Config, step: int, model: str) -> dict[str, Any]:
    """The columns of results.csv that tell how a run was trained, and what that cost."""
    finetune = config.finetune
    stages = history.stages(folder, step)
    model_flops = history.total([stage.model_flops for stage in stages])
    finetuned = "pause" if max(finetune.m_ft) and finetune.placement != "filler" else "std"
    return {
        "model": model,
        **of_pretraining(stages),
        "finetune": finetuned if finetune.task else "none",
        "m_ft": "|".join(map(str, finetune.m_ft)),
        "seed": config.seed,
        "text_tokens": history.total([stage.text_tokens for stage in stages]),
        "model_flops": math.nan if model_flops is None else model_flops,
        "checkpoint": f"{folder.name}/checkpoints/{step}",
        "num_pause_tokens": config.pauses.num_pause_tokens,
        "steps": step,
        "hints": finetune.hints,
        **started_from(stages),
    }


def of_pretraining(stages: Sequence[history.Stage]) -> dict[str, Any]:
    """What the columns say of the stages before finetuning; "unknown" where one of them is."""
    if any(stage.config is None for stage in stages):
        return {"pretrain": "unknown", "pretrain_rate": 0.0, "policy": "none", "pretrain_steps": "unknown"}
    pretraining = [(stage.config, stage.step) for stage in stages if stage.config and not stage.config.finetune.task]
    pauses = pretraining[-1][0].pauses if pretraining else None
    return {
        "pretrain": "none" if pauses is None else "pause" if pauses.mean_rate else "std",
        "pretrain_rate": 0.0 if pauses is None else pauses.mean_rate,
        "policy": pauses.label if pauses and pauses.mean_rate else "none",
        "pretrain_steps": "|".join(str(steps) for _, steps in pretraining) or "0",
    }


def started_from(stages: Sequence[history.Stage]) -> dict[str, str]:
    """The columns that tell which runs a run started from, and of which seed the last of them is; "" if not known."""
    before = stages[:-1]
    config = before[-1].config if before else None
    return {
        "pretrain_run": "|".join(stage.run.partition("/checkpoints")[0] for stage in before),
        "pretrain_seed": "" if config is None else str(config.seed),
    }


def show(evaluation: Evaluation) -> None:
    """A line for each task, M_inf and metric."""
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

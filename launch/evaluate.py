"""Evaluate a run on tasks, with any number of pauses at inference.

    python -m launch.evaluate --run=runs/mine --tasks=count_parity_24 --m_inf=0,2,5,10 --out=results.csv

Every M_inf is evaluated from one restored checkpoint. Answers are decoded greedily; where a task has options they are
scored by likelihood too. Rows are added to the CSV (the same ones are replaced); each answer is written to
RUN/predictions/STEP/. Choose what you choose (checkpoint, M) on --split=validation, a part of the training data.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from absl import flags

from launch import cli
from pause_jax.config import Config
from pause_jax.errors import UserError
from pause_jax.reporting import tables
from pause_jax.reporting.progress import Progress
from pause_jax.reporting.results import Result, add_results, read_results
from pause_jax.reporting.writers import read_jsonl
from pause_jax.runs import RunFolder, write_atomically

if TYPE_CHECKING:  # JAX is imported after the flags
    from pause_jax.evaluation.evaluator import Outcome, TaskExamples
    from pause_jax.inference.restored import RestoredRun

FLAGS = flags.FLAGS


def main(argv: list[str]) -> int:
    for name in ("run", "tasks", "out"):
        if not FLAGS[name].value:
            raise UserError(f"--{name} is missing: {FLAGS[name].help}")
    if FLAGS.batch_size < 1:
        raise UserError(f"--batch_size={FLAGS.batch_size} is too small: give 1 or more")
    if FLAGS.limit is not None and FLAGS.limit < 1:
        raise UserError(f"--limit={FLAGS.limit} leaves nothing to evaluate: give 1 or more")
    m_inf, out = parse_m_inf(FLAGS.m_inf), Path(FLAGS.out)
    if out.exists():
        read_results(out)  # before the work: rows could not be added to a file of other columns
    from pause_jax import checkpoints

    run = f"{FLAGS.run.rstrip('/')}/checkpoints/{FLAGS.step}" if FLAGS.step is not None else FLAGS.run
    results = evaluate(run, FLAGS.tasks, m_inf, split=FLAGS.split, batch_size=FLAGS.batch_size, limit=FLAGS.limit,
                       data_dir=FLAGS.data_dir)  # fmt: skip
    add_results(out, results)
    show(results)
    print(f"rows: {out}\nanswers: {checkpoints.locate(run)[0].path / 'predictions'}")
    return cli.EXIT_DONE


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
    split: str = "test",
    batch_size: int = 64,
    limit: int | None = None,
    data_dir: str | None = None,
    model: str = "",
) -> list[Result]:
    """Rows for every task, M_inf and metric; writes the answers beside the run.

    Args:
      data_dir: where official files lie; None: where the run's config says.
      model: the rows' `model`; the number of parameters where it is empty.

    Raises:
      UserError: no such run, task or split, or M_inf without pauses in the model; found before anything is evaluated.
    """
    with cli.native_messages_hidden():
        from pause_jax.data import downstream, evaluation, vocabularies
    from pause_jax import tokenizer
    from pause_jax.evaluation import evaluator
    from pause_jax.inference.restored import RestoredRun
    from pause_jax.model import counts

    run = RestoredRun.restore(run_or_checkpoint)
    config = run.config
    if max(m_inf) and not config.pauses.n_pauses and config.finetune.placement != "filler":
        raise UserError(
            f"--m_inf={max(m_inf)} gives pauses to a model that has none: evaluate {run.folder.path} at --m_inf=0"
        )
    vocabulary = config.data.vocabulary
    data_dir = config.data.data_dir if data_dir is None else data_dir
    sets = [
        evaluation.read_examples(name, vocabulary=vocabulary, split=split, data_dir=data_dir, limit=limit)
        for name in tasks
    ]
    filler = downstream.filler_id(config.finetune.filler, vocabularies.load(vocabulary))
    model = model or tables.human_count(counts.parameter_counts(config.model, config.pauses.n_pauses)[0])
    results, done, total = [], 0, len(m_inf) * sum(len(examples.prompts) for examples in sets)
    with Progress(f"evaluate {run.folder.path.name}", total, unit="examples") as progress:
        for examples in sets:
            for m in m_inf:

                def show_done(count: int, what: str = f"{examples.name}, M_inf {m}") -> None:
                    nonlocal done
                    done += count
                    progress.update(done, {"task": what})

                outcome = evaluator.evaluate(run, examples, m, tokenizer=tokenizer.load(vocabulary), filler=filler,
                                             batch_size=batch_size, done=show_done)  # fmt: skip
                write_predictions(run, examples, m, outcome)
                results += rows(run, examples, m, outcome, model)
    return results


def write_predictions(run: RestoredRun, examples: TaskExamples, m_inf: int, outcome: Outcome) -> None:
    """One JSON object a line for each example, in order."""
    path = run.folder.path / "predictions" / str(run.step) / f"{examples.name}.{examples.split}.m{m_inf}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, "".join(json.dumps(prediction) + "\n" for prediction in outcome.predictions))


def rows(run: RestoredRun, examples: TaskExamples, m_inf: int, outcome: Outcome, model: str) -> list[Result]:
    """A row for each metric."""
    config, finetune = run.config, run.config.finetune
    pretraining, text_tokens, model_flops = history(run.folder, run.step)
    has_more = max(finetune.m_ft) > 0
    finetuned = "pause" if has_more and finetune.placement != "filler" else "std"
    common: dict[str, Any] = {
        "model": model,
        "pretrain": "none" if pretraining is None else "pause" if pretraining.pauses.mean_rate else "std",
        "pretrain_rate": 0.0 if pretraining is None else pretraining.pauses.mean_rate,
        "finetune": finetuned if finetune.task else "none",
        "m_ft": "|".join(map(str, finetune.m_ft)),
        "m_inf": m_inf,
        "placement": finetune.placement if has_more or m_inf else "none",
        "task": examples.name,
        "seed": config.seed,
        "text_tokens": text_tokens,
        "model_flops": model_flops,
        "checkpoint": f"{run.folder.path.name}/checkpoints/{run.step}",
        "split": examples.split,
        "n_examples": len(examples.prompts),
        "inference_flops": outcome.inference_flops,
        "policy": pretraining.pauses.label if pretraining and pretraining.pauses.mean_rate else "none",
        "n_pauses": config.pauses.n_pauses,
        "attention": run.attention,
        "steps": run.step,
    }
    return [Result(metric=name, value=float(value), **common) for name, value in outcome.metrics.items()]


def history(folder: RunFolder, step: int) -> tuple[Config | None, int, float]:
    """The config of the run's pretraining stage (None: it had none), text tokens and model FLOPs of all stages."""
    config = folder.config()
    pretraining: Config | None = None
    text_tokens, model_flops = 0, 0.0
    if config.init_from:
        from pause_jax import checkpoints

        pretraining, text_tokens, model_flops = history(*checkpoints.locate(config.init_from))
    if not config.finetune.task:
        pretraining = config
    record = next((r for r in read_jsonl(folder.metrics) if r["step"] == step), None)
    if record is None:
        raise UserError(f"{folder.metrics} has no record of step {step}: what its training cost is not known")
    return pretraining, text_tokens + record["text_tokens"], model_flops + record["model_flops"]


def show(results: list[Result]) -> None:
    """A line for each task, M_inf and metric."""
    columns = ["task", "split", "M_ft", "M_inf", "metric", "value", "examples", "FLOPs an example"]
    lines = [
        [
            r.task,
            r.split,
            r.m_ft,
            str(r.m_inf),
            r.metric,
            f"{r.value:.2f}",
            str(r.n_examples),
            f"{r.inference_flops:.3g}",
        ]
        for r in results
    ]
    tables.print_table(f"{results[0].checkpoint}, {results[0].model} parameters", columns, lines)


if __name__ == "__main__":
    flags.DEFINE_string("run", None, "a run's folder (its newest checkpoint), or RUN/checkpoints/STEP")
    flags.DEFINE_integer("step", None, "another checkpoint of the run than its newest")
    flags.DEFINE_list("tasks", None, "names of tasks, such as count_parity_24,recall_8,addition_3")
    flags.DEFINE_string("m_inf", "0", "numbers of pauses after the prompt, such as 0,2,5,10")
    flags.DEFINE_string("out", None, "the CSV file to add rows to, such as results.csv")
    flags.DEFINE_string("split", "test", "of the task: train, validation (a part of the training data) or test")
    flags.DEFINE_integer("batch_size", 64, "examples at a time; the numbers do not depend on it")
    flags.DEFINE_string(
        "data_dir", None, "where tasks find their official files; without it where the run's config says"
    )
    flags.DEFINE_integer("limit", None, "evaluate the first so many examples only")
    cli.run(main)

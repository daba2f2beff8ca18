"""A run on a task: every example answered once, after M_inf pauses, and the metrics of the answers.

Runs without TensorFlow and SeqIO: the examples come as a `TaskExamples` (made by pause_jax/data/evaluation.py).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from pause_jax import pauses
from pause_jax.evaluation.metrics import OptionScore
from pause_jax.inference.restored import RestoredRun
from pause_jax.inference.rows import round_up
from pause_jax.model import counts
from pause_jax.tokenizer import Tokenizer

PRETRAINED_NEW_TOKENS = 32  # written at most by a run that was not finetuned

Metric = Callable[..., Mapping[str, Any]]


@dataclasses.dataclass(frozen=True)
class TaskExamples:
    """A split of a task, as the evaluator wants it."""

    name: str
    split: str
    texts: Sequence[str]  # prompts, for people
    prompts: Sequence[Sequence[int]]
    references: Sequence[str]  # targets, for people
    targets: Sequence[Any]  # as the metrics for written answers want them
    postprocess: Callable[[str, int], Any]  # (text written, example's number) → as the metrics want it
    predict_metrics: Sequence[Metric]
    options: Sequence[Sequence[Sequence[int]]]  # ids of each example's options; empty: it has none
    option_texts: Sequence[Sequence[str]]  # the same as text
    labels: Sequence[int]  # the right option's number
    score_metrics: Sequence[Metric]


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What one M_inf gave."""

    metrics: Mapping[str, float]
    predictions: Sequence[Mapping[str, Any]]  # a dict for each example, in order, ready for JSON
    inference_flops: float  # model FLOPs to answer all examples, mean of one


def evaluate(
    run: RestoredRun,
    examples: TaskExamples,
    m_inf: int,
    *,
    tokenizer: Tokenizer,
    filler: int = 0,
    batch_size: int,
    done: Callable[[int], None] = lambda examples: None,
) -> Outcome:
    """The metrics of one M_inf, over all examples. Greedy; options are scored too where the task has them.

    Args:
      filler: id of the token that the run was finetuned with in the pauses' place; not used by other placements.
      batch_size: examples at a time: the numbers do not depend on it.
      done: called after each batch, with the number of its examples.

    Raises:
      UserError: `m_inf` is negative, or positive where the model has no pauses; more positions than it has learned.
    """
    prompts = [_place(run, prompt, m_inf) for prompt in examples.prompts]
    # One length for all batches: one compilation, and the same numbers whatever the batch.
    bucket = round_up(max(map(len, prompts)), 8)
    option_length = max((len(option) for mine in examples.options for option in mine), default=0)
    finetune = run.config.finetune
    shared: dict[str, Any] = {
        "m_inf": 0 if finetune.placement == "prepend" else m_inf,
        "bucket": bucket,
        "filler": filler if finetune.placement == "filler" else None,
    }
    new_tokens = finetune.target_length if finetune.task else PRETRAINED_NEW_TOKENS
    answers: list[list[int]] = []
    scores: list[list[OptionScore]] = []
    for batch in _batches(len(prompts), batch_size):
        rows = [prompts[i] for i in batch]
        filled = _filled(rows, batch_size)
        answers += run.generate(filled, max_new_tokens=new_tokens, eos_id=tokenizer.eos_id, **shared)[: len(rows)]
        if examples.options:
            options, texts = [examples.options[i] for i in batch], [examples.option_texts[i] for i in batch]
            log_p = run.score(filled, _filled(options, batch_size), option_length=option_length, **shared)
            scores += [
                [OptionScore(p, len(o), len(text.strip())) for p, o, text in zip(*row, strict=True)]
                for row in zip(log_p[: len(rows)], options, texts, strict=True)
            ]
        done(len(rows))
    written = [tokenizer.decode(ids) for ids in answers]
    metrics: dict[str, float] = {}
    predicted = [examples.postprocess(text, i) for i, text in enumerate(written)]
    for metric in examples.predict_metrics:
        metrics |= metric(examples.targets, predicted)
    for metric in examples.score_metrics if scores else ():
        metrics |= metric(examples.labels, scores)
    predictions = [
        {"index": i, "prompt": examples.texts[i], "target": examples.references[i], "prediction": text}
        | ({"option_log_p": [score.log_p for score in scores[i]]} if scores else {})
        for i, text in enumerate(written)
    ]
    lengths = [(len(prompt) + shared["m_inf"], len(ids)) for prompt, ids in zip(prompts, answers, strict=True)]
    return Outcome(metrics, predictions, _mean_flops(run, lengths))


def _place(run: RestoredRun, prompt: Sequence[int], m_inf: int) -> Sequence[int]:
    """The prompt, cut as in finetuning, with the pauses that go before it; those after it are `generate`'s."""
    finetune, model = run.config.finetune, run.config.model
    if finetune.task:
        prompt = prompt[-finetune.prefix_length :]
    if finetune.placement != "prepend":
        return prompt
    return pauses.add_pauses(prompt, m_inf, placement="prepend", vocab_size=model.vocab_size,
                             n_pauses=run.config.pauses.n_pauses).tolist()  # fmt: skip


def _batches(count: int, batch_size: int) -> Iterator[range]:
    for start in range(0, count, batch_size):
        yield range(start, min(start + batch_size, count))


def _filled(rows: list[Any], batch_size: int) -> list[Any]:
    """The last batch, its first row repeated to the size of the others, whose compilation then serves it."""
    return rows + [rows[0]] * (batch_size - len(rows))


def _mean_flops(run: RestoredRun, lengths: Sequence[tuple[int, int]]) -> float:
    """Of (context, answer) lengths: every position read, the head at the answer's only."""
    model = run.config.model
    flops = [counts.forward_flops(model, context + answer, head_positions=answer + 1) for context, answer in lengths]
    return sum(flops) / len(flops)

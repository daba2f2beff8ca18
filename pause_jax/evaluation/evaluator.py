"""Evaluates a run on a task: answers every example once after each number of pauses, and computes the metrics.

Where the run's attention allows it (`RestoredRun.shares_prompts`), all M_inf share one prefill of the prompts. Runs
without TensorFlow and SeqIO, on any mesh and in any number of processes, which must all make the same call.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence

from pause_jax.evaluation.length_groups import LengthGroup, group_by_length
from pause_jax.evaluation.predictions import Predictions, Record
from pause_jax.inference.prefill import Prefill
from pause_jax.inference.restored import RestoredRun
from pause_jax.inference.rows import check_positions, pad_batch
from pause_jax.model import counts
from pause_jax.pauses import downstream
from pause_jax.tasks.examples import TaskExamples
from pause_jax.tasks.metrics import OptionScore
from pause_jax.tokenizers.tokenizer import Tokenizer

PRETRAINED_NEW_TOKENS = 32  # the longest answer of a run that was not finetuned


@dataclasses.dataclass(frozen=True)
class Outcome:
    """The result for one M_inf."""

    metrics: Mapping[str, float]
    predictions: Sequence[Record]  # of each example, in order
    inference_flops: float  # model FLOPs of an answer, mean over examples
    truncated: int  # how many prompts were longer than the run's and lost their beginning


@dataclasses.dataclass(frozen=True)
class _Prompt:
    text: str
    ids: Sequence[int]  # as the run reads them, without pauses
    truncated: bool


def evaluate(
    run: RestoredRun,
    examples: TaskExamples,
    m_infs: Sequence[int],
    *,
    tokenizer: Tokenizer,
    filler: int = 0,
    batch_size: int,
    kept: Mapping[int, Predictions] | None = None,
    done: Callable[[int, int], None] = lambda m_inf, count: None,
) -> list[Outcome]:
    """The outcome of each M_inf over all examples. Decoding is greedy; options, if any, are scored by likelihood.

    Prompts that are longer than `config.finetune.max_prompt_length` lose their beginning, as in finetuning; a run that
    was not finetuned reads them whole. Numbers do not depend on batches, mesh and what else is evaluated, up to the
    rounding of floats: an answer can change only where two tokens are equally likely to within that.

    A prediction has the fields `id`, `prompt`, `prediction` (the generated text, or where no metric needs one the
    likeliest option), `target`, `score` (the value that the task's first metric has on this example alone), `m_inf`,
    `truncated`, `prompt_tokens` and `answer_tokens` (pauses not counted), and where there are options `option_log_p`.

    Args:
      filler: id of the token that the run was finetuned with in the pauses' place; not used by other placements.
      batch_size: examples at a time.
      kept: for each M_inf, where its predictions are kept; examples that are already there are not answered again.
      done: called with M_inf and the number of examples answered, after each batch.

    Raises:
      UserError: an M_inf is negative, or positive where the model has no pauses; more positions than it has learned.
    """
    kept = kept or {m_inf: Predictions() for m_inf in m_infs}
    # Prompts that hold earlier answers differ from M_inf to M_inf.
    shared = run.shares_prompts and examples.render is None
    rounds = examples.rounds or [range(len(examples.ids))]
    size = min(batch_size, max(map(len, rounds)))
    for together in [m_infs] if shared else [[m_inf] for m_inf in m_infs]:
        for numbers in rounds:
            records = kept[together[0]].records
            previous_answers = {i: r["prediction"] for i, e in enumerate(examples.ids) if (r := records.get(e))}
            prompts = {i: _prompt(run, examples, i, previous_answers, tokenizer) for i in numbers}
            for i, prompt in prompts.items():
                _check_positions(run, examples, i, len(prompt.ids), max(m_infs))
            for batch in group_by_length({i: len(prompt.ids) for i, prompt in prompts.items()}, size):
                ids = [examples.ids[i] for i in batch.examples]
                wanted = [m for m in together if any(i not in kept[m].records for i in ids)]
                if not wanted:
                    continue
                for m_inf, answered in _answers(
                    run, examples, prompts, batch, together, wanted, size, tokenizer, filler
                ):
                    new = [record for record in answered if record["id"] not in kept[m_inf].records]
                    kept[m_inf].add(new)
                    done(m_inf, len(new))
    for m_inf in m_infs:
        kept[m_inf].finish(examples.ids)
    return [_outcome(run, examples, [kept[m_inf].records[i] for i in examples.ids]) for m_inf in m_infs]


def check_examples(run: RestoredRun, examples: TaskExamples, m_infs: Sequence[int]) -> None:
    """Raises UserError where a prompt, its pauses and the answer are more positions than the model has learned."""
    at_most = run.config.finetune.max_prompt_length if run.config.finetune.task else None
    for number, ids in enumerate(examples.prompts):
        _check_positions(run, examples, number, len(ids[:at_most]), max(m_infs))


def new_tokens_at_most(run: RestoredRun) -> int:
    """The largest number of tokens that an answer may have."""
    return run.config.finetune.target_length if run.config.finetune.task else PRETRAINED_NEW_TOKENS


def _check_positions(run: RestoredRun, examples: TaskExamples, number: int, prompt_length: int, m_inf: int) -> None:
    answers = [len(option) for option in examples.options[number]] if examples.options else []
    answers += [new_tokens_at_most(run)] if examples.predict_metrics else []
    where = f"task {examples.name!r}, example {examples.ids[number]}: a prompt"
    check_positions(prompt_length, m_inf, max(answers), run.config.model, where)


def _prompt(
    run: RestoredRun, examples: TaskExamples, number: int, previous_answers: Mapping[int, str], tokenizer: Tokenizer
) -> _Prompt:
    text, ids = examples.texts[number], examples.prompts[number]
    if examples.render is not None:
        text = examples.render(number, previous_answers)
        ids = tokenizer.encode(text)
    at_most = run.config.finetune.max_prompt_length if run.config.finetune.task else len(ids)
    return _Prompt(text, ids[-at_most:], len(ids) > at_most)


def _answers(
    run: RestoredRun,
    examples: TaskExamples,
    prompts: Mapping[int, _Prompt],
    batch: LengthGroup,
    m_infs: Sequence[int],
    wanted: Sequence[int],
    size: int,
    tokenizer: Tokenizer,
    filler: int,
) -> Iterator[tuple[int, list[Record]]]:
    """The records of a batch's examples for each `wanted` M_inf; for the others only the prefill is computed.

    So an evaluation that is resumed computes what it would have computed, to the last bit.
    """
    options = [examples.options[i] for i in batch.examples] if examples.options else []
    option_length = max((len(option) for row_options in examples.options for option in row_options), default=1)
    new_tokens = new_tokens_at_most(run) if examples.predict_metrics else 1
    rows = pad_batch([prompts[i].ids for i in batch.examples], size)
    extra = max(new_tokens, option_length) - 1
    for m_inf, prefill in zip(m_infs, _prefill(run, rows, m_infs, batch.length, extra, filler), strict=True):
        if m_inf not in wanted:
            continue
        log_p: list[list[float]] = []
        if options:
            log_p, _ = run.score(prefill, options, option_length=option_length)
        if examples.predict_metrics:  # last, as it may use the cache up
            ids = run.decode(prefill, max_new_tokens=new_tokens, eos_id=tokenizer.eos_id)
            written = [(tokenizer.decode(answer), len(answer)) for answer in ids[: len(batch.examples)]]
        else:
            best = [row_options[p.index(max(p))] for row_options, p in zip(options, log_p, strict=False)]
            written = [(tokenizer.decode(option), len(option)) for option in best]
        yield (
            m_inf,
            [
                _record(examples, i, m_inf, prompts[i], text, count, log_p[row] if log_p else None)
                for row, (i, (text, count)) in enumerate(zip(batch.examples, written, strict=True))
            ],
        )


def _prefill(
    run: RestoredRun, rows: Sequence[Sequence[int]], m_infs: Sequence[int], length: int, extra: int, filler: int
) -> Iterator[Prefill]:
    """The rows read with their pauses, placed as the run was finetuned."""
    if run.config.finetune.placement != "prepend":
        is_filler = run.config.finetune.placement == "filler"
        yield from run.prefill(
            rows, m_infs, extra_cache_length=extra, bucket=length, filler=filler if is_filler else None
        )
        return
    for m_inf in m_infs:
        before = run.network.pause_tokens().ids(m_inf).tolist()
        with_pauses = [[*before, *row] for row in rows]
        yield from run.prefill(with_pauses, [0], extra_cache_length=extra, bucket=length + m_inf)


def _record(
    examples: TaskExamples,
    number: int,
    m_inf: int,
    prompt: _Prompt,
    text: str,
    answer_tokens: int,
    log_p: Sequence[float] | None,
) -> Record:
    """The record that is kept of an answer."""
    record = {
        "id": examples.ids[number],
        "prompt": prompt.text,
        "prediction": text,
        "target": examples.references[number],
        "m_inf": m_inf,
        "truncated": prompt.truncated,
        "prompt_tokens": len(prompt.ids),
        "answer_tokens": answer_tokens,
    } | ({} if log_p is None else {"option_log_p": log_p})
    return record | {"score": next(iter(_metrics(examples, {number: record}, first=True).values()), None)}


def _metrics(examples: TaskExamples, records: Mapping[int, Record], *, first: bool = False) -> dict[str, float]:
    """The metrics, or only those of the first metric function, over the records of some examples by number."""
    values: dict[str, float] = {}
    for metric in examples.predict_metrics[: 1 if first else None]:
        targets = [examples.targets[i] for i in records]
        values |= metric(targets, [examples.postprocess(r["prediction"], i) for i, r in records.items()])
    if examples.options and not (first and values):
        scores = [
            [
                OptionScore(p, len(ids), len(text.strip()))
                for p, ids, text in zip(r["option_log_p"], examples.options[i], examples.option_texts[i], strict=True)
            ]
            for i, r in records.items()
        ]
        for metric in examples.score_metrics:
            values |= metric([examples.labels[i] for i in records], scores)
    return values


def _outcome(run: RestoredRun, examples: TaskExamples, records: Sequence[Record]) -> Outcome:
    flops = [_flops(run, r, [] if examples.predict_metrics else examples.options[i]) for i, r in enumerate(records)]
    return Outcome(
        _metrics(examples, dict(enumerate(records))),
        records,
        sum(flops) / len(flops),
        sum(r["truncated"] for r in records),
    )


def _flops(run: RestoredRun, record: Record, options: Sequence[Sequence[int]]) -> float:
    """Model FLOPs of an example: each position is read once, the prompt once for all options; the head is for answers.

    Args:
      options: the options that are scored, where no answer is generated; else empty.
    """
    model, placement = run.config.model, run.config.finetune.placement
    prompt, m_inf, written = record["prompt_tokens"], record["m_inf"], record["answer_tokens"]
    prefix_lm_length = downstream.prefix_lm_length_of_prompt(run.attention, placement, prompt, m_inf)

    def up_to(length: int, heads: int) -> float:
        return counts.forward_flops(model, prompt + m_inf + length, heads, prefix_lm_length)

    if not options:
        return up_to(written, written + 1)
    read = up_to(0, 0)
    return read + sum(up_to(len(option) - 1, len(option)) - read for option in options)

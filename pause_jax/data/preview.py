"""Prints rows to look at: a block of text without and with pauses, or a prompt with pauses and target; and their loss.

Every mark is made of characters, so that it survives in a file; colours come on top on a terminal.
"""

from __future__ import annotations

import dataclasses
import itertools
import operator
from collections.abc import Iterator, Sequence

import numpy as np
from rich.console import Console
from rich.text import Text

from pause_jax.config import Config, FinetuneConfig, PauseConfig
from pause_jax.data import pretraining
from pause_jax.data.blocks import Mixture
from pause_jax.data.finetuning import Examples, train_batches
from pause_jax.data.training_data import HostBatch
from pause_jax.pauses import insertion
from pause_jax.tokenizers import vocabularies

_PAUSE, _SEGMENT, _NO_LOSS = "bold black on yellow", "bold cyan", "dim italic"  # styles
_SHADES = ("on grey15", "on grey30")  # of text tokens, in turn: their borders show


@dataclasses.dataclass(frozen=True)
class Counts:
    """Counts of a row of T positions. The look-ahead, which is only a target, is not counted."""

    text: int
    pauses: int
    padding: int
    loss: int  # positions that carry loss
    loss_at_pauses: int  # those of them that read a pause
    segments: int

    @classmethod
    def of(cls, row: HostBatch, vocab_size: int) -> Counts:
        """The counts of one row of a batch, given its features, [T] each."""
        is_pause_T, is_padding_T = row["inputs"] >= vocab_size, row["segment_ids"] == 0
        has_loss_T = row["loss_weights"] > 0
        return cls(
            text=int((~is_pause_T & ~is_padding_T).sum()),
            pauses=int(is_pause_T.sum()),
            padding=int(is_padding_T.sum()),
            loss=int(has_loss_T.sum()),
            loss_at_pauses=int((has_loss_T & is_pause_T).sum()),
            segments=len(np.unique(row["segment_ids"][~is_padding_T])),
        )

    def __str__(self) -> str:
        return (
            f"text tokens {self.text}, pauses {self.pauses}, padding {self.padding}, positions with loss {self.loss} "
            f"({self.loss_at_pauses} of them read a pause), segments {self.segments}"
        )


def show_blocks(config: Config, mixture: Mixture, *, count: int, console: Console | None = None) -> None:
    """Prints the first `count` blocks that training reads, each before and after its pauses are inserted.

    They are the first rows of training's own batches, from step 0 on.

    Args:
      config: resolved: config.model.vocab_size is where pause ids start.
      mixture: the training text.
      console: where to; standard output, if None.

    Raises:
      UserError: see `train_batches`.
    """
    console = console or Console()
    pause, vocab_size = config.pauses, config.model.vocab_size
    shown = shown_tokens(config.data.vocabulary, vocab_size, config.model.num_pause_tokens)
    num_text = insertion.text_tokens_per_block(config.data.length, pause.rate, pause.mode, pause.max_rate)
    standard = dataclasses.replace(pause, rate=0.0, max_rate=0.0)
    texts = _first_rows(config, mixture, count, standard, length=num_text)  # the same blocks as below
    rows = _first_rows(config, mixture, count, pause, length=config.data.length)
    _print(console, legend(config.model.num_pause_tokens))
    for number, (text, row) in enumerate(zip(texts, rows, strict=True), start=1):
        before, after = Counts.of(text, vocab_size), Counts.of(row, vocab_size)
        title = f"\n=== block {number} of {count}, the text: {before}\n"
        _print(console, Text(title, "bold"), row_text(text, shown, vocab_size))
        if pause.mean_rate:
            cut = f", text tokens cut off {before.text - after.text}" if pause.mode == "trim" else ""
            title = f"\n=== block {number} of {count}, {pause.label}: {after}{cut}\n"
            _print(console, Text(title, "bold"), row_text(row, shown, vocab_size))


def show_examples(
    config: Config, examples: Examples, filler_id: int, *, count: int, console: Console | None = None
) -> None:
    """Prints the first `count` rows that finetuning reads, from step 0 on: prompt, pauses and target as they are cut.

    Args:
      config: resolved, with a finetuning task.
      examples, filler_id: of `finetuning.open_task`.
      console: where to; standard output, if None.

    Raises:
      UserError: see `finetuning.train_batches`.
    """
    console = console or Console()
    finetune, vocab_size, num_pause_tokens = config.finetune, config.model.vocab_size, config.model.num_pause_tokens
    shown = shown_tokens(config.data.vocabulary, vocab_size, num_pause_tokens)
    config = dataclasses.replace(config, train=dataclasses.replace(config.train, batch_size=count))
    batch = next(train_batches(examples, config, filler_id, range(count)))
    _print(console, legend(num_pause_tokens, finetuning=True), Text(cuts(examples, finetune)))
    for number in range(count):
        row = {name: feature[number] for name, feature in batch.items()}
        title = f"\n=== example {number + 1} of {count}, {finetune.task}: {_parts(row, finetune, vocab_size)}\n"
        _print(console, Text(title, "bold"), example_text(row, shown, vocab_size))


def cuts(examples: Examples, finetune: FinetuneConfig) -> str:
    """How many examples lose something to the lengths of `finetune`."""
    prompts, targets = cut_shares(examples, finetune)
    return (
        f"{len(examples):,} examples: {100 * prompts:.2f} % of prompts are longer than {finetune.max_prompt_length} "
        f"tokens and lose their beginning, {100 * targets:.2f} % of targets are longer than {finetune.target_length}, "
        "their end counted, and lose it"
    )


def cut_shares(examples: Examples, finetune: FinetuneConfig) -> tuple[float, float]:
    """The shares of prompts and of targets that are longer than the lengths of `finetune`: 0 to 1 each."""
    prompts_N, targets_N = (np.diff(ragged.starts) for ragged in (examples.prompts, examples.targets))
    return float(np.mean(prompts_N > finetune.max_prompt_length)), float(np.mean(targets_N > finetune.target_length))


def _parts(row: HostBatch, finetune: FinetuneConfig, vocab_size: int) -> str:
    """How many positions of each kind a row of finetuning has, and how many see each other both ways."""
    is_real_T = row["segment_ids"] > 0
    is_pause_T = is_real_T & (row["inputs"] >= vocab_size)
    context = int(is_real_T[: finetune.context_length].sum())
    padding = finetune.context_length - context
    prompt = "prompt and fillers" if finetune.placement == "filler" else "prompt"
    in_prefix = max(int(row["prefix_lm_length"]) - padding, 0)
    has_loss_T = row["loss_weights"] > 0
    num_hints = int(has_loss_T[: finetune.context_length - 1].sum())
    hints = f", and {num_hints} hints on the {finetune.hints}" if num_hints else ""
    return (
        f"{prompt} {context - is_pause_T.sum()}, pauses {is_pause_T.sum()}, target {has_loss_T.sum() - num_hints} "
        f"(as many positions with loss{hints}); {in_prefix} positions see each other both ways"
    )


def legend(num_pause_tokens: int, *, finetuning: bool = False) -> Text:
    """The meaning of each mark, in its colours."""
    where = [
        ("⟦x⟧", _NO_LOSS, "no loss where x is read: a pause, another segment, padding or nothing follows"),
        ("¶ segment 2", _SEGMENT, "a document starts that is a segment of its own"),
    ]
    if finetuning:
        where = [("⟦…⟧", _NO_LOSS, "no loss where this is read: no token of the target follows")]
    marks = [
        *where,
        ("‹end› ‹id 2›", "", "the end of a document or target; another id without text"),
        ("↵ \\t \\xe2", "", "a newline; characters, or bytes, that cannot be shown by themselves"),
        ("‹next›x", _SEGMENT, "the look-ahead, which is only a target: the last position's"),
        ("shades", _SHADES[1], "change where tokens meet"),
    ]
    if num_pause_tokens:
        of_several = f", the first of {num_pause_tokens} distinct ones" if num_pause_tokens > 1 else ""
        marks.insert(0, (_pause(0, num_pause_tokens), _PAUSE, f"a pause{of_several}"))
    text = Text()
    for mark, style, meaning in marks:
        text.append(mark, style).append(f"{'':{15 - len(mark)}}{meaning}\n")
    return text


def row_text(row: HostBatch, shown: Sequence[str], vocab_size: int) -> Text:
    """One row of a batch (its features, [T] each) for people to read.

    >>> row = {"inputs": [5, 6, 9, 1, 7, 0], "targets": [6, 9, 1, 7, 0, 0], "loss_weights": [1, 0, 1, 0, 0, 0],
    ...        "segment_ids": [1, 1, 1, 1, 2, 0]}
    >>> shown = ["", "‹end›", "", "", "", "a", " b", "c", "d", "‹pause›"]
    >>> print(row_text({name: np.array(feature) for name, feature in row.items()}, shown, vocab_size=9))
    ¶ segment 1
    a⟦ b⟧‹pause›⟦‹end›⟧
    ¶ segment 2
    ⟦c⟧‹padding × 1›

    Args:
      shown: of each id, pauses too (`shown_tokens`).
    """
    text, shades, segment = Text(), itertools.cycle(_SHADES), 0
    length = int(np.count_nonzero(row["segment_ids"]))  # padding is at the end
    for k in range(length):
        if row["segment_ids"][k] != segment:
            segment = row["segment_ids"][k]
            text.append(f"{'' if k == 0 else chr(10)}¶ segment {segment}\n", _SEGMENT)
        token, has_loss = int(row["inputs"][k]), row["loss_weights"][k] > 0
        style = _PAUSE if token >= vocab_size else next(shades)
        if has_loss:
            text.append(shown[token], style)
        else:
            mark = shown[token].removesuffix("\n")
            text.append(f"⟦{mark}⟧{shown[token][len(mark) :]}", f"{style} {_NO_LOSS}")
    if row["loss_weights"][-1] > 0:
        text.append("‹next›", _SEGMENT).append(shown[int(row["targets"][-1])], next(shades))
    if padding := len(row["segment_ids"]) - length:
        text.append(f"‹padding × {padding}›", _NO_LOSS)
    return text


def example_text(row: HostBatch, shown: Sequence[str], vocab_size: int) -> Text:
    """One row of finetuning (its features, [T] each) for people to read.

    >>> row = {"inputs": [0, 5, 6, 9, 9, 7, 1], "targets": [5, 6, 9, 9, 7, 1, 0],
    ...        "loss_weights": [0, 0, 0, 0, 1, 1, 0], "segment_ids": [0, 1, 1, 1, 1, 1, 1]}
    >>> shown = ["", "‹end›", "", "", "", "a", " b", "c", "d", "‹pause›"]
    >>> print(example_text({name: np.array(feature) for name, feature in row.items()}, shown, vocab_size=9))
    ‹padding × 1›⟦a b‹pause›⟧‹pause›c⟦‹end›⟧

    Args:
      shown: of each id, pauses too (`shown_tokens`).
    """
    text, shades = Text(), itertools.cycle(_SHADES)
    kinds = zip(
        (row["segment_ids"] > 0).tolist(), (row["loss_weights"] > 0).tolist(), row["inputs"].tolist(), strict=True
    )
    for (is_real, has_loss), run in itertools.groupby(kinds, key=operator.itemgetter(0, 1)):
        ids = [token for _, _, token in run]
        if not is_real:
            text.append(f"‹padding × {len(ids)}›", _NO_LOSS)
            continue
        text.append("" if has_loss else "⟦", _NO_LOSS)
        for token in ids:
            style = _PAUSE if token >= vocab_size else next(shades)
            text.append(shown[token], style if has_loss else f"{style} {_NO_LOSS}")
        text.append("" if has_loss else "⟧", _NO_LOSS)
    if row["loss_weights"][-1] > 0:
        text.append("‹next›", _SEGMENT).append(shown[int(row["targets"][-1])], next(shades))
    return text


def shown_tokens(vocabulary: str, vocab_size: int, num_pause_tokens: int) -> list[str]:
    """How each id is shown, pauses too: [vocab_size + num_pause_tokens]; `vocabulary` is config.data.vocabulary."""
    shown = [f"‹id {i}›" for i in range(vocab_size)]  # a model may have more ids than its tokenizer
    for i, token in enumerate(vocabularies.token_bytes(vocabulary)):
        if token is not None:
            shown[i] = _visible(token)
    shown[vocabularies.load(vocabulary).eos_id] = "‹end›"
    return shown + [_pause(j, num_pause_tokens) for j in range(num_pause_tokens)]


def _pause(j: int, num_pause_tokens: int) -> str:
    return f"‹pause {j}›" if num_pause_tokens > 1 else "‹pause›"


def _visible(token: bytes) -> str:
    """A token's text, with what cannot be shown escaped.

    >>> _visible(b"a b"), _visible(b"\\n"), _visible(b"\\xe2"), _visible(b"\\r")
    ('a b', '↵\\n', '\\\\xe2', '\\\\r')
    """
    text = token.decode(errors="backslashreplace")
    visible = (c if c.isprintable() else "↵\n" if c == "\n" else c.encode("unicode_escape").decode() for c in text)
    return "".join(visible)


def _first_rows(
    config: Config, mixture: Mixture, count: int, pause: PauseConfig, *, length: int
) -> Iterator[HostBatch]:
    """The rows of training's first examples, one by one."""
    config = dataclasses.replace(
        config,
        data=dataclasses.replace(config.data, length=length),
        pauses=pause,
        train=dataclasses.replace(config.train, batch_size=count),  # example n is the same in batches of any size
    )
    batches = pretraining.train_batches(mixture, config, range(count))
    batch = next(batches)
    for row in range(count):
        yield {name: feature[row] for name, feature in batch.items()}


def _print(console: Console, *texts: Text) -> None:
    for text in texts:
        console.print(text, soft_wrap=True, highlight=False)

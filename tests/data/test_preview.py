"""The preview: nothing of the text is changed, every mark stands for a number of the arrays, no mark needs colour."""

from __future__ import annotations

import dataclasses
import doctest
import io
import itertools
import re

import numpy as np
import pytest
from rich.console import Console

from pause_jax.config import Config, DataConfig, FinetuneConfig, PauseConfig
from pause_jax.config.model import ModelConfig
from pause_jax.data import finetuning, preview
from pause_jax.data.blocks import Mixture
from pause_jax.data.pretraining import train_batches
from pause_jax.tokenizers import vocabularies

DOCUMENTS = [
    "One and two. Is it so?\nYes!",
    "Second: a tab\tand a caf\u00e9.",
    "Short.",
    "The last of them is longest, is it not?",
]
BLOCKS = 3


@pytest.fixture(scope="module")
def stream(stream_of):
    vocabulary = vocabularies.load("byte")
    return stream_of([[*vocabulary.encode(text), vocabulary.eos_id] for text in DOCUMENTS])


def config_of(length=40, vocabulary="byte", vocab_size=259, num_pause_tokens=1, **pause):
    pauses = PauseConfig(**{"rate": 0.2, **pause})
    data = DataConfig(length=length, vocabulary=vocabulary)
    return Config(
        data=data, pauses=pauses, model=ModelConfig(vocab_size=vocab_size, num_pause_tokens=num_pause_tokens), seed=3
    )


def printed(config, stream, count=BLOCKS, **console):
    file = io.StringIO()
    preview.show_blocks(config, Mixture([stream], [1.0]), count=count, console=Console(file=file, width=40, **console))
    return file.getvalue()


def sections(output):
    """Title and body of what is shown, the legend left out."""
    return re.findall(r"=== ([^\n]*)\n\n(.*?)\n(?=\n===|$)", output + "\n", flags=re.DOTALL)


def without_marks(body):
    body = re.sub(r"\n?¶ segment \d+\n", "", body)
    body = re.sub(r"‹(next|pause \d+|pause|end|padding × \d+)›", "", body)
    return re.sub(r"[⟦⟧↵]", "", body)


def training_rows(config, stream):
    """Rows of training's first batch, in a batch larger than what is shown."""
    config = dataclasses.replace(config, train=dataclasses.replace(config.train, batch_size=8))
    batch = next(train_batches(Mixture([stream], [1.0]), config, range(8)))
    return [{name: feature[row] for name, feature in batch.items()} for row in range(BLOCKS)]


def text_of(row):
    """Of a row and, where it is text that is predicted, its look-ahead."""
    ids = [*row["inputs"].tolist(), *row["targets"][-1:][row["loss_weights"][-1:] > 0].tolist()]
    text = bytes(i - 3 for i in ids if 3 <= i < 259).decode(errors="backslashreplace")
    return text.replace("é", r"\xc3\xa9").replace("\t", r"\t")


CASES = [
    {},
    {"mode": "exact"},
    {"num_pause_tokens": 2, "policy": "burst", "burst": 3},
    {"policy": "boundary", "max_rate": 0.5},
]


@pytest.mark.parametrize("pause", CASES)
def test_without_its_marks_it_is_the_text_that_training_reads(stream, pause):
    config = config_of(**pause)
    shown = sections(printed(config, stream))
    assert len(shown) == 2 * BLOCKS
    for row, (_, before), (_, after) in zip(training_rows(config, stream), shown[::2], shown[1::2], strict=True):
        assert without_marks(after) == text_of(row)
        assert without_marks(before).startswith(without_marks(after).rstrip("\n"))
        if config.pauses.mode == "exact":
            assert without_marks(before) == without_marks(after)


@pytest.mark.parametrize("pause", CASES)
def test_counts_and_marks_are_those_of_the_arrays(stream, pause):
    config = config_of(**pause)
    for row, (title, body) in zip(training_rows(config, stream), sections(printed(config, stream))[1::2], strict=True):
        is_pause, is_padding, loss = row["inputs"] >= 259, row["segment_ids"] == 0, row["loss_weights"] > 0
        num_segments = len(set(row["segment_ids"].tolist()) - {0})
        assert config.pauses.label in title
        assert (
            f"text tokens {(~is_pause & ~is_padding).sum()}, pauses {is_pause.sum()}, padding {is_padding.sum()}, "
            in title
        )
        assert f"positions with loss {loss.sum()} ({(loss & is_pause).sum()} of them read a pause), " in title
        assert f"segments {num_segments}" in title
        assert body.count("‹pause") == is_pause.sum() > 0
        assert body.count("⟦") == body.count("⟧") == (~loss & ~is_padding).sum() > 0
        assert len(re.findall(r"⟦‹pause(?: \d)?›⟧", body)) == (~loss & is_pause).sum()
        assert body.count("¶ segment") == num_segments
        assert body.count("‹end›") == (row["inputs"] == 1).sum()
        for j in range(config.model.num_pause_tokens if config.model.num_pause_tokens > 1 else 0):
            assert body.count(f"‹pause {j}›") == (row["inputs"] == 259 + j).sum() > 0


def test_a_row_by_hand():
    assert doctest.testmod(preview).attempted > 2 and doctest.testmod(preview).failed == 0
    row = {
        "inputs": np.array([5, 9, 10, 6, 1, 7, 2]),
        "targets": np.array([9, 10, 6, 1, 7, 2, 8]),
        "loss_weights": np.array([0, 0, 1, 1, 0, 1, 1]),
        "segment_ids": np.array([1, 1, 1, 1, 1, 2, 2]),
    }
    shown = ["", "‹end›", "‹id 2›", "", "", "a", " b", "↵\n", "d", "‹pause 0›", "‹pause 1›"]
    assert preview.row_text(row, shown, vocab_size=9).plain == (
        "¶ segment 1\n⟦a⟧⟦‹pause 0›⟧‹pause 1› b⟦‹end›⟧\n¶ segment 2\n↵\n‹id 2›‹next›d"
    )


def test_colours_are_on_top_and_tokens_alternate(stream):
    config = config_of()
    plain, coloured = printed(config, stream), printed(config, stream, force_terminal=True, color_system="256")
    assert "\x1b" not in plain
    assert re.sub(r"\x1b\[[\d;]*m", "", coloured) == plain
    row = training_rows(config, stream)[0]
    text = preview.row_text(row, preview.shown_tokens("byte", 259, 1), vocab_size=259)
    styles = [str(span.style) for span in text.spans]
    is_pause = [style.startswith("bold black on yellow") for style in styles]
    assert sum(is_pause) == (row["inputs"] >= 259).sum()
    shades = [
        style.split()[1] for style, pause in zip(styles, is_pause, strict=True) if style.startswith("on ") and not pause
    ]
    assert len(shades) > 20 and all(one != other for one, other in itertools.pairwise(shades))


def test_a_standard_model_shows_its_text_once(stream):
    output = printed(config_of(num_pause_tokens=0, rate=0.0), stream)
    assert len(sections(output)) == BLOCKS and "pause›" not in output


def test_what_cannot_be_shown_is_escaped(stream_of):
    stream = stream_of([[*vocabularies.load("byte").encode("a\x1b[31mb\r\u200b"), 1] * 3])
    output = printed(config_of(length=20, num_pause_tokens=0, rate=0.0), stream, count=1)
    assert r"a\x1b[31mb\r\xe2\x80\x8b‹end›" in output and "\x1b" not in output


def test_pieces(real_data, stream_of):
    spec = str(real_data / "tokenizers" / "t5.spiece.model")
    vocabulary, text = vocabularies.load(spec), "Think before you speak. Then speak, and think again before you do."
    stream = stream_of([[*vocabulary.encode(text), vocabulary.eos_id]])
    config = config_of(length=14, vocabulary=spec, vocab_size=32_128, mode="exact")
    shown = sections(printed(config, stream, count=1))
    assert without_marks(shown[1][1]) == without_marks(shown[0][1])
    assert without_marks(shown[1][1]).strip() in text and len(without_marks(shown[1][1])) > 10
    assert shown[1][1].count("‹pause›") == 3


def test_training_is_shown_as_it_is_configured(stream):
    first, other = config_of(), config_of()
    other = dataclasses.replace(other, seed=4)
    assert printed(first, stream) == printed(first, stream) != printed(other, stream)


# --- Finetuning

PAIRS = [("What is it?", "A cup."), ("One and one and one?", "3"), ("Hm?", "Caf\u00e9 is long"), ("x", "")]
APPENDED = "‹padding × 1›⟦What is it?‹pause›‹pause›⟧‹pause›A cup.⟦‹end›⟧"  # the first of them
FILLER = ord(".") + 3


def finetuning_config(**finetune):
    fields = {"task": "pairs", "m_ft": (3,), "max_prompt_length": 12, "target_length": 8, **finetune}
    return dataclasses.replace(config_of(rate=0.0), finetune=FinetuneConfig(**fields))


def pairs():
    vocabulary = vocabularies.load("byte")
    ids = [[vocabulary.encode(prompt) for prompt, _ in PAIRS], [[*vocabulary.encode(t), 1] for _, t in PAIRS]]
    return finetuning.Examples(
        *(finetuning.Ragged(np.concatenate(part).astype(np.int32), np.cumsum([0, *map(len, part)])) for part in ids)
    )


def finetuning_shown(config):
    file = io.StringIO()
    preview.show_examples(config, pairs(), FILLER, count=4, console=Console(file=file, width=40))
    return file.getvalue()


def test_an_example_is_its_prompt_its_pauses_and_its_target():
    """Cut to the lengths; the last pause carries loss, the end of a target is only predicted."""
    output = finetuning_shown(finetuning_config())
    bodies = {body for _, body in sections(output)}
    assert bodies == {
        APPENDED,
        "⟦one and one?‹pause›‹pause›⟧‹pause›3⟦‹end›⟧‹padding × 5›",
        r"‹padding × 9›⟦Hm?‹pause›‹pause›⟧‹pause›Caf\xc3\xa9 i‹next›s",
        "‹padding × 11›⟦x‹pause›‹pause›⟧‹pause›⟦‹end›⟧‹padding × 6›",
    }
    titles = {body: title for title, body in sections(output)}
    assert all(title.startswith(f"example {n} of 4, pairs: ") for n, (title, _) in enumerate(sections(output), start=1))
    assert titles[APPENDED].endswith(
        "prompt 11, pauses 3, target 7 (as many positions with loss); 14 positions see each other both ways"
    )
    assert (
        "4 examples: 25.00 % of prompts are longer than 12 tokens and lose their beginning, 25.00 % of targets "
        in output
    )


@pytest.mark.parametrize(
    ("finetune", "body", "parts"),
    [
        ({"m_ft": (0,)}, "‹padding × 1›⟦What is it⟧?A cup.⟦‹end›⟧", "prompt 11, pauses 0, target 7 "),
        (
            {"placement": "prepend"},
            "‹padding × 1›⟦‹pause›‹pause›‹pause›What is it⟧?A cup.⟦‹end›⟧",
            "prompt 11, pauses 3, target 7 ",
        ),
        ({"placement": "filler"}, "‹padding × 1›⟦What is it?..⟧.A cup.⟦‹end›⟧", "prompt and fillers 14, pauses 0, "),
        ({"attention": "prefix_only"}, APPENDED, "; 11 positions see"),
        ({"attention": "causal"}, APPENDED, "; 0 positions see"),
    ],
)
def test_other_ways_of_finetuning(finetune, body, parts):
    output = finetuning_shown(finetuning_config(**finetune))
    (title,) = [title for title, shown in sections(output) if shown == body]
    assert parts in title


def test_finetuning_in_colours_is_the_same_text():
    config = finetuning_config(m_ft=(0, 2))
    file = io.StringIO()
    console = Console(file=file, width=40, force_terminal=True, color_system="256")
    preview.show_examples(config, pairs(), FILLER, count=4, console=console)
    assert "\x1b" in file.getvalue()
    assert re.sub(r"\x1b\[[\d;]*m", "", file.getvalue()) == finetuning_shown(config)

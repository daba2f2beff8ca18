"""Finetuning batches: rows written by hand, order, resuming, and the drawn M."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest

from pause_jax.config import DataConfig, FinetuneConfig
from pause_jax.data import finetuning
from pause_jax.data.finetuning import Examples, Ragged
from pause_jax.errors import UserError
from pause_jax.pauses import downstream
from pause_jax.tokenizers import vocabularies
from tests.data.configs import config_of

V = 50  # pauses are 50 and 51
FILLER = 9


def ragged(*sequences):
    return Ragged(np.concatenate(sequences).astype(np.int32), np.cumsum([0, *map(len, sequences)]))


EXAMPLES = Examples(ragged([11], [12, 13, 14], [15, 16]), ragged([21, 1], [22, 23, 24, 1], [1]))


def config(batch_size=2, seed=3, num_pause_tokens=2, **finetune):
    return config_of(
        num_pause_tokens=num_pause_tokens,
        seed=seed,
        vocab_size=V,
        batch_size=batch_size,
        finetune=FinetuneConfig(**{"task": "t", "max_prompt_length": 3, "target_length": 4, **finetune}),
        validation_batches=9,
    )


def made(indices=(0, 1, 2), epoch=0, **finetune):
    asked = config(**{"max_prompt_length": 2, "target_length": 3, "m_ft": (3,), **finetune})
    index_B = np.array(indices)
    return finetuning.features(EXAMPLES, np.full_like(index_B, epoch), index_B, config=asked, filler_id=FILLER)


def test_rows_by_hand():
    """Prompts of 1, 3 (cut to its last 2) and 2 ids, three pauses, targets of 2, 4 (cut to 3) and 1; padding after."""
    rows = made((0, 1, 2, 3))
    np.testing.assert_array_equal(
        rows["inputs"],
        [
            [0, 11, 50, 51, 50, 21, 1],
            [13, 14, 50, 51, 50, 22, 23],
            [15, 16, 50, 51, 50, 1, 0],
            [0] * 7,
        ],
    )
    np.testing.assert_array_equal(rows["targets"][:3, 4:], [[21, 1, 0], [22, 23, 24], [1, 0, 0]])
    np.testing.assert_array_equal(
        rows["loss_weights"],
        [
            [0, 0, 0, 0, 1, 1, 0],
            [0, 0, 0, 0, 1, 1, 1],
            [0, 0, 0, 0, 1, 0, 0],
            [0] * 7,
        ],
    )
    np.testing.assert_array_equal(rows["positions"][0], [0, 0, 1, 2, 3, 4, 5])
    np.testing.assert_array_equal(rows["segment_ids"][0], [0, 1, 1, 1, 1, 1, 1])
    np.testing.assert_array_equal(rows["prefix_lm_length"], [5, 5, 5, 0])
    assert {name: array.dtype for name, array in rows.items()} == finetuning.FEATURES


@pytest.mark.parametrize(
    "placement, context, prefix_only",
    [
        ("append", [15, 16, 50, 51, 50], 2),
        ("prepend", [50, 51, 50, 15, 16], 5),
        ("filler", [15, 16, 9, 9, 9], 2),
    ],
)
def test_placements(placement, context, prefix_only):
    rows = made((2,), placement=placement)
    np.testing.assert_array_equal(rows["inputs"][0, :5], context)
    prefix_lm_length = {"prefix_and_pauses": 5, "prefix_only": prefix_only, "causal": 0}
    for attention, wanted in prefix_lm_length.items():
        assert made((2,), placement=placement, attention=attention)["prefix_lm_length"].tolist() == [wanted]


HINTED = dataclasses.replace(EXAMPLES, hints=ragged([31, 32, 33], [34], []))


@pytest.mark.parametrize(
    "hints, m_ft, wanted",
    [
        # The pauses' places, from the prompt's end on, but for the last, which answers. Prompts of 1, 2 (cut), 2.
        ("pauses", 3, [{2: 31, 3: 32, 4: 21, 5: 1}, {2: 34, 4: 22, 5: 23, 6: 24}, {4: 1}]),
        # The prompt's places up to the last but one, where the last hint is; a prompt of one token has none.
        ("prompt", 3, [{4: 21, 5: 1}, {0: 34, 4: 22, 5: 23, 6: 24}, {4: 1}]),
        ("prompt", 0, [{1: 21, 2: 1}, {0: 34, 1: 22, 2: 23, 3: 24}, {1: 1}]),
    ],
)
@pytest.mark.parametrize("placement", ["append", "filler"])
def test_hints_by_hand(hints, m_ft, wanted, placement):
    fields = {"max_prompt_length": 2, "target_length": 3, "m_ft": (m_ft,), "placement": placement}
    asked = config(**fields, hints=hints, attention="causal")
    epochs_B, index_B = np.zeros(4, int), np.arange(4)
    rows = finetuning.features(HINTED, epochs_B, index_B, config=asked, filler_id=FILLER)
    without = config(**fields, attention="causal")
    plain = finetuning.features(EXAMPLES, epochs_B, index_B, config=without, filler_id=FILLER)
    for row, weights, places in zip(rows["targets"], rows["loss_weights"], [*wanted, {}], strict=True):
        assert {int(k): int(row[k]) for k in np.flatnonzero(weights)} == places
    assert not rows["loss_weights"][:, : asked.first_loss].any()
    for name in set(finetuning.FEATURES) - {"targets", "loss_weights"}:
        np.testing.assert_array_equal(rows[name], plain[name])


def test_hints_of_a_task():
    finetune = FinetuneConfig(task="count_parity_6", hints="pauses", m_ft=(6,))
    task = finetuning.open_task(DataConfig(), finetune)
    prompt, hints = (bytes((part[0] - 3).tolist()).decode() for part in (task.train.prompts, task.train.hints))
    assert hints == "".join(str(prompt[1 : i + 2].count("1") % 2) for i in range(6))
    plain = finetuning.open_task(DataConfig(), dataclasses.replace(finetune, hints="none"))
    assert plain.train.hints is None and plain.manifest["train"] != task.manifest["train"]
    with pytest.raises(UserError, match=r"'recall_2' has no hints for config\.finetune\.hints; count_parity_N"):
        finetuning.open_task(DataConfig(), dataclasses.replace(finetune, task="recall_2"))


def test_of_several_numbers_each_example_draws_its_own():
    """Contexts end at one place, whatever was drawn; what is drawn depends on seed, epoch and example alone."""
    several = {"m_ft": (0, 1, 3), "attention": "prefix_only"}
    counts = []
    for epoch in range(200):
        rows = made(epoch=epoch, **several)
        drawn = (rows["inputs"] >= V).sum(1)
        np.testing.assert_array_equal(rows["prefix_lm_length"], 5 - drawn)
        np.testing.assert_array_equal(rows["targets"][:, 4], [21, 22, 1])
        for row, m in enumerate(drawn):
            assert m == finetuning.draw_m_ft((0, 1, 3), seed=3, epoch=epoch, example=row)
            assert (rows["inputs"][row, 5 - m : 5] >= V).all()
        counts.extend(drawn.tolist())
    np.testing.assert_allclose(np.bincount(counts)[[0, 1, 3]], 200, atol=5 * 12)  # 600 draws, spread 12


def batches(start=0, rows=(0, 1), m_ft=(0, 2), **settings):
    return finetuning.train_batches(EXAMPLES, config(m_ft=m_ft, **settings), FILLER, rows, start)


def take(iterator, count):
    return [{name: array.copy() for name, array in batch.items()} for batch in itertools.islice(iterator, count)]


def assert_same(ours, theirs):
    for a, b in zip(ours, theirs, strict=True):
        for name in finetuning.FEATURES:
            np.testing.assert_array_equal(a[name], b[name], err_msg=name)


def test_batch_t_is_a_function_of_t():
    straight = take(batches(), 8)
    assert_same(straight[5:], take(batches(start=5), 3))
    one_row = take(batches(rows=(1,)), 8)
    assert_same([{name: array[1:] for name, array in batch.items()} for batch in straight], one_row)


def test_an_epoch_has_each_example_once():
    """Three steps of two rows are two epochs of three examples; a prompt's first id after padding tells which."""
    rows = np.concatenate([batch["inputs"] for batch in take(batches(m_ft=(0,)), 3)])
    seen = [next(int(i) for i in row if i) for row in rows]
    assert sorted(seen[:3]) == sorted(seen[3:]) == [11, 12, 15]
    orders = {
        tuple(
            next(int(i) for i in row if i)
            for batch in take(batches(m_ft=(0,), seed=seed), 3)
            for row in batch["inputs"]
        )
        for seed in range(8)
    }
    assert len(orders) > 1


def test_validation_has_each_example_once_and_pads_the_last_batch():
    read = [take(finetuning.validation_batches(EXAMPLES, config(), FILLER, (0, 1)), 9) for _ in range(2)]
    assert_same(*read)
    assert [int((batch["segment_ids"] > 0).any(1).sum()) for batch in read[0]] == [2, 1]
    assert sum(batch["loss_weights"].sum() for batch in read[0]) == len(EXAMPLES.targets.ids)


def test_a_standard_model_takes_fillers_but_no_pauses():
    with pytest.raises(UserError, match=r"config\.model\.num_pause_tokens = 0 gives the model none"):
        batches(m_ft=(2,), num_pause_tokens=0)
    asked = config(m_ft=(2,), placement="filler", num_pause_tokens=0, batch_size=1)
    batch = next(finetuning.train_batches(EXAMPLES, asked, FILLER, (0,)))
    assert (batch["inputs"] == FILLER).sum() == 2


def test_open_task_reads_all_of_it():
    """Real SeqIO: the ids of each split's first and last example, and what identifies the data."""
    task = finetuning.open_task(DataConfig(), FinetuneConfig(task="recall_2", filler="a."))
    assert (len(task.train), len(task.validation)) == (131_072, 2048)
    assert task.filler_id == ord(".") + 3
    prompt = bytes((task.train.prompts[131_071] - 3).tolist()).decode()
    target = bytes((task.train.targets[131_071][:-1] - 3).tolist()).decode()
    assert len(prompt) == 8 and prompt[prompt.index(prompt[-2]) + 1] == target
    assert task.train.targets[0][-1] == 1
    assert task.manifest["train"]["examples"] == 131_072 and task.manifest["task"] == "recall_2"
    assert task.manifest["train"]["sha256"] != task.manifest["validation"]["sha256"]
    again = dataclasses.replace(task.validation, targets=task.validation.prompts)
    assert again.manifest()["sha256"] != task.validation.manifest()["sha256"]


def test_what_is_cut_is_told_with_the_lengths_that_would_do():
    """Prompts of 1 to 200 tokens in rooms for 150: 50 are cut, by 25.5 in the median; targets of 3 fit."""
    examples = Examples(ragged(*([1] * n for n in range(1, 201))), ragged(*[[1, 2, 3]] * 200))
    (sentence,) = finetuning.cut_sentences(examples, FinetuneConfig(task="t", max_prompt_length=150, target_length=3))
    assert sentence == (
        "50 of the 200 prompts of t have more than config.finetune.max_prompt_length = 150 tokens and lose their "
        "beginning, 26 tokens in the median: --config.finetune.max_prompt_length=199 keeps 99 % of them whole, 200 all"
    )
    (sentence,) = finetuning.cut_sentences(examples, FinetuneConfig(task="t", max_prompt_length=198, target_length=2))
    assert sentence.startswith("200 of the 200 targets of t have more than config.finetune.target_length = 2 tokens")
    assert finetuning.cut_sentences(examples, FinetuneConfig(task="t", max_prompt_length=198, target_length=3)) == []


def test_fillers():
    assert finetuning.filler_id(" .", vocabularies.load("byte")) == ord(".") + 3
    with pytest.raises(UserError, match=r"config\.finetune\.filler = '' has no token"):
        finetuning.filler_id("", vocabularies.load("byte"))


def test_pauses_and_rows_agree_on_the_first_answer():
    assert downstream.first_answer_position(2, 3) == int(made((1,))["loss_weights"][0].argmax())

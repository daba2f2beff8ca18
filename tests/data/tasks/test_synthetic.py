"""The synthetic tasks: every answer is worked out again from its prompt; distributions; names."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pause_jax.data import tasks, vocabularies
from pause_jax.data.tasks import synthetic
from pause_jax.errors import UserError

PROMPTS = {
    "count_parity": r">([01]+)=",
    "recall": r">((?:[a-z]\d)+)\?([a-z])=",
    "addition": r">(\d+)\+(\d+)=",
}


def answer(family, prompt):
    """Worked out from the prompt's text alone."""
    groups = re.fullmatch(PROMPTS[family], prompt).groups()
    if family == "count_parity":
        return str(groups[0].count("1") % 2)
    if family == "recall":
        return groups[0][groups[0].index(groups[1]) + 1]
    return str(int(groups[0]) + int(groups[1]))


@settings(max_examples=30)
@given(st.sampled_from(sorted(PROMPTS)), st.integers(1, 26), st.integers(0, 2**32))
def test_every_answer_is_right(family, n, seed):
    words = np.random.default_rng(seed).integers(0, 2**63, (20, 53), dtype=np.uint64)
    prompts, targets = synthetic.FAMILIES[family][0](words, n)
    assert len(prompts) == 20 and targets == [answer(family, prompt) for prompt in prompts]
    lengths = {"count_parity": n + 2, "recall": 2 * n + 4, "addition": 2 * n + 3}
    assert {len(prompt) for prompt in prompts} == {lengths[family]}


def test_counts_of_ones_are_uniform_and_their_places_too():
    """8,192 test examples of n = 24: 25 counts of 328 each, spread 18; each place one half the time, spread 45."""
    prompts, targets = synthetic.texts("count_parity", 24, "test")
    bits = np.array([[int(bit) for bit in prompt[1:-1]] for prompt in prompts])
    counts = np.bincount(bits.sum(1), minlength=25)
    assert len(counts) == 25 and np.abs(counts - 8192 / 25).max() < 5 * 18
    assert np.abs(bits.sum(0) - 4096).max() < 5 * 45
    assert abs(targets.count("0") / 8192 - 13 / 25) < 0.03


def test_keys_differ_within_a_prompt():
    for prompt in synthetic.texts("recall", 26, "validation")[0][:50]:
        assert sorted(prompt[1:53:2]) == list("abcdefghijklmnopqrstuvwxyz")


def test_splits_are_other_draws_and_the_same_each_time():
    train, validation, test = (synthetic.texts("count_parity", 24, split)[0] for split in tasks.SPLITS)
    assert [len(split) for split in (train, validation, test)] == [131_072, 2048, 8192]
    assert synthetic.texts("count_parity", 24, "test")[0] == test
    assert train[:2048] != validation and test[:2048] != validation
    assert test[0] == ">010110010000101100010110="  # the first ever drawn: no NumPy may change it


def test_the_seqio_task():
    task = tasks.get("addition_2", vocabularies.load("byte"))
    first = next(task.get_dataset(sequence_length=None, split="validation", shuffle=False).as_numpy_iterator())
    assert answer("addition", first["inputs_pretokenized"].decode()) == first["targets_pretokenized"].decode()
    assert first["inputs"].tolist() == [byte + 3 for byte in first["inputs_pretokenized"]]  # no EOS
    assert first["targets"].tolist() == [*(byte + 3 for byte in first["targets_pretokenized"]), 1]
    assert task.metric_fns[0](["1", "2"], ["1", "3"]) == {"accuracy": 50.0}


@pytest.mark.parametrize(
    "name, sentence",
    [
        ("gsm9k", r"there is no task 'gsm9k'; known are gsm8k, .*count_parity_N \(N bits\), recall_N .*addition_N"),
        ("count_parity", "there is no task 'count_parity'"),
        ("python_stdlib", "there is no task 'python_stdlib'"),  # a corpus
        ("recall_27", "task 'recall_27' cannot be: recall_N has N pairs, up to 26"),
        ("addition_0", "task 'addition_0' cannot be"),
    ],
)
def test_unknown_tasks(name, sentence):
    with pytest.raises(UserError, match=sentence):
        tasks.get(name, vocabularies.load("byte"))

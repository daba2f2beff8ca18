"""The synthetic tasks: every answer is worked out again from its prompt; distributions; names."""

from __future__ import annotations

import itertools
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pause_jax import tasks
from pause_jax.errors import UserError
from pause_jax.tasks import synthetic
from pause_jax.tokenizers import vocabularies

PROMPTS = {
    "count_parity": r">([01]+)=",
    "recall": r">((?:[a-z]\d)+)\?([a-z])=",
    "addition": r">(\d+)\+(\d+)=",
    "matches": r">([a-d]{12})=",
    "relation": r">([a-z0-5]+)\?([a-z0-5])=",
    "late_parity": r">([0-7]+)\?([0-7])=",
    "two_sum": r">([0-7]+)\?([0-7])=",
    "packed_pairs": r">([0-3]+),([0-3]+)\?([a-p])=",
    "kth": r">([a-z0-5]+)\?([a-z])=",
    "chase": r">([a-h]{8})\?([a-h])=",
    "walk_back": r">([a-h]{8})\?([a-h])=",
    "program": r">([0-7]+)\?([a-h])([a-h])=",
}
SYMBOLS = "abcdefghijklmnopqrstuvwxyz012345"
LENGTHS = {  # of prompts
    "count_parity": lambda n: n + 2,
    "recall": lambda n: 2 * n + 4,
    "addition": lambda n: 2 * n + 3,
    "matches": lambda n: 14,
    "relation": lambda n: n + 4,
    "late_parity": lambda n: n + 4,
    "two_sum": lambda n: n + 4,
    "packed_pairs": lambda n: 2 * n + 5,
    "kth": lambda n: n + 4,
    "chase": lambda n: 12,
    "walk_back": lambda n: 12,
    "program": lambda n: n + 5,
}
RELATED, PACKED = synthetic._fixed("relation", 32, 32) % 2, synthetic._fixed("packed_pairs", 16, 4, 4) % 2
LATE = synthetic._fixed("late_parity", 8, 8) % 2
PROGRAMS = synthetic._fixed("program", 8, 8).argsort(axis=1)
PAIRS = synthetic._fixed("matches", 66).argsort()  # of those that itertools.combinations gives, in its order


def answer(family, prompt, n):
    """Worked out from the prompt's text alone, one thing after the other: target and hints."""
    first, *more = re.fullmatch(PROMPTS[family], prompt).groups()
    asked = SYMBOLS.find(more[-1]) if more else 0
    if family == "count_parity":
        hints = "".join(str(first[: i + 1].count("1") % 2) for i in range(n))
        return str(first.count("1") % 2), hints
    if family == "recall":
        return first[first.index(more[0]) + 1], None
    if family == "addition":
        return str(int(first) + int(more[0])), None
    if family == "matches":
        pairs = list(itertools.combinations(range(12), 2))
        return letter(sum(first[pairs[p][0]] == first[pairs[p][1]] for p in PAIRS[:n])), None
    if family == "relation":
        return letter(sum(int(RELATED[asked, SYMBOLS.index(item)]) for item in first)), None
    if family == "late_parity":
        related = [int(LATE[int(more[0]), int(digit)]) for digit in first]
        parities = [sum(related[: i + 1]) % 2 for i in range(n)]
        return str(parities[-1]), "".join(map(str, related + parities))
    if family == "two_sum":
        sums = [(int(a) + int(b)) % 8 for a, b in itertools.combinations(first, 2)]
        return str(min(4, sums.count(int(more[0])))), None
    if family == "packed_pairs":
        return letter(sum(int(PACKED[asked, int(u), int(v)]) for u in first for v in more[0])), None
    if family == "kth":
        return sorted(first, key=SYMBOLS.index)[asked], None
    if family == "program":
        tables = [PROGRAMS[SYMBOLS.index(command)] for command in more]
        return letter(sum(int(tables[1][tables[0][int(value)]]) < 4 for value in first)), None
    path = more[0]
    for _ in range(n):
        path += first[SYMBOLS.index(path[-1])]
    return path[-1] if family == "chase" else path[:0:-1], path[1:]


def letter(count):
    return chr(ord("A") + count)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(sorted(PROMPTS)), st.integers(1, 26), st.integers(0, 2**32))
def test_every_answer_is_right(family, n, seed):
    n = min(n, synthetic.FAMILIES[family].largest)
    words = np.random.default_rng(seed).integers(0, 2**63, (20, 53), dtype=np.uint64)
    prompts, targets, hints = synthetic.FAMILIES[family].texts(words, n)
    wanted = [answer(family, prompt, n) for prompt in prompts]
    assert len(prompts) == 20 and targets == [target for target, _ in wanted]
    assert (hints or [None] * 20) == [hint for _, hint in wanted] and (hints is not None) == (
        f"{family}_N" in synthetic.with_hints()
    )
    assert {len(prompt) for prompt in prompts} == {LENGTHS[family](n)}
    options = synthetic.FAMILIES[family].options
    assert not options or set(targets) <= set(options)


def test_every_family_is_tested_and_takes_as_many_words_as_it_says():
    assert sorted(PROMPTS) == sorted(synthetic.FAMILIES)
    for name, family in synthetic.FAMILIES.items():
        for n in {1, min(26, family.largest), min(57, family.largest)}:
            assert len(synthetic.texts(name, n, "validation").prompts) == 2048


def test_what_is_fixed_is_neither_empty_nor_full():
    assert 0.4 < RELATED.mean() < 0.6 and 0.4 < PACKED.mean() < 0.6


def test_counts_of_ones_are_uniform_and_their_places_too():
    """8,192 test examples of n = 24: 25 counts of 328 each, spread 18; each place one half the time, spread 45."""
    prompts, targets, _ = synthetic.texts("count_parity", 24, "test")
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
    assert answer("addition", first["inputs_pretokenized"].decode(), 2)[0] == first["targets_pretokenized"].decode()
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

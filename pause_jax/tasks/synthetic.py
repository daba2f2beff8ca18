"""Tasks that need no download, named by family and difficulty: count_parity_24, recall_8, addition_3.

Examples are drawn from raw Philox words keyed by (task, difficulty, split): the same for every NumPy, and the splits
are independent draws. Where a task has few different prompts, some of the test's are in the training part too. Tables
that are drawn once for a family (`_fixed`) must be learned by heart.
"""

from __future__ import annotations

import dataclasses
import functools
import re
import zlib
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import seqio
import tensorflow as tf

from pause_jax.errors import UserError
from pause_jax.tasks import metrics

NUM_EXAMPLES = {"train": 2**17, "validation": 2048, "test": 8192}
_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_SYMBOLS = _LETTERS + "012345"  # of values below 32
_MATCH_LENGTH, _MATCH_VALUES = 12, 4
_SUMS, _MOST_SUMS = 8, 4  # two_sum: numbers below, pairs counted up to


class Texts(NamedTuple):
    """Prompt and target of each example; in some families also hints: the results of the steps of a computation."""

    prompts: list[str]
    targets: list[str]
    hints: list[str] | None = None  # one character for each step


def _fixed(name: str, *shape: int) -> np.ndarray:
    """Raw words that depend on the family's name alone: the same for every difficulty and split."""
    return np.random.Philox(key=[zlib.crc32(name.encode()), 0]).random_raw(int(np.prod(shape))).reshape(shape)


def count_parity(words_BxW: np.ndarray, n: int) -> Texts:
    """Is the number of ones among n bits even (0) or odd (1)? The count is uniform on 0..n, then the ones are placed.

    `>0110=` → `0`, hints `0100`: the parity so far. A constant answer is right for 13 of 25 counts at n = 24.
    """
    count_B = words_BxW[:, 0] % (n + 1)
    rank_BxN = words_BxW[:, 1 : n + 1].argsort(axis=1).argsort(axis=1)
    bits_BxN = (rank_BxN < count_B[:, None]).astype(int)
    prompts = [f">{bits}=" for bits in _joined(bits_BxN)]
    return Texts(prompts, [str(count % 2) for count in count_B], _joined(bits_BxN.cumsum(axis=1) % 2))


def recall(words_BxW: np.ndarray, n: int) -> Texts:
    """The value of a key among n pairs of a letter and a digit: `>k3a7z1?a=` → `7`."""
    keys_BxN = words_BxW[:, :26].argsort(axis=1)[:, :n]
    values_BxN = words_BxW[:, 26 : 26 + n] % 10
    asked_B = words_BxW[:, 26 + n] % n
    prompts = []
    for keys, values, asked in zip(keys_BxN, values_BxN, asked_B, strict=True):
        pairs = "".join(f"{_LETTERS[k]}{v}" for k, v in zip(keys, values, strict=True))
        prompts.append(f">{pairs}?{_LETTERS[keys[asked]]}=")
    return Texts(prompts, [str(values[asked]) for values, asked in zip(values_BxN, asked_B, strict=True)])


def addition(words_BxW: np.ndarray, n: int) -> Texts:
    """The sum of two numbers of n digits, leading zeros written: `>047+985=` → `1032`."""
    digits_Bx2xN = words_BxW[:, : 2 * n].reshape(-1, 2, n) % 10
    pairs = [["".join(map(str, number)) for number in row] for row in digits_Bx2xN]
    return Texts([f">{a}+{b}=" for a, b in pairs], [str(int(a) + int(b)) for a, b in pairs])


def matches(words_BxW: np.ndarray, n: int) -> Texts:
    """At how many of n fixed pairs among 12 places are both of the four values equal? (Theorem J.1's operations.)

    `>abca…=` → `D` for 3. The pairs of a smaller n are among those of a larger one.
    """
    values_BxK = words_BxW[:, :_MATCH_LENGTH] % _MATCH_VALUES
    first, second = np.triu_indices(_MATCH_LENGTH, 1)
    pairs_N = _fixed("matches", len(first)).argsort()[:n]
    count_B = (values_BxK[:, first[pairs_N]] == values_BxK[:, second[pairs_N]]).sum(axis=1)
    return Texts([f">{text}=" for text in _symbols(values_BxK)], _count_letters(count_B))


def relation(words_BxW: np.ndarray, n: int) -> Texts:
    """How many of n items are related, by a fixed table of 32 by 32, to the item asked for after them?

    `>k3a0?q=` → `C` for 2.
    """
    items_BxN, asked_B, related_BxN = _related("relation", 32, words_BxW, n)
    texts = zip(_symbols(items_BxN), _symbols(asked_B[:, None]), strict=True)
    return Texts([f">{items}?{asked}=" for items, asked in texts], _count_letters(related_BxN.sum(axis=1)))


def late_parity(words_BxW: np.ndarray, n: int) -> Texts:
    """Is the number of n digits below 8 that are related, by a fixed table, to the last one even (0) or odd (1)?

    `>6172?0=` → `1`, hints `00010001`: whether each digit is related, then the parity after each. A causal model can
    know neither while it reads the digits.
    """
    digits_BxN, asked_B, related_BxN = _related("late_parity", 8, words_BxW, n)
    parities_BxN = related_BxN.cumsum(axis=1) % 2
    prompts = [f">{digits}?{asked}=" for digits, asked in zip(_joined(digits_BxN), asked_B, strict=True)]
    steps = _joined(np.concatenate([related_BxN, parities_BxN], axis=1))
    return Texts(prompts, [text[-1] for text in steps], steps)


def _related(family: str, size: int, words_BxW: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """n values below `size`, the one asked for, and 1 for each value that has the family's fixed relation to it."""
    values_BxN, asked_B = words_BxW[:, :n] % size, words_BxW[:, n] % size
    is_related = _fixed(family, size, size) % 2
    return values_BxN, asked_B, is_related[asked_B[:, None], values_BxN].astype(int)


def two_sum(words_BxW: np.ndarray, n: int) -> Texts:
    """How many pairs of n numbers below 8 sum, modulo 8, to the number after them, at most 4? `>0172?1=` → `2`."""
    numbers_BxN, wanted_B = words_BxW[:, :n] % _SUMS, words_BxW[:, n] % _SUMS
    first, second = np.triu_indices(n, 1)
    sums_BxP = (numbers_BxN[:, first] + numbers_BxN[:, second]) % _SUMS
    count_B = np.minimum((sums_BxP == wanted_B[:, None]).sum(axis=1), _MOST_SUMS)
    prompts = [f">{row}?{wanted}=" for row, wanted in zip(_joined(numbers_BxN), wanted_B, strict=True)]
    return Texts(prompts, [str(count) for count in count_B])


def packed_pairs(words_BxW: np.ndarray, n: int) -> Texts:
    """How many of n by n pairs (u, v) of values below 4 have the relation asked for, one of 16 fixed tables?

    `>0123,3210?k=` → `J` for 9.
    """
    u_BxN, v_BxN, key_B = words_BxW[:, :n] % 4, words_BxW[:, n : 2 * n] % 4, words_BxW[:, 2 * n] % 16
    is_related = _fixed("packed_pairs", 16, 4, 4) % 2
    count_B = is_related[key_B[:, None, None], u_BxN[:, :, None], v_BxN[:, None, :]].sum(axis=(1, 2)).astype(int)
    parts = zip(_joined(u_BxN), _joined(v_BxN), _symbols(key_B[:, None]), strict=True)
    return Texts([f">{u},{v}?{key}=" for u, v, key in parts], _count_letters(count_B))


def kth(words_BxW: np.ndarray, n: int) -> Texts:
    """The k-th smallest of n different values below 32, where a letter after them gives k: `>k3a0?b=` → `k`."""
    values_BxN = words_BxW[:, :32].argsort(axis=1)[:, :n]
    k_B = (words_BxW[:, 32] % n).astype(int)
    answer_B = np.take_along_axis(np.sort(values_BxN, axis=1), k_B[:, None], axis=1)
    texts = zip(_symbols(values_BxN), k_B, strict=True)
    return Texts([f">{values}?{_LETTERS[k]}=" for values, k in texts], _symbols(answer_B))


def chase(words_BxW: np.ndarray, n: int) -> Texts:
    """Follow a table from each of 8 letters to another for n steps: `>bcdaefgh?a=` → `c` for 2; hints: every step."""
    prompts, steps = _walks(words_BxW, n)
    return Texts(prompts, [text[-1] for text in steps], steps)


def walk_back(words_BxW: np.ndarray, n: int) -> Texts:
    """All n steps of `chase`, the last one first: `>bcdaefgh?a=` → `cb`. Forwards, each would be a single look-up."""
    prompts, steps = _walks(words_BxW, n)
    return Texts(prompts, [text[::-1] for text in steps], steps)


def _walks(words_BxW: np.ndarray, n: int) -> tuple[list[str], list[str]]:
    table_Bx8, at_B = words_BxW[:, :8] % 8, words_BxW[:, 8] % 8
    path = [at_B]
    for _ in range(n):
        path.append(np.take_along_axis(table_Bx8, path[-1][:, None].astype(int), axis=1)[:, 0])
    prompts = [f">{t}?{s}=" for t, s in zip(_symbols(table_Bx8), _symbols(at_B[:, None]), strict=True)]
    return prompts, _symbols(np.stack(path[1:], axis=1))


def program(words_BxW: np.ndarray, n: int) -> Texts:
    """How many of n digits below 8 end below 4 after two commands, permutations from a fixed table of 8, in turn?

    `>0172?fa=` → `B` for 1.
    """
    values_BxN, commands_Bx2 = words_BxW[:, :n] % 8, words_BxW[:, n : n + 2] % 8
    tables_8x8 = _fixed("program", 8, 8).argsort(axis=1)
    at_BxN = tables_8x8[commands_Bx2[:, :1], values_BxN]
    count_B = (tables_8x8[commands_Bx2[:, 1:], at_BxN] < 4).sum(axis=1)
    texts = zip(_joined(values_BxN), _symbols(commands_Bx2), strict=True)
    return Texts([f">{values}?{commands}=" for values, commands in texts], _count_letters(count_B))


@dataclasses.dataclass(frozen=True)
class Family:
    """Tasks of one kind that differ in their difficulty N."""

    texts: Callable[[np.ndarray, int], Texts]  # from random words
    words: Callable[[int], int]  # how many random words an example takes
    number: str  # what N is, for messages
    largest: int = 1000
    options: tuple[str, ...] = ()  # all possible answers, where they are few
    has_hints: bool = False


_BITS, _DIGITS = ("0", "1"), tuple("0123456789")
FAMILIES = {
    "count_parity": Family(count_parity, lambda n: n + 1, "N bits", options=_BITS, has_hints=True),
    "recall": Family(recall, lambda n: 27 + n, "N pairs, up to 26", 26, _DIGITS),
    "addition": Family(addition, lambda n: 2 * n, "N digits"),
    "matches": Family(matches, lambda n: _MATCH_LENGTH, "N pairs, up to 57", 57),  # the letters from A to z
    "relation": Family(relation, lambda n: n + 1, "N items, up to 57", 57),
    "late_parity": Family(late_parity, lambda n: n + 1, "N digits", options=_BITS, has_hints=True),
    "two_sum": Family(two_sum, lambda n: n + 1, "N numbers", options=tuple("01234")),
    "packed_pairs": Family(packed_pairs, lambda n: 2 * n + 1, "N by N pairs, N up to 7", 7),
    "kth": Family(kth, lambda n: 33, "N values, up to 26", 26, tuple(_SYMBOLS)),
    "chase": Family(chase, lambda n: 9, "N steps", options=tuple(_LETTERS[:8]), has_hints=True),
    "walk_back": Family(walk_back, lambda n: 9, "N steps", has_hints=True),
    "program": Family(program, lambda n: n + 2, "N digits, up to 57", 57),
}


def with_hints() -> list[str]:
    """The tasks that have hints."""
    return [f"{name}_N" for name, family in FAMILIES.items() if family.has_hints]


def register_if_named(name: str) -> None:
    """Adds the task to SeqIO's registry where `name` is a family's name, an underscore and a number.

    Raises:
      UserError: the number is out of the family's range.
    """
    match = re.fullmatch(r"(\w+)_(\d+)", name)
    if match is None or match[1] not in FAMILIES or name in seqio.TaskRegistry.names():
        return
    family, n = FAMILIES[match[1]], int(match[2])
    if not 1 <= n <= family.largest:
        raise UserError(f"task {name!r} cannot be: {match[1]}_N has {family.number}, from 1")
    byte = seqio.ByteVocabulary(extra_ids=0)
    texts = {name: seqio.Feature(byte, add_eos=False) for name in ("inputs", "hints")[: 1 + family.has_hints]}
    seqio.TaskRegistry.add(
        name,
        source=seqio.FunctionDataSource(
            functools.partial(_dataset, match[1], n), splits=tuple(NUM_EXAMPLES), num_input_examples=NUM_EXAMPLES
        ),
        preprocessors=[seqio.preprocessors.tokenize, seqio.preprocessors.append_eos],
        output_features={**texts, "targets": seqio.Feature(byte)},
        metric_fns=[metrics.accuracy, metrics.option_accuracy] if family.options else [metrics.accuracy],
        shuffle_buffer_size=None,  # examples are drawn at random
    )


def register_text_if_named(name: str) -> None:
    """Adds a corpus whose documents are a task's prompts with their answers, for its name and `_text`.

    Raises:
      UserError: as `register_if_named`.
    """
    task_name = name.removesuffix("_text")
    register_if_named(task_name)
    if task_name == name or task_name not in seqio.TaskRegistry.names() or name in seqio.TaskRegistry.names():
        return
    source = seqio.TaskRegistry.get(task_name).source
    seqio.TaskRegistry.add(
        name,
        source=source,
        preprocessors=[_whole_text, seqio.preprocessors.tokenize, seqio.preprocessors.append_eos],
        output_features={"targets": seqio.Feature(seqio.ByteVocabulary(extra_ids=0))},
        shuffle_buffer_size=None,
    )


def _whole_text(dataset: tf.data.Dataset) -> tf.data.Dataset:
    return dataset.map(lambda example: {"targets": example["inputs"] + example["targets"]})


def texts(family: str, n: int, split: str) -> Texts:
    """All prompts, targets and hints of a split."""
    count, width = NUM_EXAMPLES[split], FAMILIES[family].words(n)
    key = [zlib.crc32(f"{family}_{n}".encode()), zlib.crc32(split.encode())]
    words = np.random.Philox(key=key).random_raw(count * width).reshape(count, width)
    return FAMILIES[family].texts(words, n)


def _dataset(family: str, n: int, split: str, shuffle_files: bool, seed: int | None = None) -> tf.data.Dataset:
    prompts, targets, hints = texts(family, n, split)
    features: dict[str, Any] = {"inputs": prompts, "targets": targets}
    if hints is not None:
        features["hints"] = hints
    if options := FAMILIES[family].options:
        features["options"] = np.broadcast_to(np.array(options, object), (len(targets), len(options)))
        features["label"] = np.array([options.index(target) for target in targets], np.int32)
    return tf.data.Dataset.from_tensor_slices(features)


def _joined(digits_BxN: np.ndarray) -> list[str]:
    return ["".join(map(str, row)) for row in digits_BxN.tolist()]


def _count_letters(count_B: np.ndarray) -> list[str]:
    """A for 0, B for 1, …"""
    return [chr(ord("A") + count) for count in count_B.tolist()]


def _symbols(values_BxN: np.ndarray) -> list[str]:
    return ["".join(map(_SYMBOLS.__getitem__, row)) for row in values_BxN.tolist()]

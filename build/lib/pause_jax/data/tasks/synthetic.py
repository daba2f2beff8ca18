"""Tasks that need no download, each as hard as its number says: count_parity_24, recall_8, addition_3.

Examples are drawn from raw Philox words keyed by (task, difficulty, split): the same for every NumPy, and the splits
are independent draws. Where a task has few different prompts, some of the test's are in the training part too.
"""

from __future__ import annotations

import functools
import re
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import seqio
import tensorflow as tf

from pause_jax.errors import UserError
from pause_jax.evaluation import metrics

Texts = tuple[list[str], list[str]]  # prompts, targets
NUM_EXAMPLES = {"train": 2**17, "validation": 2048, "test": 8192}
_LETTERS = "abcdefghijklmnopqrstuvwxyz"


def count_parity(words_BxW: np.ndarray, n: int) -> Texts:
    """Is the number of ones among n bits even (0) or odd (1)? The count is uniform on 0..n, then the ones are placed.

    `>0110=` → `0`. A constant answer is right for 13 of 25 counts at n = 24.
    """
    count_B = words_BxW[:, 0] % (n + 1)
    rank_BxN = words_BxW[:, 1 : n + 1].argsort(axis=1).argsort(axis=1)
    bits_BxN = (rank_BxN < count_B[:, None]).astype(int)
    return [f">{''.join(map(str, row))}=" for row in bits_BxN], [str(count % 2) for count in count_B]


def recall(words_BxW: np.ndarray, n: int) -> Texts:
    """The value of a key among n pairs of a letter and a digit: `>k3a7z1?a=` → `7`."""
    keys_BxN = words_BxW[:, :26].argsort(axis=1)[:, :n]
    values_BxN = words_BxW[:, 26 : 26 + n] % 10
    asked_B = words_BxW[:, 26 + n] % n
    prompts = []
    for keys, values, asked in zip(keys_BxN, values_BxN, asked_B, strict=True):
        pairs = "".join(f"{_LETTERS[k]}{v}" for k, v in zip(keys, values, strict=True))
        prompts.append(f">{pairs}?{_LETTERS[keys[asked]]}=")
    return prompts, [str(values[asked]) for values, asked in zip(values_BxN, asked_B, strict=True)]


def addition(words_BxW: np.ndarray, n: int) -> Texts:
    """The sum of two numbers of n digits, leading zeros written: `>047+985=` → `1032`."""
    digits_Bx2xN = words_BxW[:, : 2 * n].reshape(-1, 2, n) % 10
    pairs = [["".join(map(str, number)) for number in row] for row in digits_Bx2xN]
    return [f">{a}+{b}=" for a, b in pairs], [str(int(a) + int(b)) for a, b in pairs]


# name → (texts from random words, what its number is)
FAMILIES: dict[str, tuple[Callable[[np.ndarray, int], Texts], str]] = {
    "count_parity": (count_parity, "N bits"),
    "recall": (recall, "N pairs, up to 26"),
    "addition": (addition, "N digits"),
}
_OPTIONS = {"count_parity": ["0", "1"], "recall": list("0123456789")}  # where the answer is one of a few
_WORDS = {"count_parity": lambda n: n + 1, "recall": lambda n: 27 + n, "addition": lambda n: 2 * n}


def register_if_named(name: str) -> None:
    """Adds the task to SeqIO's registry where `name` is a family's name, an underscore and a number.

    Raises:
      UserError: the number cannot be.
    """
    match = re.fullmatch(r"(\w+)_(\d+)", name)
    if match is None or match[1] not in FAMILIES or name in seqio.TaskRegistry.names():
        return
    family, n = match[1], int(match[2])
    if not 1 <= n <= (26 if family == "recall" else 1000):
        raise UserError(f"task {name!r} cannot be: {family}_N has {FAMILIES[family][1]}, from 1")
    byte = seqio.ByteVocabulary(extra_ids=0)
    seqio.TaskRegistry.add(
        name,
        source=seqio.FunctionDataSource(
            functools.partial(_dataset, family, n), splits=tuple(NUM_EXAMPLES), num_input_examples=NUM_EXAMPLES
        ),
        preprocessors=[seqio.preprocessors.tokenize, seqio.preprocessors.append_eos],
        output_features={"inputs": seqio.Feature(byte, add_eos=False), "targets": seqio.Feature(byte)},
        metric_fns=[metrics.accuracy, metrics.option_accuracy] if family in _OPTIONS else [metrics.accuracy],
        shuffle_buffer_size=None,  # examples are drawn at random
    )


def texts(family: str, n: int, split: str) -> Texts:
    """All prompts and targets of a split."""
    count, width = NUM_EXAMPLES[split], _WORDS[family](n)
    key = [zlib.crc32(f"{family}_{n}".encode()), zlib.crc32(split.encode())]
    words = np.random.Philox(key=key).random_raw(count * width).reshape(count, width)
    return FAMILIES[family][0](words, n)


def _dataset(family: str, n: int, split: str, shuffle_files: bool, seed: int | None = None) -> tf.data.Dataset:
    prompts, targets = texts(family, n, split)
    features: dict[str, Any] = {"inputs": prompts, "targets": targets}
    if options := _OPTIONS.get(family):
        features["options"] = np.broadcast_to(np.array(options, object), (len(targets), len(options)))
        features["label"] = np.array([options.index(target) for target in targets], np.int32)
    return tf.data.Dataset.from_tensor_slices(features)

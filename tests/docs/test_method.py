"""docs/method.md: its code gives the figures that it prints, and its table is that of its code."""

from __future__ import annotations

import doctest

import numpy as np

from pause_jax.pauses import insertion
from tests.published_commands import ROOT

PAGE = ROOT / "docs" / "method.md"


def test_the_code_of_the_page():
    result = doctest.testfile(str(PAGE), module_relative=False, encoding="utf-8")
    assert result.attempted > 15 and not result.failed


def test_the_table_of_a_row():
    text = np.arange(1, 10)[None]
    is_pause = np.array([[0, 0, 1, 0, 0, 1, 1, 0, 0, 0, 0]], bool)
    rows = insertion.insert(text, np.ones_like(text), is_pause, length=8, vocab_size=100, num_pause_tokens=1)
    features = insertion.model_features(*rows, vocab_size=100)
    letters = {100: "_", **{i: chr(ord("A") + i - 1) for i in range(1, 10)}}
    columns = {
        "position": features["positions"][0],
        "reads": [letters[i] for i in features["inputs"][0].tolist()],
        "predicts": [letters[i] for i in features["targets"][0].tolist()],
        "loss weight": features["loss_weights"][0].astype(int),
    }
    page = PAGE.read_text(encoding="utf-8")
    for name, values in columns.items():
        assert f"| {name} | {' | '.join(map(str, values))} |\n" in page

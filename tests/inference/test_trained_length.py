"""With RoPE a prompt may be longer than anything that was trained: that is told once, with numbers."""

from __future__ import annotations

import dataclasses

import pytest
from absl import logging

from pause_jax.inference.restored import RestoredRun
from tests.interop.runs import LLAMA, make_run


@pytest.fixture
def told(monkeypatch):
    sentences = []

    def note(level, text, n, *args):
        if "positions" in text:  # Orbax says other things so
            sentences.append(text % args)

    monkeypatch.setattr(logging, "log_first_n", note)
    return sentences


def restored(tmp_path, length):
    run = make_run(tmp_path / "run", num_pause_tokens=2, **LLAMA)
    restored = RestoredRun.restore(str(run.path))
    assert restored.trained_length == restored.config.length
    vars(restored)["trained_length"] = length
    return restored


def test_prompts_and_pauses_beyond_the_trained_rows_are_told(tmp_path, told):
    run = restored(tmp_path, length=10)
    run.complete(["x" * 8], m_inf=2, max_new_tokens=1)
    assert told == []
    run.complete(["x" * 8, "x"], m_inf=3, max_new_tokens=1)
    list(run.prefill([[5] * 11], [0], extra_cache_length=1))
    run.logits("x" * 11)
    assert [sentence.partition(", and ")[0] for sentence in told] == [
        "a prompt of 8 tokens and 3 pauses are 11 positions",
        "a prompt of 11 tokens and 0 pauses are 11 positions",
        "a prompt of 11 tokens and 0 pauses are 11 positions",
    ]
    assert "was trained on rows of at most 10: " in told[0]


def test_nothing_is_told_where_positions_are_learned_or_the_length_is_not_known(tmp_path, told):
    run = restored(tmp_path, length=None)
    run.complete(["x" * 30], m_inf=0, max_new_tokens=1)
    learned = dataclasses.replace(run.config, model=dataclasses.replace(run.config.model, positions="learned"))
    other = dataclasses.replace(run, config=learned)
    vars(other)["trained_length"] = 10
    other._warn_if_longer([[1] * 20], 0)
    assert told == []

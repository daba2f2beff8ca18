"""Examples of real SeqIO tasks, as the evaluator gets them."""

from __future__ import annotations

import pytest

from pause_jax.data import evaluation
from pause_jax.errors import UserError


def test_a_task_with_options():
    got = evaluation.read_examples("count_parity_6", vocabulary="byte", split="test", limit=50)
    assert len(got.prompts) == 50 and len(got.texts[0]) == 8
    for text, prompt, target, label, options in zip(
        got.texts, got.prompts, got.targets, got.labels, got.options, strict=True
    ):
        assert prompt == [byte + 3 for byte in text.encode()]
        assert target == str(text.count("1") % 2) == str(label)
        assert options == [[ord("0") + 3], [ord("1") + 3]]
    assert got.predict_metrics[0](got.targets, got.targets) == {"accuracy": 100.0}
    assert len(got.score_metrics) == 1
    assert got.postprocess("x", 0) == "x"


def test_a_task_without_options():
    got = evaluation.read_examples("addition_2", vocabulary="byte", split="validation")
    assert len(got.prompts) == 2048 and not got.options and not got.labels and not got.score_metrics


@pytest.mark.parametrize(
    ("name", "split", "sentence"),
    [
        ("none", "test", "there is no task 'none'"),
        ("recall_2", "dev", "task 'recall_2' has no split 'dev'; it has train"),
    ],
)
def test_mistakes(name, split, sentence):
    with pytest.raises(UserError, match=sentence):
        evaluation.read_examples(name, vocabulary="byte", split=split)

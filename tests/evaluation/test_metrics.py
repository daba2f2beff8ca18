"""Metrics on hand-made answers."""

from __future__ import annotations

import doctest

import pytest

from pause_jax.evaluation import metrics
from pause_jax.evaluation.metrics import OptionScore


def test_examples_of_the_docstrings():
    result = doctest.testmod(metrics)
    assert result.attempted >= 3 and result.failed == 0


def test_accuracy():
    assert metrics.accuracy(["a", "b c", "d"], [" a\n", "b  c", "d"]) == {"accuracy": pytest.approx(200 / 3)}


def test_the_first_of_equal_options_is_chosen():
    equal = [OptionScore(-1.0, 1), OptionScore(-1.0, 1)]
    assert metrics.option_accuracy([0, 1], [equal, equal])["option_accuracy"] == 50.0


def test_as_many_answers_as_targets():
    with pytest.raises(ValueError):
        metrics.accuracy(["a", "b"], ["a"])

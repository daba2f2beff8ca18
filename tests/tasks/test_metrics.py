"""Metrics on hand-made answers, and what holds for all answers."""

from __future__ import annotations

import doctest

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pause_jax.tasks import metrics
from pause_jax.tasks.metrics import OptionScore

SCORES = st.builds(OptionScore, st.integers(-500, -1).map(float), st.integers(1, 20), st.integers(1, 90))
QUESTIONS = st.lists(
    st.lists(SCORES, min_size=2, max_size=4).flatmap(
        lambda options: st.tuples(st.integers(0, len(options) - 1), st.just(options))
    ),
    min_size=1,
)


def test_examples_of_the_docstrings():
    result = doctest.testmod(metrics)
    assert result.attempted >= 5 and result.failed == 0


def test_accuracy():
    assert metrics.accuracy(["a", "b c", "d"], [" a\n", "b  c", "d"]) == {"accuracy": pytest.approx(200 / 3)}


def test_the_first_of_equal_options_is_chosen():
    equal = [OptionScore(-1.0, 1, 1), OptionScore(-1.0, 1, 1)]
    assert metrics.option_accuracy([0, 1], [equal, equal])["option_accuracy"] == 50.0


def test_each_length_chooses_another_option():
    """A token costs 2, 1.5 and 3 nats; a character 1, 1.5 and 0.5."""
    options = [OptionScore(-2.0, 1, 2), OptionScore(-3.0, 2, 2), OptionScore(-6.0, 2, 12)]
    assert metrics.option_accuracy([0], [options]) == {"option_accuracy": 100.0, "option_accuracy_per_token": 0.0}
    assert metrics.option_accuracy([1], [options]) == {"option_accuracy": 0.0, "option_accuracy_per_token": 100.0}
    for right, wanted in enumerate([0.0, 0.0, 100.0]):
        got = metrics.option_accuracy_per_character([right], [options])
        assert got == {"option_accuracy_per_character": wanted}


@given(QUESTIONS)
def test_an_option_more_likely_than_all_is_right_whatever_the_length(questions):
    right = [target for target, _ in questions]
    sure = [[*o[:t], OptionScore(-1e-6, 1, 1), *o[t + 1 :]] for t, o in questions]
    got = metrics.option_accuracy(right, sure) | metrics.option_accuracy_per_character(right, sure)
    lengths_differ = any(len({option.num_tokens for option in options}) > 1 for options in sure)
    assert set(got.values()) == {100.0} and len(got) == (3 if lengths_differ else 2)


@given(QUESTIONS)
def test_of_options_equally_long_the_length_says_nothing(questions):
    right = [target for target, _ in questions]
    even = [[OptionScore(option.log_p, 4, 16) for option in options] for _, options in questions]
    got = metrics.option_accuracy(right, even) | metrics.option_accuracy_per_character(right, even)
    assert len(set(got.values())) == 1
    assert set(got) == {"option_accuracy", "option_accuracy_per_character"}


@given(st.lists(st.tuples(st.sampled_from("ABCDE"), st.sets(st.sampled_from("ABCDE"))), min_size=1))
def test_a_label_is_right_or_wrong_or_none(pairs):
    right, matched = [a for a, _ in pairs], [b for _, b in pairs]
    got = metrics.label_accuracy(right, matched)
    wrong = sum(bool(b) and a not in b for a, b in pairs)
    assert got["accuracy"] + got["no_choice"] + 100 * wrong / len(pairs) == pytest.approx(100)
    assert metrics.label_accuracy(right, ["ABCDE"] * len(right)) == {"accuracy": 100.0, "no_choice": 0.0}


@pytest.mark.parametrize(
    "metric, answer",
    [
        (metrics.accuracy, "a"),
        (metrics.label_accuracy, ["A"]),
        (metrics.option_accuracy, [OptionScore(-1.0, 1, 1)]),
        (metrics.option_accuracy_per_character, [OptionScore(-1.0, 1, 1)]),
    ],
)
def test_as_many_answers_as_targets(metric, answer):
    with pytest.raises(ValueError):
        metric(["a", "b"], [answer])

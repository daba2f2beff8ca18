"""Answers made right and wrong, and the sign test, by hand."""

import pytest

from pause_jax.diagnostics.flips import Flips, compare


def answers(*scores, text="a"):
    return [
        {"id": i, "prompt": f"p{i}", "target": f"t{i}", "prediction": f"{text}{i}", "score": score}
        for i, score in enumerate(scores)
    ]


def test_flips_by_hand():
    """Five examples: made right, made wrong, right and wrong in both; and from half right, which is wrong, to right."""
    found = compare(answers(0.0, 100.0, 100.0, 0.0, 50.0, text="b"), answers(100.0, 50.0, 100.0, 0.0, 100.0, text="a"))
    assert [(f.id, f.to_right) for f in found.flips] == [(0, True), (1, False), (4, True)]
    first = found.flips[0]
    assert (first.prompt, first.target, first.without_pauses, first.with_pauses) == ("p0", "t0", "b0", "a0")
    assert (found.to_right, found.to_wrong, found.both_right, found.both_wrong, found.examples) == (2, 1, 1, 1, 5)
    assert found.p_value == pytest.approx(1.0)  # 2 of 3: (3 + 1 + 1 + 3) / 8


@pytest.mark.parametrize(
    ("to_right", "to_wrong", "p_value"),
    [(0, 0, 1.0), (3, 0, 2 / 8), (0, 3, 2 / 8), (5, 1, 14 / 64), (8, 0, 2 / 256)],
)
def test_sign_test_by_hand(to_right, to_wrong, p_value):
    found = compare(answers(*[0.0] * to_right, *[100.0] * to_wrong), answers(*[100.0] * to_right, *[0.0] * to_wrong))
    assert isinstance(found, Flips) and found.p_value == pytest.approx(p_value)

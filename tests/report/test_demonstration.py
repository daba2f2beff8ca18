"""The demonstration's file, from the toy task's published figures."""

from __future__ import annotations

import json

import pytest

from pause_jax.errors import UserError
from pause_jax.report import demonstration
from tests.report.result_rows import TOY_LONGER, TOY_MINUS_NONE, TOY_NONE, row, toy_rows


def percent(shares):
    return [round(100 * share, 2) for share in shares]


def test_each_arm_has_its_seeds_in_order(tmp_path):
    prefix_lm_length = [row(task="count_parity_24", seed=10, steps=3000, attention="prefix_and_pauses", value=99.0)]
    at_other_m = [row(task="count_parity_24", seed=10, steps=3000, m_ft="24", m_inf=0, finetune="pause", value=1.0)]
    rows = [
        *prefix_lm_length,
        *at_other_m,
        *reversed(list(toy_rows())),
        row(split="validation", task="count_parity_24"),
    ]
    demonstration.write(tmp_path / "docs" / "d.json", rows, wall_seconds=812.4, command="python -m launch.sweep")
    told = json.loads((tmp_path / "docs" / "d.json").read_text())
    assert told == {
        "task": "count_parity_24",
        "unit": "% accuracy",
        "seeds": [10, 11, 12, 13, 14, 15],
        "steps": 3000,
        "pauses": 24,
        "pause": percent(none + more for none, more in zip(TOY_NONE, TOY_MINUS_NONE, strict=True)),
        "no_pause": percent(TOY_NONE),
        "no_pause_flop_matched": percent(TOY_LONGER),
        "wall_seconds": 812,
        "command": "python -m launch.sweep",
    }


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        ([], r"one task, number of pauses and of steps, but there are \[\]"),
        ([*toy_rows(), row(task="recall_8")], "of one task"),
        (
            [r for r in toy_rows() if r.steps < 7000],
            r"no_pause_flop_matched has the seeds \[\], but pause has \[10, 11",
        ),
        ([r for r in toy_rows() if r.seed != 12 or r.m_inf], r"arm no_pause has the seeds \[10, 11, 13, 14, 15\]"),
    ],
)
def test_what_is_no_demonstration(rows, sentence):
    with pytest.raises(UserError, match=sentence):
        demonstration.summarise(rows)

"""The table and the picture over the history."""

from __future__ import annotations

import json

import pytest

from benchmarks import show
from pause_jax.errors import UserError


def record(date, **results):
    machine = {"cpu": "a CPU", "cores": 2, "memory_gib": 8.0, "load_before": 0.1}
    return {
        "date": date,
        "commit": "abc",
        "machine": machine,
        "versions": {"jax": "1", "numpy": "2"},
        "results": {name.replace("_in_", "/"): result for name, result in results.items()},
    }


def result(ratio, **more):
    return {
        "ours": 0.5,
        "peer": 0.5 / ratio,
        "ratio": ratio,
        "goal": 1.0,
        "unit": "s/step",
        "holds": ratio <= 1,
        "ratio_min": ratio - 0.1,
        "ratio_max": ratio + 0.1,
        **more,
    }


DECODE, SCORE = "decode_in_gpt2", "score_in_shared_prompt"
WHOLE = record(
    "2026-01-02T00:00:00+00:00",
    **{
        SCORE: result(0.8, mfu=0.61, peer_mfu=0.5),
        DECODE: result(1.25),
        "was_in_once": result(0.1),
        "peak_in_triad": result(0.9, goal=None),
    },
)
LATER = record("2026-01-03T00:00:00+00:00", **{SCORE: result(0.7, mfu=0.61, peer_mfu=0.5, mfu_goal=0.6)})


def test_the_table_has_the_latest_result_of_each_benchmark_on_the_last_machine():
    elsewhere = WHOLE | {"machine": WHOLE["machine"] | {"cores": 4}, "date": "2026-01-02T01:00:00+00:00"}
    lines = show.table([WHOLE, elsewhere, LATER]).splitlines()
    assert lines[0].startswith("On a CPU, 2 cores (--device=cpu), with jax 1. Ratio")
    assert lines[4:] == [
        "| decode/gpt2 | 0.5 | 0.4 | s/step | 1.25 (1.15 to 1.35) | ≤ 1 | - | no | 2026-01-02, abc, load 0.1 |",
        "| score/shared_prompt | 0.5 | 0.714 | s/step | 0.70 (0.60 to 0.80) | ≤ 1, MFU ≥ 60% | 61% (50%) | yes "
        "| 2026-01-03, abc, load 0.1 |",
    ]


def test_the_page_has_the_table_of_the_history():
    assert show.table(show.read_history(show.HISTORY)) in (show.HISTORY.parents[1] / "docs/performance.md").read_text(
        encoding="utf-8"
    )


def test_a_picture_of_all_records(tmp_path):
    show.plot([WHOLE, LATER], tmp_path / "history.png")
    assert (tmp_path / "history.png").read_bytes().startswith(b"\x89PNG")


def test_no_history_is_one_sentence(tmp_path):
    with pytest.raises(UserError, match=r"history\.jsonl has no results: make some with python -m benchmarks\.run --a"):
        show.read_history(tmp_path / "history.jsonl")
    (tmp_path / "history.jsonl").write_text(json.dumps(WHOLE) + "\n" + json.dumps(LATER) + "\n")
    assert show.read_history(tmp_path / "history.jsonl") == [WHOLE, LATER]

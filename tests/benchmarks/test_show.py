"""README's table and the picture over the history."""

from __future__ import annotations

import json

import pytest

from benchmarks import show
from pause_jax.errors import UserError


def record(date, **results):
    machine = {"cpu": "a CPU", "cores": 2, "memory_gib": 8.0, "load_before": 0.1}
    return {"date": date, "commit": "abc", "machine": machine, "versions": {"jax": "1", "numpy": "2"},
            "results": {name.replace("_in_", "/"): result for name, result in results.items()}}  # fmt: skip


def result(ratio, **more):
    return {"ours": 0.5, "peer": 0.5 / ratio, "ratio": ratio, "goal": 1.0, "unit": "s/step", "holds": ratio <= 1,
            "ratio_min": ratio - 0.1, "ratio_max": ratio + 0.1, **more}  # fmt: skip


WHOLE = record(
    "2026-01-02T00:00:00+00:00", step_in_a=result(0.8, mfu=0.61, peer_mfu=0.5), step_in_b=result(1.25, goal=None)
)
LATER = record("2026-01-03T00:00:00+00:00", step_in_a=result(0.7))


def test_the_table_is_that_of_the_most_complete_record():
    assert show.most_complete([LATER, WHOLE, LATER]) is WHOLE
    newer = WHOLE | {"date": "2026-01-04T00:00:00+00:00"}
    assert show.most_complete([newer, WHOLE, LATER]) is newer
    lines = show.table(WHOLE).splitlines()
    assert lines[0].startswith("Measured 2026-01-02 at commit abc on a CPU, 2 cores (--device=cpu), load 0.1 before")
    assert lines[0].count("numpy") == 0 and "with jax 1." in lines[0]
    assert lines[4] == "| step/a | 0.5 | 0.625 | s/step | 0.80 (0.70 to 0.90) | ≤ 1 | 61% (50%) | yes |"
    assert lines[5] == "| step/b | 0.5 | 0.4 | s/step | 1.25 (1.15 to 1.35) | - | - | no |"


def test_a_picture_of_all_records(tmp_path):
    show.plot([WHOLE, LATER], tmp_path / "history.png")
    assert (tmp_path / "history.png").read_bytes().startswith(b"\x89PNG")


def test_no_history_is_one_sentence(tmp_path):
    with pytest.raises(UserError, match=r"history\.jsonl has no results: make some with python -m benchmarks\.run --a"):
        show.read_history(tmp_path / "history.jsonl")
    (tmp_path / "history.jsonl").write_text(json.dumps(WHOLE) + "\n" + json.dumps(LATER) + "\n")
    assert show.read_history(tmp_path / "history.jsonl") == [WHOLE, LATER]

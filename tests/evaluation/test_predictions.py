"""Answers kept in a file: killed at any byte they go on, those of others are refused."""

from __future__ import annotations

import json

import pytest

from pause_jax.errors import UserError
from pause_jax.evaluation.predictions import PredictionFile, Predictions

ABOUT = {"run": "abc", "step": 3, "data": "d"}
IDS = ["b", "a", 7]
RECORDS = [{"id": i, "prediction": f"line\n of {i}, \u2028 and é"} for i in IDS]
PARTIAL = "t.m0.jsonl.partial"


def open_file(folder, code="1", **changes):
    return PredictionFile(folder / "t.m0.jsonl", {**ABOUT, **changes}, code=code)


def write_all(folder, ids=IDS):
    """What is missing, one at a time and in another order than that of the ids."""
    file = open_file(folder)
    for record in reversed(RECORDS):
        if record["id"] not in file.records:
            file.add([record])
    file.finish(ids)


def test_a_finished_file_has_the_order_of_the_examples_and_is_found_again(tmp_path):
    write_all(tmp_path)
    lines = [json.loads(line) for line in (tmp_path / "t.m0.jsonl").read_text().split("\n")[:-1]]
    assert lines == RECORDS
    assert sorted(f.name for f in tmp_path.iterdir()) == ["t.m0.about.json", "t.m0.jsonl"]
    assert list(open_file(tmp_path).records.values()) == RECORDS


def test_a_kill_at_any_byte_loses_at_most_the_torn_line(tmp_path):
    """In the middle of a line and around its end: whole lines are kept, and the finished file is the same."""
    file = open_file(tmp_path)
    for record in RECORDS:
        file.add([record])
    content = (tmp_path / PARTIAL).read_bytes()
    file.finish(IDS)
    final = (tmp_path / "t.m0.jsonl").read_bytes()
    ends = [0, *(i + 1 for i, byte in enumerate(content) if byte == ord("\n"))]
    sizes = {end + more for end in ends for more in (-1, 0, 1, 20) if 0 <= end + more <= len(content)}
    for size in sorted(sizes):
        folder = tmp_path / str(size)
        folder.mkdir()
        (folder / PARTIAL).write_bytes(content[:size])
        found = open_file(folder).records
        assert list(found) == IDS[: max(content[:size].count(b"\n") - 1, 0)]
        write_all(folder)
        assert (folder / "t.m0.jsonl").read_bytes() == final
        assert not (folder / PARTIAL).exists()


def test_reading_writes_nothing_and_a_reader_does_not_write(tmp_path):
    open_file(tmp_path / "sub")
    silent = PredictionFile(tmp_path / "sub" / "t.m0.jsonl", ABOUT, code="1", writes=False)
    silent.add(RECORDS)
    silent.finish(IDS)
    assert list(tmp_path.iterdir()) == [] and list(silent.records) == IDS


@pytest.mark.parametrize("finished", [True, False])
def test_answers_of_another_evaluation_are_refused_and_stay(tmp_path, finished):
    file = open_file(tmp_path)
    file.add(RECORDS)
    if finished:
        file.finish(IDS)
    before = {f.name: f.read_bytes() for f in tmp_path.iterdir()}
    with pytest.raises(UserError, match=r"t\.m0\.jsonl.* of another evaluation, which differs in run, data: move"):
        open_file(tmp_path, run="abd", data="e")
    assert before == {f.name: f.read_bytes() for f in tmp_path.iterdir()}


@pytest.mark.parametrize("finished", [True, False])
def test_answers_of_another_version_of_the_program_are_given_anew(tmp_path, finished):
    file = open_file(tmp_path)
    file.add(RECORDS[:1] if not finished else RECORDS)
    if finished:
        file.finish(IDS)
    newer = open_file(tmp_path, code="2")
    assert not newer.records
    newer.add([{**record, "prediction": "new"} for record in RECORDS])
    newer.finish(IDS)
    assert [r["prediction"] for r in open_file(tmp_path, code="2").records.values()] == ["new"] * 3


def test_another_version_may_call_the_run_otherwise(tmp_path):
    """Its answers are given anew, as any of another version are."""
    open_file(tmp_path).add(RECORDS)
    assert not open_file(tmp_path, code="2", run="told by other things").records


def test_a_file_of_unknown_origin_or_damaged_is_refused(tmp_path):
    (tmp_path / "t.m0.jsonl").write_text("{}\n")
    with pytest.raises(UserError, match="of another evaluation, which differs in run, step, data"):
        open_file(tmp_path)
    (tmp_path / PARTIAL).write_text(json.dumps({**ABOUT, "code": "1"}) + '\n{"id": \n{"id": 7}\n')
    with pytest.raises(UserError, match=r"partial, line 2, is no JSON object"):
        open_file(tmp_path)


def test_in_memory():
    kept = Predictions()
    kept.add(RECORDS)
    kept.finish(IDS)
    assert list(kept.records) == IDS

"""Files cut into ranges: whole documents, none lost or repeated, the same split as of the whole."""

from __future__ import annotations

import gzip
import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pause_jax.config import DataConfig
from pause_jax.data import documents, splits
from pause_jax.errors import UserError

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
SUFFIXES = [".txt", ".txt.gz", ".jsonl", ".jsonl.gz", ".json", ".json.gz"]
CORPUS = st.lists(st.tuples(st.sampled_from(SUFFIXES), st.lists(TEXT, min_size=1, max_size=40)), min_size=1, max_size=4)


def write_corpus(folder: Path, corpus) -> DataConfig:
    """Files of any suffix; of a text file, the texts are one document."""
    for number, (suffix, texts) in enumerate(corpus):
        lines = [text if ".txt" in suffix else json.dumps({"text": text}, ensure_ascii=False) for text in texts]
        content = "\n".join(lines).encode()
        file = folder / f"{number}{suffix}"
        file.write_bytes(gzip.compress(content) if suffix.endswith(".gz") else content)
    return DataConfig(files=str(folder / "*"))


def read_range(pieces, split, plan):
    """Texts of a split in a range."""
    found = [document for piece in pieces for document in documents.read_piece(piece, "text")]
    return [text for document in found if document.text.strip() and (text := splits.part(document, split, plan.rule))]


@given(CORPUS, st.integers(1, 400))
def test_ranges_hold_the_corpus_as_it_is_split_in_memory(corpus, range_bytes):
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(splits, "RANGE_BYTES", range_bytes)
        data = write_corpus(Path(folder), corpus)
        whole = list(documents.read_files(data.files, "text"))
        if not whole:
            with pytest.raises(UserError, match=r"config\.data\.files = .* holds no text"):
                splits.plan_files(data)
            return
        plan = splits.plan_files(data)
        for split in splits.SPLITS:
            rule = splits.choose_rule(len(whole), sum(splits.is_validation(document.name) for document in whole))
            expected = [text for document in whole if (text := splits.part(document, split, rule))]
            assert [text for pieces in plan.ranges[split] for text in read_range(pieces, split, plan)] == expected
        assert splits.FilePlan.from_json(json.loads(json.dumps(plan.to_json()))) == plan


def test_ranges_are_of_about_the_same_size(tmp_path, monkeypatch):
    monkeypatch.setattr(splits, "RANGE_BYTES", 1000)
    data = write_corpus(tmp_path, [(".jsonl", ["x" * 100] * 100), (".jsonl.gz", ["x" * 100] * 100)])
    sizes = [sum(piece.stop - piece.start for piece in pieces) for pieces in splits.plan_files(data).ranges["train"]]
    assert max(sizes) <= 1200 and sum(size < 1000 for size in sizes) <= 2  # the ends of two files


def test_small_files_share_a_range_and_a_long_document_is_whole(tmp_path, monkeypatch):
    monkeypatch.setattr(splits, "RANGE_BYTES", 1000)
    data = write_corpus(tmp_path, [(".txt", ["a" * 300]), (".txt", ["b" * 300]), (".txt", ["c" * 5000])])
    names = [[piece.name for piece in pieces] for pieces in splits.plan_files(data).ranges["train"]]
    assert names == [["0.txt", "1.txt"], ["2.txt"]]


def test_held_out_files_leave_all_of_the_others_to_training(tmp_path):
    (tmp_path / "a.jsonl").write_text("".join(json.dumps({"text": f"train {i}"}) + "\n" for i in range(100)))
    (tmp_path / "b.txt").write_text("held out")
    data = DataConfig(files=str(tmp_path / "*.jsonl"), validation_files=str(tmp_path / "b*"))
    plan = splits.plan_files(data)
    assert len(read_range(plan.ranges["train"][0], "train", plan)) == 100
    assert read_range(plan.ranges["validation"][0], "validation", plan) == [b"held out"]
    with pytest.raises(UserError, match=r"config\.data\.validation_files = 'none\*' matches no file"):
        splits.plan_files(DataConfig(files=data.files, validation_files="none*"))


def test_only_the_first_lines_are_parsed(tmp_path):
    lines = [json.dumps({"text": f"line {i}"}) for i in range(200)]
    (tmp_path / "a.jsonl").write_text("\n".join([*lines, "no JSON"]))
    assert splits.plan_files(DataConfig(files=str(tmp_path / "a.jsonl"))).rule == "names"
    (tmp_path / "a.jsonl").write_text("\n".join(["no JSON", *lines]))
    with pytest.raises(UserError, match=r"a\.jsonl, line 1: broken JSON"):
        splits.plan_files(DataConfig(files=str(tmp_path / "a.jsonl")))

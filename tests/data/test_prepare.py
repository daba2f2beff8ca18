"""Preparing a corpus in this process: the same text as in memory, gone on with, checked, refused."""

from __future__ import annotations

import dataclasses
import gzip
import json
import re
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pause_jax.config import DataConfig
from pause_jax.data import corpora, prepare, shards, splits
from pause_jax.data.pretraining import open_corpus
from pause_jax.errors import UserError

TEXTS = st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=80), min_size=1, max_size=50)
SUFFIXES = [".txt", ".txt.gz", ".jsonl", ".jsonl.gz", ".json", ".json.gz"]


def scan_all(data, skip_bad=False):
    return lambda files: {file: splits.scan_file(file, data.text_field, skip_bad=skip_bad) for file in files}


def prepare_here(folder: Path, data: DataConfig, *, skip_bad: bool = False, order: int = 1) -> dict:
    """All that launch.prepare does, without processes; the units in turn or (order = -1) from the last."""
    units = prepare.begin(folder, data, prepare.describe(data), scan_all(data, skip_bad), skip_bad=skip_bad)
    for unit in units[::order]:
        prepare.run_unit(unit)
    return prepare.finish(folder, units)


def write_lines(file: Path, texts) -> DataConfig:
    content = "".join(json.dumps({"text": text}) + "\n" for text in texts).encode()
    file.write_bytes(gzip.compress(content) if file.suffix == ".gz" else content)
    return DataConfig(files=str(file))


def contents(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


@settings(max_examples=10)
@given(st.lists(st.tuples(st.sampled_from(SUFFIXES), TEXTS), min_size=1, max_size=3), st.integers(1, 500))
def test_prepared_text_is_that_read_in_memory(corpus, range_bytes):
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(splits, "RANGE_BYTES", range_bytes)
        for number, (suffix, texts) in enumerate(corpus):
            file = Path(folder, f"{number}{suffix}")
            if ".txt" in suffix:
                content = "\n".join(texts).encode()
                file.write_bytes(gzip.compress(content) if suffix.endswith(".gz") else content)
            else:
                write_lines(file, texts)
        data = DataConfig(files=f"{folder}/*.*")
        try:
            expected = open_corpus(data)
        except UserError:
            with pytest.raises(UserError):
                prepare_here(Path(folder, "out"), data)
            return
        prepare_here(Path(folder, "out"), data)
        found = open_corpus(DataConfig(prepared=f"{folder}/out"))
        for split in ("train", "validation"):
            (ours,), (theirs,) = getattr(found, split).streams, getattr(expected, split).streams
            tokens, numbers = ours.slice(0, ours.num_tokens)
            assert tokens.tolist() == theirs.tokens.tolist()
            assert numbers.tolist() == theirs.slice(0, ours.num_tokens)[1].tolist()
            for name in ("documents", "text_tokens", "text_bytes"):
                assert ours.manifest()[name] == theirs.manifest()[name]
        assert found.manifest["vocabulary"] == expected.manifest["vocabulary"]


def test_any_order_gives_the_same_folder_and_a_second_time_changes_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(splits, "RANGE_BYTES", 500)
    data = write_lines(tmp_path / "a.jsonl", [f"text {i}" * 5 for i in range(60)])
    prepare_here(tmp_path / "one", data)
    prepare_here(tmp_path / "two", data, order=-1)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    times = {file: file.stat().st_mtime_ns for file in (tmp_path / "one").glob("*/*")}
    prepare_here(tmp_path / "one", data)
    assert times == {file: file.stat().st_mtime_ns for file in (tmp_path / "one").glob("*/*")}
    assert len(times) > 20


def test_what_is_missing_or_short_is_made_anew(tmp_path, monkeypatch):
    monkeypatch.setattr(splits, "RANGE_BYTES", 500)
    data = write_lines(tmp_path / "a.jsonl", [f"text {i}" * 5 for i in range(100)])
    prepare_here(tmp_path / "out", data)
    before = contents(tmp_path / "out")
    train = tmp_path / "out" / "train"
    (train / "00000.array_record").unlink()
    (train / "00001.json").unlink()
    (train / "00002.array_record").write_bytes(b"half")
    (train / "00003.array_record.partial-elsewhere-7").write_bytes(b"left by a killed process")
    prepare_here(tmp_path / "out", data)
    assert contents(tmp_path / "out") == before
    assert prepare.verify(tmp_path / "out") == len(list((tmp_path / "out").glob("*/*.array_record")))


def test_verify_names_a_shard_that_was_changed(tmp_path):
    data = write_lines(tmp_path / "a.jsonl", [f"text {i}" for i in range(100)])
    prepare_here(tmp_path / "out", data)
    file = shards.shard_file(tmp_path / "out", "train", 0)
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    with pytest.raises(UserError, match=r"train/00000\.array_record is damaged \(its content does not agree"):
        prepare.verify(tmp_path / "out")
    file.unlink()
    with pytest.raises(UserError, match=r"train/00000\.array_record is damaged \(it is missing"):
        prepare.verify(tmp_path / "out")


def test_a_folder_of_something_else_is_refused_and_left_as_it_is(tmp_path, real_data):
    data = write_lines(tmp_path / "a.jsonl", [f"text {i}" for i in range(100)])
    prepare_here(tmp_path / "out", data)
    before = contents(tmp_path / "out")
    t5 = dataclasses.replace(data, vocabulary=str(real_data / "tokenizers" / "t5.spiece.model"))
    with pytest.raises(UserError, match=r"--out=.*out holds a preparation of vocabulary 'byte-259', now 'd60acb"):
        prepare_here(tmp_path / "out", t5)
    with pytest.raises(UserError, match="holds a preparation of on_bad_text 'stop', now 'skip'"):
        prepare_here(tmp_path / "out", data, skip_bad=True)
    write_lines(tmp_path / "a.jsonl", [f"text {i}" for i in range(101)])
    with pytest.raises(UserError, match="holds a preparation of files that have changed since"):
        prepare_here(tmp_path / "out", data)
    assert contents(tmp_path / "out") == before
    with pytest.raises(UserError, match="is not empty and holds no preparation"):
        prepare_here(tmp_path, data)
    fingerprint = "d60acb128cf7b7f2536e8f38a5b18a05535c9e14c7a355904270e15b0945ea86"
    with pytest.raises(
        UserError,
        match=rf"/out was made with another tokenizer than .*\(fingerprints byte-259 and {fingerprint[:12]}\)",
    ):
        open_corpus(dataclasses.replace(t5, prepared=str(tmp_path / "out")))


def test_bad_text_stops_or_is_left_out_and_counted(tmp_path):
    lines = [json.dumps({"text": f"text {i}"}).encode() for i in range(100)]
    lines[30:30] = [b'{"text": "\xe9"}', b'{"text": "ab\\ud800"}', b'{"text": ', b'{"text": " "}']
    (tmp_path / "a.jsonl").write_bytes(b"\n".join(lines))
    (tmp_path / "b.txt").write_bytes(b"na\xefve")
    data = DataConfig(files=str(tmp_path / "*.*"))
    with pytest.raises(UserError, match=r"b\.txt is not UTF-8 at byte 2|a\.jsonl is not UTF-8 at byte \d+"):
        prepare_here(tmp_path / "stop", data)
    manifest = prepare_here(tmp_path / "skip", data, skip_bad=True)
    counts = {name: sum(made[name] for made in manifest["splits"].values()) for name in ("documents", "bad", "blank")}
    assert counts == {"documents": 100, "bad": 4, "blank": 1}


def test_where_documents_give_their_tails_what_is_left_out_counts_once(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"text": "%s"}\n{"text": " "}\n[broken\n' % ("some text " * 100))
    by_split = prepare_here(tmp_path / "out", DataConfig(files=str(tmp_path / "a.jsonl")), skip_bad=True)["splits"]
    assert [(by_split[split]["blank"], by_split[split]["bad"]) for split in by_split] == [(1, 1), (0, 0)]


def test_a_long_document_is_kept_whole_and_named(tmp_path, monkeypatch):
    monkeypatch.setattr(corpora, "LONG_BYTES", 50_000)
    data = write_lines(tmp_path / "a.jsonl", ["short"] * 60 + ["long " * 20_000])
    manifest = prepare_here(tmp_path / "out", data)
    assert manifest["splits"]["train"]["shards"][0]["long"] == ["a.jsonl:61 (0 MB)"]
    (stream,) = open_corpus(DataConfig(prepared=str(tmp_path / "out"))).train.streams
    assert stream.slice(stream.num_tokens - 100_001, stream.num_tokens)[1].max() == 0  # one document


def test_an_empty_split_and_an_unfinished_folder(tmp_path):
    data = write_lines(tmp_path / "a.jsonl", ["tiny"])
    with pytest.raises(UserError, match=r"the validation text of files is empty, in .*: add text"):
        prepare_here(tmp_path / "out", data)
    with pytest.raises(UserError, match="its preparation was not finished"):
        open_corpus(DataConfig(prepared=str(tmp_path / "out")))


def test_the_standard_library(tmp_path):
    prepare_here(tmp_path / "out", DataConfig())
    expected, found = open_corpus(DataConfig()), open_corpus(DataConfig(prepared=str(tmp_path / "out")))
    assert found.manifest["task"] == "python_stdlib"
    (ours,), (theirs,) = found.validation.streams, expected.validation.streams
    assert (ours.slice(0, ours.num_tokens)[0] == theirs.tokens).all()


def test_paths_mean_the_same_to_processes_elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data = prepare.with_absolute_paths(
        DataConfig(files="texts/*.txt", vocabulary="my.model", data_dir="gs://mine/tfds")
    )
    assert (data.files, data.vocabulary) == (f"{tmp_path}/texts/*.txt", f"{tmp_path}/my.model")
    assert data.data_dir == "gs://mine/tfds" and data.validation_files == ""
    assert prepare.with_absolute_paths(DataConfig()) == DataConfig()


@pytest.fixture(scope="module")
def tfds_c4(real_data, tmp_path_factory):
    """C4 as TensorFlow Datasets would have prepared it: 200 of its documents, training in two files."""
    import tensorflow as tf
    import tensorflow_datasets as tfds

    root = tmp_path_factory.mktemp("tfds")
    folder = root / "c4" / "en" / "3.1.0"
    folder.mkdir(parents=True)
    with gzip.open(real_data / "pretrain" / "c4_en_sample.jsonl.gz") as file:
        rows = [json.loads(line) for line in file][:200]
    names = ("text", "timestamp", "url", "content-length", "content-type")
    features = tfds.features.FeaturesDict({name: tfds.features.Text() for name in names})
    parts = {"train-{:05}-of-00002": rows[:180], "validation-{:05}-of-00001": rows[180:]}
    for part, of_part in parts.items():
        count = int(part[-1])
        for index in range(count):
            file = folder / "c4-{}".format(part.format(index).replace("-0", ".tfrecord-0", 1))
            with tf.io.TFRecordWriter(str(file)) as writer:
                for row in of_part[index::count]:
                    writer.write(features.serialize_example({name: row.get(name, "") for name in names}))
    tfds.folder_dataset.write_metadata(data_dir=str(folder), features=features)
    return root, rows


def test_c4_from_tensorflow_datasets(tfds_c4, tmp_path):
    root, rows = tfds_c4
    data = DataConfig(task="c4_en", data_dir=str(root))
    manifest = prepare_here(tmp_path / "out", data)
    assert len(manifest["splits"]["train"]["shards"]) == 2
    found, expected = open_corpus(DataConfig(prepared=str(tmp_path / "out"))), open_corpus(data)
    texts = {"train": rows[:180:2] + rows[1:180:2], "validation": rows[180:]}
    for split, of_split in texts.items():
        (stream,), (in_memory,) = getattr(found, split).streams, getattr(expected, split).streams
        tokens, _ = stream.slice(0, stream.num_tokens)
        assert (tokens == in_memory.tokens).all()
        joined = b"".join(row["text"].encode() + b"\xfe" for row in of_split)  # EOS is id 1, below the bytes' ids
        assert (tokens - 3).astype(np.uint8).tobytes() == joined
    with pytest.raises(
        UserError, match=re.escape(f"c4/en:3.1.0 of TensorFlow Datasets, which is not prepared in {tmp_path}")
    ):
        open_corpus(DataConfig(task="c4_en", data_dir=str(tmp_path)))

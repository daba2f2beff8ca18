"""Corpora as SeqIO tasks, tokenized into streams."""

from __future__ import annotations

import gzip
import hashlib
import json

import numpy as np
import pytest
import seqio

from pause_jax.config import DataConfig
from pause_jax.data import corpora
from pause_jax.data.pretraining import open_corpus
from pause_jax.errors import UserError
from pause_jax.tokenizers import vocabularies

EOS = 1


def write_documents(path, texts):
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return DataConfig(files=str(path))


def text_of(document: np.ndarray) -> str:
    """A document of bytes (ids from 3) and an EOS."""
    return (document[:-1] - 3).astype(np.uint8).tobytes().decode()


def test_documents_end_to_end_each_with_its_eos(tmp_path):
    texts = [f"document {number} " * (1 + number % 5) for number in range(200)]
    corpus = open_corpus(write_documents(tmp_path / "a.jsonl", texts))
    found = []
    for stream in (corpus.train.streams[0], corpus.validation.streams[0]):
        documents = np.split(stream.tokens, stream.starts[1:])
        assert all(document[-1] == EOS and EOS not in document[:-1] for document in documents)
        found += [text_of(document) for document in documents]
        assert stream.text_bytes == stream.num_tokens - len(documents)
        assert stream.tokens.dtype == np.uint16
    assert sorted(found) == sorted(texts)


def test_manifest(tmp_path):
    texts = [f"text {number}" for number in range(100)]
    corpus = open_corpus(write_documents(tmp_path / "a.jsonl", texts))
    train = corpus.manifest["train"]
    assert corpus.manifest["task"] == "files" and corpus.manifest["vocabulary"] == "byte-259"
    assert train["documents"] == len(corpus.train.streams[0].starts) and train["text_tokens"] == len(
        corpus.train.streams[0].tokens
    )
    assert train["sha256"] == hashlib.sha256(corpus.train.streams[0].tokens.astype("<i4").tobytes()).hexdigest()
    assert train["documents"] + corpus.manifest["validation"]["documents"] == 100
    json.dumps(corpus.manifest)
    assert open_corpus(write_documents(tmp_path / "a.jsonl", texts)).manifest == corpus.manifest
    assert open_corpus(write_documents(tmp_path / "a.jsonl", [*texts[:-1], "new"])).manifest != corpus.manifest


def test_slice_numbers_the_documents(stream_of):
    stream = stream_of([[10, 11, 1], [1], [20, 1], [30, 31, 1]])
    tokens, documents = stream.slice(0, 9)
    assert tokens.tolist() == [10, 11, 1, 1, 20, 1, 30, 31, 1]
    assert documents.tolist() == [0, 0, 0, 1, 2, 2, 3, 3, 3]
    assert tokens.dtype == documents.dtype == np.int32
    for start in range(9):
        for stop in range(start, 10):
            part = stream.slice(start, stop)
            assert part[0].tolist() == tokens[start:stop].tolist()
            assert part[1].tolist() == documents[start:stop].tolist()


def test_python_stdlib():
    data = DataConfig()
    corpus = open_corpus(data)
    assert corpus.train.streams[0].num_tokens > 3_000_000
    assert 0.01 < corpus.validation.streams[0].num_tokens / corpus.train.streams[0].num_tokens < 0.2
    source = seqio.TaskRegistry.get("python_stdlib").source
    assert corpus.train.streams[0].text_bytes == sum(len(text) for text in source._texts["train"])


@pytest.mark.parametrize("tokenizer", ["t5.spiece.model", "mistral.tokenizer.model.v1"])
def test_real_text_in_sentence_pieces(real_data, tokenizer):
    files = str(real_data / "pretrain" / "c4_en_sample.jsonl.gz")
    corpus = open_corpus(DataConfig(files=files, vocabulary=str(real_data / "tokenizers" / tokenizer)))
    vocabulary = vocabularies.load(str(real_data / "tokenizers" / tokenizer))
    eos = vocabulary.eos_id
    assert (corpus.validation.streams[0].tokens == eos).sum() == corpus.manifest["validation"]["documents"]
    assert sum(corpus.manifest[split]["documents"] for split in ("train", "validation")) == 1000
    first = corpus.train.streams[0].tokens[: corpus.train.streams[0].starts[1] - 1].tolist()
    assert vocabulary.decode(first).startswith("Beginners BBQ Class")
    assert 3 < corpus.train.streams[0].text_bytes / corpus.train.streams[0].num_tokens < 5


def test_one_big_file_gives_its_tail(real_data):
    files = str(real_data / "pretrain" / "tinyshakespeare.txt.gz")
    corpus = open_corpus(DataConfig(files=files))
    with gzip.open(files, "rt", newline="") as file:
        assert text_of(corpus.train.streams[0].tokens) + text_of(corpus.validation.streams[0].tokens) == file.read()
    assert corpus.train.streams[0].tokens[-2] == ord("\n") + 3
    assert corpus.validation.streams[0].num_tokens == pytest.approx(0.05 * 1_115_394, rel=0.01)


def test_mistakes_come_out_as_user_errors(tmp_path):
    with pytest.raises(
        UserError, match=r"config\.data\.task = 'wiki' is not registered; registered are .*python_stdlib"
    ):
        open_corpus(DataConfig(task="wiki"))
    with pytest.raises(UserError, match="matches no file"):
        open_corpus(DataConfig(files=str(tmp_path / "*.txt")))
    (tmp_path / "a.jsonl").write_text('{"text": "fine"}\n{"text": 3}\n')
    with pytest.raises(UserError, match=r"a\.jsonl, line 2: field 'text' is not a string"):
        open_corpus(DataConfig(files=str(tmp_path / "a.jsonl")))
    (tmp_path / "a.jsonl").write_text('{"text": " "}\n')
    with pytest.raises(UserError, match=r"config\.data\.files = '.*a\.jsonl' holds no text"):
        open_corpus(DataConfig(files=str(tmp_path / "a.jsonl")))


def test_registered_tasks_need_both_splits_and_their_text():
    source = seqio.FunctionDataSource(lambda split, shuffle_files: None, splits=["train"])
    seqio.TaskRegistry.add("test_only_train", source, output_features=corpora.features(seqio.ByteVocabulary()))
    try:
        with pytest.raises(UserError, match=r"config\.data\.task = 'test_only_train' has no split 'validation'"):
            open_corpus(DataConfig(task="test_only_train"))
    finally:
        seqio.TaskRegistry.remove("test_only_train")

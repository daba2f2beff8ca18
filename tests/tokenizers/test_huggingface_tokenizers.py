"""tokenizer.json as a vocabulary, and SentencePiece models as tokenizer.json: the same ids as the libraries' own."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
import sentencepiece
import tensorflow as tf
import tokenizers
from tokenizers import decoders, models, pre_tokenizers, trainers

from pause_jax.config import DataConfig
from pause_jax.data import pretraining
from pause_jax.errors import UserError
from pause_jax.interop import tokenizers as exported
from pause_jax.pauses import policies
from pause_jax.tokenizers import tokenizer, vocabularies

ODD = ["", " ", "a  b", "né 日本 🙂\u0000", "x\r\n\ty", "</s> and <pause>"]


@pytest.fixture(scope="module")
def wikipedia(data_dir):
    """Texts of its first articles, 1.5 MB."""
    texts, size = [], 0
    with gzip.open(data_dir / "pretrain" / "wikipedia_en_sample.jsonl.gz", "rt") as file:
        for line in file:
            texts.append(json.loads(line)["text"])
            size += len(texts[-1])
            if size > 1_500_000:
                return texts
    raise AssertionError("the sample is larger than that")


def save_bpe(folder: Path, texts) -> str:
    """A byte-level BPE, as GPT-2's and Llama 3's are."""
    model = tokenizers.Tokenizer(models.BPE())
    model.pre_tokenizer, model.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    model.train_from_iterator(
        texts,
        trainers.BpeTrainer(vocab_size=600, special_tokens=["</s>"], show_progress=False, initial_alphabet=alphabet),
    )
    folder.mkdir(exist_ok=True)
    model.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text('{"eos_token": {"content": "</s>"}}')
    return str(folder / "tokenizer.json")


def test_a_byte_level_bpe_gives_the_librarys_ids(tmp_path, wikipedia):
    spec = save_bpe(tmp_path, wikipedia[:20])
    oracle, words, ours = tokenizers.Tokenizer.from_file(spec), vocabularies.load(spec), tokenizer.load(spec)
    assert (words.vocab_size, words.eos_id) == (600, 0)
    pieces = vocabularies.token_bytes(spec)
    for text in [*wikipedia, *ODD]:
        ids = oracle.encode(text, add_special_tokens=False).ids
        assert words.encode(text) == ids == ours.encode(text)
        np.testing.assert_array_equal(words.encode_tf(tf.constant(text.encode())).numpy(), ids)
        if "</s>" not in text:
            assert ours.decode(ids) == text
            assert b"".join(pieces[i] for i in ids) == text.encode()
    assert pieces[0] is None and policies.Trait(int(vocabularies.token_traits(spec)[0])) == policies.Trait.ENDS_DOCUMENT


def test_it_is_read_by_the_pipeline(tmp_path, wikipedia):
    spec = save_bpe(tmp_path / "tokenizer", wikipedia[:20])
    for number, text in enumerate(wikipedia[:30]):
        (tmp_path / f"{number:02}.txt").write_text(text)
    data = DataConfig(files=f"{tmp_path}/*.txt", vocabulary=spec, validation_files=f"{tmp_path}/00.txt", length=32)
    (stream,) = pretraining.open_corpus(data).train.streams
    oracle = tokenizers.Tokenizer.from_file(spec)
    wanted = [[*oracle.encode((tmp_path / f"{n:02}.txt").read_text()).ids, 0] for n in range(30)]
    found, documents = stream.slice(0, stream.num_tokens)
    by_document = [found[documents == d].tolist() for d in range(documents.max() + 1)]
    assert sorted(by_document) == sorted(wanted)


def test_a_unigram_model_as_tokenizer_json_gives_sentencepieces_ids(tmp_path, data_dir, wikipedia):
    """Line by line; but where two ways to cut a line are as likely, rounding decides: one line in some thousands."""
    spec = str(data_dir / "tokenizers" / "t5.spiece.model")
    exported.write(spec, [32_000], tmp_path, max_length=512)
    oracle = sentencepiece.SentencePieceProcessor(model_file=spec)
    written = tokenizer.load(str(tmp_path / "tokenizer.json"))
    assert written.eos_id == oracle.eos_id() and written.encode("<pause>") == [32_000]
    lines = [line for text in wikipedia for line in text.split("\n")] + ODD[:5]
    ties = 0
    for line in lines:
        ours, theirs = written.encode(line), oracle.encode(line)
        if ours != theirs:
            ties += 1
            scores = [sum(map(oracle.get_score, ids)) for ids in (ours, theirs)]
            assert scores[0] == pytest.approx(scores[1], abs=0.01), line
    assert len(lines) > 3000 and ties <= len(lines) / 1000


def test_what_cannot_be_exported_is_told(tmp_path, data_dir):
    with pytest.raises(UserError, match="is no unigram model, and others cannot be exported"):
        exported.write(str(data_dir / "tokenizers" / "mistral.tokenizer.model.v1"), [], tmp_path, max_length=512)


@pytest.mark.parametrize(
    "break_it, sentence",
    [
        (lambda f: (f / "tokenizer.json").write_text("{"), r"is no tokenizer\.json that can be read"),
        (lambda f: (f / "tokenizer.json").unlink(), r"cannot be read \(No such file"),
        (lambda f: (f / "tokenizer_config.json").unlink(), r"does not say which token ends a text"),
        (lambda f: (f / "tokenizer_config.json").write_text('{"eos_token": "<|end|>"}'), r"has no token '<\|end\|>'"),
    ],
)
def test_a_tokenizer_that_cannot_be(tmp_path, break_it, sentence):
    spec = save_bpe(tmp_path, ["some text"] * 3)
    break_it(tmp_path)
    with pytest.raises(UserError, match=sentence):
        vocabularies.load(spec)


def test_another_end_of_text_is_another_tokenizer(tmp_path):
    spec = save_bpe(tmp_path, ["some text"] * 3)
    before = tokenizer.fingerprint(spec)
    (tmp_path / "tokenizer_config.json").write_text('{"eos_token": "e"}')
    assert tokenizer.fingerprint(spec) != before

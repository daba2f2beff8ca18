"""Vocabularies: sizes, ends of documents, fingerprints, and what is refused."""

from __future__ import annotations

import io

import pytest
import sentencepiece

from pause_jax.errors import UserError
from pause_jax.tokenizers import vocabularies

SENTENCES = ["a small model of a few words", "words make sentences", "sentences end", "a model ends"] * 10


def write_model(path, **options) -> str:
    """A tiny SentencePiece model trained here."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(SENTENCES), model_writer=model, vocab_size=20, minloglevel=2, **options
    )
    path.write_bytes(model.getvalue())
    return str(path)


def test_bytes():
    vocabulary = vocabularies.load("byte")
    assert vocabulary.vocab_size == 259 and vocabulary.eos_id == 1
    assert vocabulary.decode(vocabulary.encode("née")) == "née"


def test_sentencepiece_model(tmp_path):
    path = write_model(tmp_path / "a.model")
    vocabulary = vocabularies.load(path)
    assert vocabulary.vocab_size == 20 and vocabulary.eos_id == 2
    assert vocabulary.decode(vocabulary.encode("a small model")) == "a small model"


@pytest.mark.parametrize(
    ("file", "size", "eos"), [("t5.spiece.model", 32_000, 1), ("mistral.tokenizer.model.v1", 32_000, 2)]
)
def test_public_models(real_data, file, size, eos):
    vocabulary = vocabularies.load(str(real_data / "tokenizers" / file))
    assert (vocabulary.vocab_size, vocabulary.eos_id) == (size, eos)
    assert vocabulary.decode(vocabulary.encode("Think before you speak.")) == "Think before you speak."


def test_missing_file(tmp_path):
    with pytest.raises(UserError, match=r"config\.data\.vocabulary = '.*none\.model' cannot be read \(No such file"):
        vocabularies.load(str(tmp_path / "none.model"))


@pytest.mark.parametrize("content", [b"", b"this is no model at all\n" * 50])
def test_not_a_model(tmp_path, content):
    (tmp_path / "a.model").write_bytes(content)
    with pytest.raises(UserError, match=r"a\.model' is not a SentencePiece model"):
        vocabularies.load(str(tmp_path / "a.model"))


def test_model_without_an_end_of_sentence(tmp_path):
    path = write_model(tmp_path / "a.model", eos_id=-1)
    with pytest.raises(UserError, match="has no end-of-sentence piece"):
        vocabularies.load(path)

"""A tokenizer trained on a corpus."""

from __future__ import annotations

import json

import pytest

from pause_jax.config import DataConfig
from pause_jax.errors import UserError
from pause_jax.tokenizers import train_sentencepiece, vocabularies


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    file = tmp_path_factory.mktemp("text") / "a.jsonl"
    texts = [f"def function_{i}(first, second):\n    return first + {i} * second\n" for i in range(400)]
    file.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return DataConfig(files=str(file))


def test_a_trained_model_is_the_same_each_time_and_loses_nothing(corpus, tmp_path):
    model = train_sentencepiece.train(corpus, 400)
    assert train_sentencepiece.train(corpus, 400) == model
    (tmp_path / "a.model").write_bytes(model)
    vocabulary = vocabularies.load(str(tmp_path / "a.model"))
    assert vocabulary.vocab_size == 400
    assert (vocabulary.pad_id, vocabulary.eos_id, vocabulary.unk_id) == (0, 1, 2)
    for text in ("def function_7(first):\n\treturn  first\n\n", "  naïve \N{LATIN SMALL LIGATURE FI} 漢字 \U0001f600 "):
        assert vocabulary.decode(vocabulary.encode(text)) == text
    assert len(vocabulary.encode("def function_7(first, second):")) < 20


def test_the_sample_is_of_training_text_and_bounded(corpus, monkeypatch):
    lines = list(train_sentencepiece.sample(corpus))
    assert 700 < len([line for line in lines if line]) < 800  # 95 % of 400 documents, two lines each
    monkeypatch.setattr(train_sentencepiece, "SAMPLE_BYTES", 1000)
    assert 900 < sum(map(len, train_sentencepiece.sample(corpus))) <= 1000


def test_too_many_pieces(corpus):
    with pytest.raises(
        UserError, match=r"--train_sentencepiece=100000 does not fit the text: Vocabulary size too high"
    ):
        train_sentencepiece.train(corpus, 100_000)

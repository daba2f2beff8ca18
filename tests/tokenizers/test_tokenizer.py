"""The tokenizer of bare machines against the SeqIO vocabularies of the data pipeline: the same ids, the same text."""

from __future__ import annotations

import io

import pytest
import sentencepiece

from pause_jax.errors import UserError
from pause_jax.tokenizers import tokenizer

TEXTS = ["", "a", "a small model", "  spaces\tand\nlines\n", "née Ærøskøbing 東京 🙂", "\x00\x7f"]


@pytest.fixture(scope="module")
def model_file(tmp_path_factory):
    """A SentencePiece model with byte fallback, so that no text is unknown to it."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(TEXTS * 20),
        model_writer=model,
        vocab_size=300,
        minloglevel=2,
        byte_fallback=True,
        hard_vocab_limit=False,
        character_coverage=1.0,
    )
    path = tmp_path_factory.mktemp("words") / "words.model"
    path.write_bytes(model.getvalue())
    return str(path)


def test_bytes_equal_seqio():
    check_equal("byte")


def test_sentencepiece_equals_seqio(model_file):
    check_equal(model_file)


def check_equal(vocabulary):
    from pause_jax.tokenizers import vocabularies

    ours, seqios = tokenizer.load(vocabulary), vocabularies.load(vocabulary)
    assert (ours.size, ours.eos_id) == (seqios.vocab_size, seqios.eos_id)
    for text in TEXTS:
        ids = ours.encode(text)
        assert ids == seqios.encode(text), text
        assert ours.decode(ids) == seqios.decode(ids), text


def test_ids_that_are_no_text():
    """Padding, end and unknown give nothing; half a character gives a mark."""
    words = tokenizer.load("byte")
    assert words.decode([0, 1, 2, *words.encode("x")]) == "x"
    assert words.decode(words.encode("é")[:1]) == "\ufffd"


@pytest.mark.parametrize(
    "content, sentence", [(None, "cannot be read"), (b"no model", "is not a SentencePiece"), (b"", "is not a Sent")]
)
def test_mistakes(tmp_path, content, sentence):
    path = tmp_path / "words.model"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=sentence):
        tokenizer.load(str(path))


def test_a_tokenizer_is_known_by_its_content(tmp_path):
    for name in ("a.model", "b.model"):
        (tmp_path / name).write_bytes(b"the same")
    assert tokenizer.fingerprint(str(tmp_path / "a.model")) == tokenizer.fingerprint(str(tmp_path / "b.model"))
    tokenizer.check_fingerprint("byte", "byte-259", "the run in runs/x")
    with pytest.raises(UserError, match=r"^the run in runs/x was made with another tokenizer than .*a\.model"):
        tokenizer.check_fingerprint(str(tmp_path / "a.model"), "byte-259", "the run in runs/x")
    with pytest.raises(UserError, match=r"none\.model' cannot be read"):
        tokenizer.fingerprint(str(tmp_path / "none.model"))

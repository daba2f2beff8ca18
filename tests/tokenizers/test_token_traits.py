"""What tokens tell of words and sentences, and where these start, in bytes and in the pieces of public models."""

from __future__ import annotations

import numpy as np
import pytest

from pause_jax.pauses import policies
from pause_jax.pauses.policies import Trait
from pause_jax.tokenizers import vocabularies

TEXT = 'He said "no." Then 3.5 left!  New (e.g. Bo) ways? Yes'
WORDS = 'He| said| "no."| Then| 3.5| left!| New| (e.g.| Bo)| ways?| Yes'
SENTENCES = 'He said "no."| Then 3.5 left!| New (e.g.| Bo) ways?| Yes'


def cut(spec, text, boundary):
    """`text` with a bar before each start, blanks before bars left out."""
    vocabulary, tokens = vocabularies.load(spec), vocabularies.token_bytes(spec)
    ids = np.array([vocabulary.encode(text)])
    starts = policies.starts(ids, np.ones_like(ids), vocabularies.token_traits(spec), boundary)[0]
    parts = [("|" if start else "") + tokens[i].decode() for i, start in zip(ids[0], starts, strict=True)]
    return " ".join("".join(parts).replace("|", " | ").split()).replace(" | ", "| ")


def test_words_and_sentences_in_bytes():
    assert cut("byte", TEXT, "word") == WORDS
    assert cut("byte", TEXT, "sentence") == SENTENCES
    assert cut("byte", "a\n\tb\r\n c", "word") == "a| b| c"


@pytest.mark.parametrize("file", ["t5.spiece.model", "mistral.tokenizer.model.v1"])
def test_words_and_sentences_in_pieces(real_data, file):
    spec = str(real_data / "tokenizers" / file)
    assert cut(spec, TEXT, "word") == WORDS
    assert cut(spec, TEXT, "sentence") == SENTENCES


def test_bytes_have_their_text():
    tokens, traits = vocabularies.token_bytes("byte"), vocabularies.token_traits("byte")
    assert len(tokens) == len(traits) == 259 and traits.dtype == np.uint8
    assert b"".join(tokens[i] for i in vocabularies.load("byte").encode("née\n")) == "née\n".encode()
    assert tokens[:3] == (None, None, None) and traits[:3].tolist() == [0, Trait.ENDS_DOCUMENT, 0]
    spaces = {chr(i - 3) for i in np.flatnonzero(traits & Trait.ONLY_SPACE)}
    assert spaces >= set(" \t\n\r") and all(space.isspace() for space in spaces)
    assert {chr(i - 3) for i in np.flatnonzero(traits & Trait.ENDS_SENTENCE)} == set(".!?")
    assert {chr(i - 3) for i in np.flatnonzero(traits & Trait.ONLY_CLOSES)} == set("\"')]}")


def test_pieces_have_their_text(real_data):
    spec = str(real_data / "tokenizers" / "mistral.tokenizer.model.v1")
    tokens, vocabulary = vocabularies.token_bytes(spec), vocabularies.load(spec)
    text = "née 日本\n\n  x\t𓀀"  # by bytes where the model has no piece
    assert b"".join(tokens[i] for i in vocabulary.encode(text)).decode() == f" {text}"
    assert tokens[:3] == (None, None, None)


def test_traits_of_pieces(real_data):
    spec = str(real_data / "tokenizers" / "t5.spiece.model")
    model, traits = vocabularies.load(spec).tokenizer, vocabularies.token_traits(spec)
    begins, ends_sentence = Trait.BEGINS_WITH_SPACE, Trait.ENDS_SENTENCE
    expected = {
        "▁": begins | Trait.ENDS_WITH_SPACE | Trait.ONLY_SPACE,
        "▁the": begins,
        "s": 0,
        ".": ends_sentence,
        '".': ends_sentence,
        '."': ends_sentence,
        "▁1.": begins | ends_sentence,
        ")": Trait.ONLY_CLOSES,
        "▁(": begins,
        "</s>": Trait.ENDS_DOCUMENT,
        "<pad>": 0,
        "<unk>": 0,
    }
    assert {piece: Trait(int(traits[model.piece_to_id(piece)])) for piece in expected} == expected

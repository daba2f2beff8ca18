"""Tokenizers: `config.data.vocabulary` in, a SeqIO vocabulary out."""

from __future__ import annotations

import functools
import operator
import string

import numpy as np
import sentencepiece
import seqio
from google.protobuf.message import DecodeError

from pause_jax import policies, tokenizer
from pause_jax.errors import UserError

BYTE = "byte"
_CLOSING = "\"')]}\u2019\u201d\u00bb"  # quotes and brackets that may come between a sentence's end and the next one


def load(spec: str) -> seqio.Vocabulary:
    """The vocabulary that `spec` names: "byte" (259 ids, as in ByT5), or the path of a SentencePiece model.

    No extra ids are added: pause ids start after the model's vocabulary and are no business of a tokenizer. Padding is
    masked by segment, so a model without a padding piece is fine; one without an end of sentence is not.

    Raises:
      UserError: no such file, not a SentencePiece model, or a model without an end of sentence.
    """
    if spec == BYTE:
        return seqio.ByteVocabulary(extra_ids=0)
    tokenizer.load(spec)  # SeqIO crashes on some files that are none
    vocabulary = seqio.SentencePieceVocabulary(spec, extra_ids=0)
    try:
        vocabulary.load_model()
    except (DecodeError, RuntimeError) as error:
        raise UserError(f"config.data.vocabulary = {spec!r} is not a SentencePiece model ({error})") from error
    if vocabulary.eos_id < 0:
        raise UserError(
            f"config.data.vocabulary = {spec!r} has no end-of-sentence piece, which ends each document: "
            "train the model with eos_id"
        )
    return vocabulary


@functools.lru_cache(maxsize=2)  # batches are opened anew for each validation
def token_bytes(spec: str) -> tuple[bytes | None, ...]:
    """The text of each id, in UTF-8; None where it has none: padding, end of document, unknown, control pieces.

    White space that a SentencePiece model writes as U+2581 is a space, so the bytes of a text's ids, joined, are the
    text as the model normalizes it, behind the space that most models put before it. Errors as in `load`.

    >>> token_bytes("byte")[1], token_bytes("byte")[ord("a") + 3]
    (None, b'a')
    """
    if spec == BYTE:
        return (None, None, None, *(bytes([byte]) for byte in range(256)))
    model = load(spec).tokenizer
    return tuple(_piece_bytes(model, i) for i in range(model.vocab_size()))


def _piece_bytes(model: sentencepiece.SentencePieceProcessor, i: int) -> bytes | None:
    if model.is_control(i) or model.is_unknown(i) or model.is_unused(i):
        return None
    piece = model.id_to_piece(i)
    if model.is_byte(i):  # "<0x0A>"
        return bytes([int(piece[1:-1], 16)])
    return piece.replace("\u2581", " ").encode()


@functools.lru_cache(maxsize=2)
def token_traits(spec: str) -> np.ndarray:
    """The `policies.Trait`s of each id, [vocabulary's size] in uint8: what its text tells of words and sentences.

    The end of the document has one of its own, other ids without text have none. A byte of a longer character has
    none: to the byte vocabulary a curly quote closes nothing, and only ASCII has white space. Errors as in `load`.

    >>> [policies.Trait(int(token_traits("byte")[ord(c) + 3])).name for c in 'a.)']
    [None, 'ENDS_SENTENCE', 'ONLY_CLOSES']
    """
    traits_V = np.array([_traits((text or b"").decode(errors="replace")) for text in token_bytes(spec)], np.uint8)
    traits_V[load(spec).eos_id] = policies.Trait.ENDS_DOCUMENT
    traits_V.setflags(write=False)  # cached: the callers share it
    return traits_V


def _traits(text: str) -> policies.Trait:
    stripped = text.rstrip(_CLOSING + string.whitespace)
    traits = {
        policies.Trait.BEGINS_WITH_SPACE: text[:1].isspace(),
        policies.Trait.ENDS_WITH_SPACE: text[-1:].isspace(),
        policies.Trait.ONLY_SPACE: text.isspace(),
        policies.Trait.ENDS_SENTENCE: stripped.endswith((".", "!", "?")),
        policies.Trait.ONLY_CLOSES: bool(text) and not stripped and not text.isspace(),
    }
    return functools.reduce(operator.or_, (trait for trait, has in traits.items() if has), policies.Trait(0))

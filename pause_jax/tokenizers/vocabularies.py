"""Tokenizers as SeqIO vocabularies, and the text and traits of each id."""

from __future__ import annotations

import functools
import json
import operator
import re
import string
from collections.abc import Iterable
from typing import Any

import numpy as np
import sentencepiece
import seqio
import tensorflow as tf
from google.protobuf.message import DecodeError

from pause_jax.errors import UserError
from pause_jax.pauses import policies
from pause_jax.tokenizers import tokenizer

BYTE = "byte"
_CLOSING = "\"')]}\u2019\u201d\u00bb"  # quotes and brackets that may come between a sentence's end and the next one


def load(spec: str) -> seqio.Vocabulary:
    """The vocabulary of `spec`: "byte" (259 ids, as in ByT5), or the path of a SentencePiece model or a tokenizer.json.

    No extra ids are added: pause ids start after the model's vocabulary and are no business of a tokenizer. Padding is
    masked by segment, so a model without a padding piece is fine; one without an end of sentence is not.

    Raises:
      UserError: no such file, a file that is no tokenizer, or a tokenizer without an end of sentence.
    """
    if spec == BYTE:
        return seqio.ByteVocabulary(extra_ids=0)
    if tokenizer.is_huggingface(spec):
        return HuggingFaceVocabulary(spec)
    tokenizer.load(spec)  # SeqIO crashes on some files that are no model
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


class HuggingFaceVocabulary(seqio.Vocabulary):
    """A tokenizer.json, for SeqIO. No special tokens are added; those that a text spells out are read as such."""

    def __init__(self, path: str):
        """Raises UserError: no such file, or it is no tokenizer."""
        super().__init__(extra_ids=0)
        self._path = path
        self._tokenizer = tokenizer.load(path)

    def __reduce__(self) -> tuple[Any, ...]:  # to Beam's workers
        return HuggingFaceVocabulary, (self._path,)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, HuggingFaceVocabulary) and self._path == other._path

    @property
    def eos_id(self) -> int:
        return self._tokenizer.eos_id

    @property
    def bos_id(self) -> None:
        return None

    @property
    def unk_id(self) -> None:
        return None

    @property
    def _base_vocab_size(self) -> int:
        return self._tokenizer.size

    def _encode(self, s: str) -> list[int]:
        return self._tokenizer.encode(s)

    def _decode(self, ids: Iterable[int]) -> str:
        return self._tokenizer.decode(list(ids))

    def _encode_tf(self, s: tf.Tensor) -> tf.Tensor:
        def encode(text: bytes | np.ndarray) -> np.ndarray:  # the latter outside of a graph
            text = text if isinstance(text, bytes) else text.item()
            return np.array(self._encode(text.decode(errors="replace")), np.int32)

        ids = tf.numpy_function(encode, [s], tf.int32, stateful=False)
        ids.set_shape([None])
        return ids

    def _decode_tf(self, ids: tf.Tensor) -> tf.Tensor:
        return tf.numpy_function(lambda ids: self._decode(ids.tolist()), [ids], tf.string, stateful=False)


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
    if tokenizer.is_huggingface(spec):
        return tuple(_huggingface_bytes(json.loads(tokenizer.read_model(spec)), tokenizer.load(spec).size))
    model = load(spec).tokenizer
    return tuple(_piece_bytes(model, i) for i in range(model.vocab_size()))


def _piece_bytes(model: sentencepiece.SentencePieceProcessor, i: int) -> bytes | None:
    if model.is_control(i) or model.is_unknown(i) or model.is_unused(i):
        return None
    piece = model.id_to_piece(i)
    if model.is_byte(i):  # "<0x0A>"
        return bytes([int(piece[1:-1], 16)])
    return piece.replace("\u2581", " ").encode()


def _huggingface_bytes(content: dict[str, Any], size: int) -> list[bytes | None]:
    """`token_bytes` of a tokenizer.json, whose tokens spell bytes as GPT-2's do, or as SentencePiece's."""
    vocabulary = content["model"]["vocab"]
    pieces = (
        dict(enumerate(piece for piece, _ in vocabulary))
        if isinstance(vocabulary, list)
        else {i: piece for piece, i in vocabulary.items()}
    )
    special = {token["id"] for token in content["added_tokens"] if token["special"]}
    pieces |= {token["id"]: token["content"] for token in content["added_tokens"]}
    spells_bytes = '"ByteLevel"' in json.dumps(content["decoder"])
    is_unicode = {token["id"] for token in content["added_tokens"]} if spells_bytes else set()
    byte_of = {character: byte for byte, character in enumerate(tokenizer.byte_characters())}

    def spelled(i: int) -> bytes | None:
        piece = pieces.get(i)
        if piece is None or i in special:
            return None
        if spells_bytes and i not in is_unicode:
            return bytes(byte_of[character] for character in piece)
        if re.fullmatch(r"<0x[0-9A-F]{2}>", piece):
            return bytes([int(piece[1:-1], 16)])
        return piece.replace("\u2581", " ").encode()

    return [spelled(i) for i in range(size)]


@functools.lru_cache(maxsize=2)
def token_traits(spec: str) -> np.ndarray:
    """The `policies.Trait`s of each id, [vocabulary's size] in uint8: what its text tells of words and sentences.

    The end of the document has a trait of its own, other ids without text have none. A byte of a longer character has
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

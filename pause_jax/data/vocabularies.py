"""Tokenizers: `config.data.vocabulary` in, a SeqIO vocabulary out."""

from __future__ import annotations

import hashlib
import pathlib

import seqio
from google.protobuf.message import DecodeError

from pause_jax.errors import UserError

BYTE = "byte"


def load(spec: str) -> seqio.Vocabulary:
    """The vocabulary that `spec` names: "byte" (259 ids, as in ByT5), or the path of a SentencePiece model.

    No extra ids are added: pause ids start after the model's vocabulary and are no business of a tokenizer. Padding is
    masked by segment, so a model without a padding piece is fine; one without an end of sentence is not.

    Raises:
      UserError: no such file, not a SentencePiece model, or a model without an end of sentence.
    """
    if spec == BYTE:
        return seqio.ByteVocabulary(extra_ids=0)
    _read(spec)  # so that a missing file is a sentence
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


def fingerprint(spec: str) -> str:
    """What identifies the vocabulary wherever its file lies: "byte-259", or the SHA-256 of the model file.

    Raises:
      UserError: no such file.
    """
    return "byte-259" if spec == BYTE else hashlib.sha256(_read(spec)).hexdigest()


def _read(path: str) -> bytes:
    try:
        return pathlib.Path(path).read_bytes()
    except OSError as error:
        raise UserError(
            f"config.data.vocabulary = {path!r} cannot be read ({error.strerror}): give 'byte' or the path of a "
            "SentencePiece model"
        ) from error

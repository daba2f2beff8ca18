"""Text to ids and back without TensorFlow, for programs that only restore a model.

It gives the same ids as the SeqIO vocabularies of vocabularies.py (a test compares them).
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from pause_jax.errors import UserError, beginning

_BYTE_OFFSET = 3  # ids 0, 1, 2 of SeqIO's ByteVocabulary are padding, end of document, unknown


@dataclasses.dataclass(frozen=True)
class Tokenizer:
    """Ids are in [0, size); `eos_id` ends a document."""

    size: int
    eos_id: int
    encode: Callable[[str], list[int]]
    decode: Callable[[Sequence[int]], str]


def load(vocabulary: str, name: str = "") -> Tokenizer:
    """The tokenizer of `config.data.vocabulary`: "byte", or the path of a SentencePiece model or a tokenizer.json.

    Args:
      name: what messages call it, where it is not that field.

    Raises:
      UserError: no such tokenizer lies at that path.
    """
    if vocabulary == "byte":
        return Tokenizer(256 + _BYTE_OFFSET, 1, _bytes_to_ids, _ids_to_text)
    name = name or f"config.data.vocabulary = {vocabulary!r}"
    return _huggingface(vocabulary, name) if is_huggingface(vocabulary) else _sentencepiece(vocabulary, name)


def is_huggingface(vocabulary: str) -> bool:
    """Whether it is a tokenizer.json, which the `tokenizers` library reads."""
    return vocabulary.endswith(".json")


def fingerprint(vocabulary: str) -> str:
    """What identifies a tokenizer wherever its file lies: "byte-259", or the SHA-256 of the file.

    That of a tokenizer.json includes the end-of-text token, which another file names.

    Raises:
      UserError: no such file.
    """
    if vocabulary == "byte":
        return "byte-259"
    digest = hashlib.sha256(read_model(vocabulary))
    if is_huggingface(vocabulary):
        digest.update(end_of_text(Path(vocabulary).parent).encode())
    return digest.hexdigest()


def keep(vocabulary: str, folder: Path) -> str:
    """Copy the tokenizer into a run's folder; return what the run records as `config.data.vocabulary`.

    Raises:
      UserError: it cannot be read.
    """
    if vocabulary == "byte":
        return vocabulary
    name = kept_name(vocabulary)
    if Path(vocabulary).absolute() == folder.absolute() / name:
        return name
    content = read_model(vocabulary)
    if is_huggingface(vocabulary):
        settings = json.dumps({"eos_token": end_of_text(Path(vocabulary).parent)}).encode()
        _replace(folder / "tokenizer_config.json", settings)
    _replace(folder / name, content)
    return name


def kept_name(vocabulary: str) -> str:
    """What the tokenizer's file is called in a run's folder."""
    return "tokenizer.json" if is_huggingface(vocabulary) else "tokenizer.model"


def kind(vocabulary: str) -> str:
    """The kind of a tokenizer: "byte", "tokenizer.json" or "SentencePiece"."""
    if vocabulary == "byte":
        return "byte"
    return "tokenizer.json" if is_huggingface(vocabulary) else "SentencePiece"


def kept_in(folder: Path, recorded: str) -> str:
    """The path of the tokenizer of the run in `folder`, which recorded it as `recorded`; that itself if none is found.

    Older versions recorded the path as it was given, which may be relative to another working directory.
    """
    if recorded == "byte":
        return recorded
    kept = folder.absolute() / kept_name(recorded)
    tried = [str(kept), recorded, *(str(parent / recorded) for parent in folder.absolute().parents)]
    return next((path for path in tried if os.path.isfile(path)), recorded)


def _replace(file: Path, content: bytes) -> None:
    partial = file.with_name(f"{file.name}.partial")
    partial.write_bytes(content)
    partial.replace(file)


def end_of_text(folder: Path) -> str:
    """The token that ends a text for the tokenizer.json in `folder`, as a file beside it says.

    Raises:
      UserError: no file does.
    """
    for name in ("tokenizer_config.json", "special_tokens_map.json"):
        with contextlib.suppress(OSError, ValueError, RecursionError, AttributeError):
            token = json.loads((folder / name).read_text(encoding="utf-8")).get("eos_token")
            token = token.get("content") if isinstance(token, dict) else token
            if isinstance(token, str):
                return token
    raise UserError(
        f"{folder} does not say which token ends a text: give tokenizer_config.json there an eos_token, such as "
        '{"eos_token": "</s>"}'
    )


def read_model(path: str) -> bytes:
    """The content of a tokenizer's file. Raises UserError where it cannot be read."""
    try:
        return Path(path).read_bytes()
    except (OSError, ValueError) as error:  # the latter of a path with a NUL or half a surrogate pair in it
        reason = error.strerror if isinstance(error, OSError) else error
        raise UserError(
            f"config.data.vocabulary = {path!r} cannot be read ({reason}): give 'byte' or the path of a "
            "SentencePiece model or a tokenizer.json"
        ) from error


def check_fingerprint(vocabulary: str, recorded: str, where: str) -> None:
    """Raises UserError where `vocabulary` is not the tokenizer that `where` was made with."""
    found = fingerprint(vocabulary)
    if found != recorded:
        raise UserError(
            f"{where} was made with another tokenizer than config.data.vocabulary = {vocabulary!r} (fingerprints "
            f"{recorded[:12]} and {found[:12]}): ids would mean other text, so give the tokenizer it was made with"
        )


def byte_characters() -> list[str]:
    """GPT-2's character of each byte: those that print stand for themselves, the others come from U+0100 on."""
    printing = {*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = (chr(256 + n) for n in range(256))
    return [chr(byte) if byte in printing else next(others) for byte in range(256)]


def _bytes_to_ids(text: str) -> list[int]:
    return [byte + _BYTE_OFFSET for byte in text.encode()]


def _ids_to_text(ids: Sequence[int]) -> str:
    return bytes(i - _BYTE_OFFSET for i in ids if _BYTE_OFFSET <= i < 256 + _BYTE_OFFSET).decode(errors="replace")


def _huggingface(path: str, name: str) -> Tokenizer:
    import tokenizers  # only where a run uses one

    try:
        model = tokenizers.Tokenizer.from_str(read_model(path).decode())
    except (UserError, KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # the library has no error class of its own, and Rust's panics are no Exceptions
        raise UserError(f"{name} is no tokenizer.json that can be read ({beginning(error)}): fetch it again") from None
    model.no_truncation()
    model.no_padding()
    eos = end_of_text(Path(path).parent)
    eos_id = model.token_to_id(eos)
    if eos_id is None:
        raise UserError(f"{name} has no token {eos!r}, which is to end texts: mend tokenizer_config.json beside it")
    return Tokenizer(
        size=max(model.get_vocab().values()) + 1,
        eos_id=eos_id,
        encode=lambda text: model.encode(text, add_special_tokens=False).ids,
        decode=lambda ids: model.decode(list(ids), skip_special_tokens=False),
    )


def _sentencepiece(path: str, name: str) -> Tokenizer:
    import sentencepiece  # only where a run uses one

    content = read_model(path)
    model = sentencepiece.SentencePieceProcessor()
    try:
        model.load_from_serialized_proto(content)
        for i in range(model.vocab_size()):
            model.id_to_piece(i)  # UTF-8
    except (RuntimeError, UnicodeDecodeError):
        raise UserError(f"{name} is not a SentencePiece model: it cannot be parsed; fetch it again") from None
    return Tokenizer(
        model.vocab_size(), model.eos_id(), lambda text: model.encode(text), lambda ids: model.decode(list(ids))
    )

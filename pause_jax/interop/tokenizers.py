"""Writes our tokenizers as folders that transformers reads, with pauses as special tokens; and reads such folders."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pause_jax.errors import UserError
from pause_jax.interop import files
from pause_jax.tokenizers import tokenizer

FILE = "tokenizer.json"
SETTINGS = "tokenizer_config.json"
SENTENCEPIECE = "tokenizer.model"


def pause_tokens(num_pause_tokens: int) -> list[str]:
    """The text of each pause token: "<pause>", or where there are several "<pause_0>", "<pause_1>", …"""
    return ["<pause>"] if num_pause_tokens == 1 else [f"<pause_{j}>" for j in range(num_pause_tokens)]


def write(vocabulary: str, pause_ids: Sequence[int], folder: Path, max_length: int) -> None:
    """Write the tokenizer `config.data.vocabulary` of a run into `folder`, with pauses of these ids.

    Raises:
      UserError: it cannot be written as a tokenizer.json that gives the same ids.
    """
    if vocabulary == "byte":
        content, eos = _bytes(), "</s>"
    elif tokenizer.is_huggingface(vocabulary):
        content = json.loads(tokenizer.read_model(vocabulary))
        eos = tokenizer.end_of_text(Path(vocabulary).parent)
    else:
        content, eos = _sentencepiece(vocabulary)
    pauses = pause_tokens(len(pause_ids))
    content["added_tokens"] = [*content["added_tokens"], *map(_special, pause_ids, pauses)]
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": eos,
        "pad_token": eos,
        "additional_special_tokens": pauses,
        "model_max_length": max_length,
        "clean_up_tokenization_spaces": False,
    }
    _write_json(folder / FILE, content)
    _write_json(folder / SETTINGS, settings, indent=1)
    _check(vocabulary, dict(zip(pauses, pause_ids, strict=True)), folder / FILE)


def find(folder: Path) -> str:
    """The value of `config.data.vocabulary` for the tokenizer in `folder`. Raises UserError where there is none."""
    for name in (FILE, SENTENCEPIECE):
        if (folder / name).is_file():
            return str((folder / name).absolute())
    raise UserError(
        f"{folder} has neither {FILE} nor {SENTENCEPIECE}: fetch one of them, or give --vocabulary, 'byte' or the path "
        "of one"
    )


def read_tokenizer(source: Path, pause_ids: Sequence[int], folder: Path) -> str:
    """Copy the tokenizer of `source` into the folder `folder`, without the pauses that `write` added.

    Returns:
      The value of `config.data.vocabulary` for the copy.

    Raises:
      UserError: there is none, it cannot be read, or nothing says which token ends a text.
    """
    found = Path(find(source))
    files.check_content(found)
    copy = folder / found.name
    if found.name == FILE:
        content = files.read_json(found)
        added = content.get("added_tokens") or []
        if not isinstance(added, list) or not all(isinstance(token, dict) for token in added):
            raise UserError(f"{found} is no tokenizer.json: its added_tokens are no list of tokens; fetch it again")
        if pause_ids:
            content["added_tokens"] = [token for token in added if token.get("id") not in pause_ids]
            _write_json(copy, content)
        else:
            copy.write_bytes(found.read_bytes())
        _write_json(folder / SETTINGS, {"eos_token": _end_of_text(source, content)})
    else:
        copy.write_bytes(found.read_bytes())
    tokenizer.load(str(copy), f"the tokenizer {found}")  # raises where it is no tokenizer
    return str(copy)


def _end_of_text(source: Path, content: dict[str, Any]) -> str:
    """The result of `tokenizer.end_of_text`; where no file says it, the token of the model's own `eos_token_id`."""
    try:
        return tokenizer.end_of_text(source)
    except UserError:
        tokens = {token.get("id"): token.get("content") for token in content.get("added_tokens") or ()}
        for name in ("generation_config.json", "config.json"):
            ids = files.read_json(source / name).get("eos_token_id") if (source / name).is_file() else None
            first = ids[0] if isinstance(ids, list) and ids else ids
            if isinstance(first, int) and isinstance(tokens.get(first), str):
                return tokens[first]
        raise


def _write_json(file: Path, content: Any, indent: int | None = None) -> None:
    file.write_text(json.dumps(content, ensure_ascii=False, indent=indent) + "\n", encoding="utf-8")


def _special(number: int, token: str) -> dict[str, Any]:
    return {
        "id": number,
        "content": token,
        "single_word": False,
        "lstrip": False,
        "rstrip": False,
        "normalized": False,
        "special": True,
    }


def _bytes() -> dict[str, Any]:
    """A tokenizer.json with the ids of our "byte" tokenizer: padding, end of text, unknown, then the 256 bytes."""
    import tokenizers
    from tokenizers import decoders, models, pre_tokenizers

    special = ["<pad>", "</s>", "<unk>"]
    ids = {
        **dict(zip(special, range(3), strict=True)),
        **{character: byte + 3 for byte, character in enumerate(tokenizer.byte_characters())},
    }
    model = models.BPE(ids, [])
    made = tokenizers.Tokenizer(model)
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    made.decoder = decoders.ByteLevel()
    content = json.loads(made.to_str())
    content["added_tokens"] = [_special(i, token) for i, token in enumerate(special)]
    return content


def _sentencepiece(path: str) -> tuple[dict[str, Any], str]:
    """A unigram model as a tokenizer.json, and its end of sentence."""
    import tokenizers
    from sentencepiece import sentencepiece_model_pb2
    from tokenizers import decoders, models, normalizers, pre_tokenizers

    model_proto: Any = sentencepiece_model_pb2.ModelProto  # type: ignore[attr-defined]  # made when it is imported
    proto = model_proto.FromString(tokenizer.read_model(path))
    if proto.trainer_spec.model_type != proto.trainer_spec.UNIGRAM:
        raise UserError(f"{path} is no unigram model, and others cannot be exported: take its run without a tokenizer")
    spec = proto.normalizer_spec
    made = tokenizers.Tokenizer(
        models.Unigram(
            [(p.piece, p.score) for p in proto.pieces], proto.trainer_spec.unk_id, proto.trainer_spec.byte_fallback
        )
    )
    steps: list[Any] = [normalizers.Precompiled(spec.precompiled_charsmap)] if spec.precompiled_charsmap else []
    if spec.remove_extra_whitespaces:
        steps += [normalizers.Strip(), normalizers.Replace(tokenizers.Regex(" {2,}"), " ")]
    if steps:
        made.normalizer = normalizers.Sequence(steps)
    scheme = "always" if spec.add_dummy_prefix else "never"
    made.pre_tokenizer = pre_tokenizers.Metaspace(replacement="\u2581", prepend_scheme=scheme, split=False)
    made.decoder = decoders.Sequence(
        [
            decoders.ByteFallback(),
            decoders.Metaspace(replacement="\u2581", prepend_scheme=scheme, split=False),
            decoders.Fuse(),
        ]
    )
    content = json.loads(made.to_str())
    kinds = proto.SentencePiece
    content["added_tokens"] = [
        _special(i, piece.piece) for i, piece in enumerate(proto.pieces) if piece.type in (kinds.CONTROL, kinds.UNKNOWN)
    ]
    return content, proto.pieces[proto.trainer_spec.eos_id].piece


_PROBES = (
    "def f(x):\n    return x + 1\n",
    "Zwölf Boxkämpfer jagen Viktor quer über den Sylter Deich.",
    "  two  spaces ",
    "a\tb\n\nc",
    "日本語 🙂 \u00a0x",
    "1234567890 != 0.5e-3",
)


def _check(vocabulary: str, pauses: dict[str, int], file: Path) -> None:
    """Raises UserError where what was written gives other ids than the run's tokenizer."""
    ours, theirs = tokenizer.load(vocabulary), tokenizer.load(str(file))
    for text in _PROBES:
        if ours.encode(text) != theirs.encode(text):
            raise UserError(
                f"config.data.vocabulary = {vocabulary!r} cannot be exported: as a tokenizer.json it gives other ids "
                f"for {text!r}"
            )
    for token, wanted in pauses.items():
        if (found := theirs.encode(token)) != [wanted]:
            raise UserError(f"{token} cannot be added to the tokenizer {vocabulary!r}: it is {found}, not {[wanted]}")

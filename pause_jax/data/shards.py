"""Shards: token streams on disk, in ArrayRecord files, where every place costs the same to read.

A prepared folder, as launch.prepare writes it:
  manifest.json              counts and checksums of all shards; written last
  train/00000.array_record   tokens of the first range of text, then those of the second, ...
  train/00000.json           the shard's entry in the manifest; written when the shard is whole and in its place
  validation/...
A record is `RECORD_TOKENS` tokens, the last one of a shard fewer, all little-endian:
  number of documents that start in it    uint32
  where they start in it                  uint32 each
  tokens                                  uint16 where the vocabulary allows it, else int32
Documents run over records, so none need fit into memory, but not over shards.
"""

from __future__ import annotations

import bisect
import contextlib
import dataclasses
import functools
import hashlib
import itertools
import json
import os
import socket
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from pause_jax.errors import UserError
from pause_jax.system.files import write_atomically

FORMAT = 1  # of the folder; counted up by every change of what is written
RECORD_TOKENS = 8192
OPEN_SHARDS = 512  # file handles kept, of the 1,024 that many systems allow; opening one takes about 0.5 ms
_WRITER = "group_size:1,uncompressed"  # zstd would save 30 % of the disk and take a quarter of the reading speed
_READER = "readahead_buffer_size:0,max_parallelism:0"  # in the calling thread: 5 times as fast as through its pool

TokenType = type[np.uint16] | type[np.int32]
TOKEN_TYPES: Mapping[str, TokenType] = {"uint16": np.uint16, "int32": np.int32}


def token_dtype(vocab_size: int) -> TokenType:
    """The smaller type that holds all ids."""
    return np.uint16 if vocab_size <= 2**16 else np.int32


class TokenizedDocuments(NamedTuple):
    """Some documents, tokenized."""

    tokens: np.ndarray  # [tokens] int32: all documents end to end, each with its EOS
    lengths: np.ndarray  # [documents] int64: tokens of each
    text_bytes: int  # of UTF-8


@dataclasses.dataclass(frozen=True)
class Shard:
    """Counts and checksums of a shard."""

    documents: int
    text_tokens: int
    text_bytes: int  # of UTF-8
    text_sha256: str  # of the tokens as little-endian int32
    file_bytes: int
    file_sha256: str
    blank: int = 0  # documents left out
    bad: int = 0  # documents left out
    long: Sequence[str] = ()  # documents of more than 10 MB, by name

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):  # it may come from JSON that was changed
            if not isinstance(getattr(self, field.name), {"int": int, "str": str}.get(str(field.type), (list, tuple))):
                raise TypeError(f"{field.name} is {getattr(self, field.name)!r}")

    @property
    def num_records(self) -> int:
        return -(-self.text_tokens // RECORD_TOKENS)


def shard_file(folder: Path, split: str, index: int) -> Path:
    """Where a shard lies in a prepared folder."""
    return folder / split / f"{index:05}.array_record"


def find_shard(file: Path) -> Shard | None:
    """The shard at `file`, if it was written to its end; its content is not looked at."""
    try:
        shard = Shard(**json.loads(file.with_suffix(".json").read_text(encoding="utf-8")))
        return shard if file.stat().st_size == shard.file_bytes else None
    except (OSError, ValueError, TypeError, RecursionError):
        return None


def write_sidecar(file: Path, shard: Shard) -> None:
    """Mark the shard at `file` as whole. Raises UserError as `write_shard`."""
    write_record(file.with_suffix(".json"), dataclasses.asdict(shard))


def write_record(file: Path, content: Any, indent: int | None = None) -> None:
    """Write a JSON file of a prepared folder. Raises UserError as `write_shard`."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(file, json.dumps(content, indent=indent))
    except OSError as error:
        raise _unwritable(file, error.strerror) from error


def write_shard(file: Path, batches: Iterable[TokenizedDocuments], dtype: TokenType) -> Shard:
    """Write a shard; `file` is either whole or not there. Its sidecar is the caller's.

    Raises:
      UserError: the disk is full or not to be written to; nothing is left of the attempt.
    """
    # The same shard may be written twice at once: engines start a slow piece of work anew elsewhere.
    partial = file.with_name(f"{file.name}.partial-{socket.gethostname()}-{os.getpid()}")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        shard = _write(partial, batches, dtype)
        partial.replace(file)
    except OSError as error:
        raise _unwritable(file, error.strerror) from error
    except RuntimeError as error:
        if partial.name not in str(error):
            raise  # not ArrayRecord's
        raise _unwritable(file, str(error).partition(";")[0]) from error
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
    return shard


def _unwritable(file: Path, reason: str | None) -> UserError:
    return UserError(
        f"{file} cannot be written ({reason}): make room or mend what hinders it, then run the same command again; "
        "shards that are whole are kept"
    )


def _write(file: Path, batches: Iterable[TokenizedDocuments], dtype: TokenType) -> Shard:
    text_bytes = 0

    def counted() -> Iterator[TokenizedDocuments]:
        nonlocal text_bytes
        for batch in batches:
            text_bytes += batch.text_bytes
            yield batch

    from array_record.python import array_record_module  # programs import this file, and may go without

    digest = hashlib.sha256()
    documents = text_tokens = 0
    writer = array_record_module.ArrayRecordWriter(str(file), _WRITER)
    try:
        for tokens, starts in records(counted()):
            head = np.concatenate([[len(starts)], starts]).astype("<u4")
            writer.write(head.tobytes() + tokens.astype(_little_endian(dtype)).tobytes())
            digest.update(tokens.astype("<i4").tobytes())
            documents, text_tokens = documents + len(starts), text_tokens + len(tokens)
    finally:
        writer.close()
    with file.open("rb+") as written:
        os.fsync(written.fileno())
        file_sha256 = hashlib.file_digest(written, "sha256").hexdigest()
    return Shard(documents, text_tokens, text_bytes, digest.hexdigest(), file.stat().st_size, file_sha256)


def records(batches: Iterable[TokenizedDocuments]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The documents cut into records: up to `RECORD_TOKENS` tokens each, and where in them documents start."""
    tokens, starts = np.zeros(0, np.int32), np.zeros(0, np.int64)
    for batch in batches:
        starts = np.concatenate([starts, len(tokens) + np.cumsum(batch.lengths) - batch.lengths])
        tokens = np.concatenate([tokens, batch.tokens])
        whole = len(tokens) // RECORD_TOKENS * RECORD_TOKENS
        for at in range(0, whole, RECORD_TOKENS):
            first, last = np.searchsorted(starts, [at, at + RECORD_TOKENS])
            yield tokens[at : at + RECORD_TOKENS], starts[first:last] - at
        tokens, starts = tokens[whole:], starts[np.searchsorted(starts, whole) :] - whole
    if len(tokens):
        yield tokens, starts


class PreparedStream:
    """A split of a prepared folder, read like a `TokenStream`; nothing of it is kept in memory."""

    def __init__(self, folder: Path, split: str, manifest: Mapping[str, Any]):
        """`manifest`: the folder's.

        Raises:
          UserError: a shard is missing or is not of its size, or the counts do not agree.
        """
        with reading(folder / "manifest.json"):
            of_split = manifest["splits"][split]
            shards = [Shard(**shard) for shard in of_split["shards"]]
            self._manifest = {name: of_split[name] for name in ("documents", "text_tokens", "text_bytes", "sha256")}
            if self._manifest != summary(shards):
                raise ValueError(f"it contradicts itself: {split} is not the sum of its shards")
            self._shards, self._dtype = shards, _little_endian(TOKEN_TYPES[manifest["token_type"]])
        self._files = [shard_file(folder, split, index) for index in range(len(shards))]
        _check_sizes(folder / split, self._files, shards)
        self._ends = list(itertools.accumulate(shard.text_tokens for shard in shards))
        self._open = functools.lru_cache(maxsize=OPEN_SHARDS)(self._open_shard)

    @property
    def num_tokens(self) -> int:
        """Text tokens, EOS counted."""
        return self._manifest["text_tokens"]

    def manifest(self) -> dict[str, Any]:
        """As that of `TokenStream`, but `sha256` is of the shards' checksums, as shards are made in any order."""
        return dict(self._manifest)

    def slice(self, start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
        """Tokens `start` to `stop` (0 <= start <= stop <= num_tokens), and each one's document number, both int32.

        The numbers count from 0 within the slice. May be called from several threads.

        Raises:
          UserError: a shard is missing or damaged.
        """
        tokens, is_start = np.zeros((2, stop - start), np.int32)
        shard, at = bisect.bisect_right(self._ends, start), start
        while at < stop:
            record, skipped = divmod(at - self._ends[shard] + self._shards[shard].text_tokens, RECORD_TOKENS)
            some, starts = self._read(shard, record)
            some = some[skipped : skipped + stop - at]
            tokens[at - start : at - start + len(some)] = some
            first, last = starts.searchsorted((skipped, skipped + len(some)))
            is_start[starts[first:last] + (at - start - skipped)] = 1
            at += len(some)
            while at < stop and at >= self._ends[shard]:  # on to the next one that is not empty
                shard += 1
        is_start[:1] = 0
        return tokens, is_start.cumsum(dtype=np.int32)

    def _read(self, shard: int, record: int) -> tuple[np.ndarray, np.ndarray]:
        """Tokens of a record and where documents start in it."""
        try:
            reader, lock = self._open(shard)
            with lock:
                reader.seek(record)
                content = reader.read()
            count = int.from_bytes(content[:4], "little")
            starts = np.frombuffer(content, "<u4", count, offset=4).astype(np.int64)
            tokens = np.frombuffer(content, self._dtype, offset=4 + 4 * count)
        except (RuntimeError, ValueError, OSError) as error:
            reason = "its content does not agree with its checksums" if "hash mismatch" in str(error) else str(error)
            raise damaged(self._files[shard], reason) from error
        if len(tokens) != min(RECORD_TOKENS, self._shards[shard].text_tokens - record * RECORD_TOKENS):
            raise damaged(self._files[shard], f"record {record} has {len(tokens)} tokens")
        return tokens, starts

    def _open_shard(self, shard: int) -> tuple[Any, threading.Lock]:
        from array_record.python import array_record_module

        reader = array_record_module.ArrayRecordReader(str(self._files[shard]), _READER)
        if reader.num_records() != self._shards[shard].num_records:
            raise ValueError(f"it has {reader.num_records()} records, not {self._shards[shard].num_records}")
        return reader, threading.Lock()  # a reader has a position of its own, which threads would share


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a prepared folder. Raises UserError where there is none."""
    file = folder / "manifest.json"
    try:
        with reading(file):
            manifest = json.loads(file.read_text(encoding="utf-8"))
            if (manifest.get("format"), manifest.get("record_tokens")) != (FORMAT, RECORD_TOKENS):
                raise ValueError(f"its format is not {FORMAT}, of {RECORD_TOKENS} tokens a record")
            for name in ("task", "vocabulary"):
                if not isinstance(manifest[name], str):
                    raise TypeError(f"its {name} is {manifest[name]!r}")
            return manifest
    except OSError as error:
        begun = (folder / "plan.json").is_file()
        raise UserError(
            f"{folder} is not prepared: "
            + (
                "its preparation was not finished, run the same launch.prepare again"
                if begun
                else "it has no manifest.json, make it with python -m pause_jax prepare"
            )
        ) from error


@contextlib.contextmanager
def reading(file: Path, do: str = "run the same launch.prepare again, which writes it anew") -> Iterator[None]:
    """Turn what the code within raises, where the JSON of `file` is broken or was changed, into a UserError."""
    try:
        yield
    except UserError:
        raise
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        reason = f"it lacks {error}" if isinstance(error, KeyError) else error
        raise UserError(f"{file} cannot be used ({reason}): {do}") from error


def summary(shards: Sequence[Shard]) -> dict[str, Any]:
    """Sums over the shards of a split, and a checksum of all, ready for JSON."""
    checksums = "".join(shard.text_sha256 for shard in shards)
    return {
        "documents": sum(shard.documents for shard in shards),
        "text_tokens": sum(shard.text_tokens for shard in shards),
        "text_bytes": sum(shard.text_bytes for shard in shards),
        "sha256": hashlib.sha256(checksums.encode()).hexdigest(),
    }


def damaged(file: Path, reason: str) -> UserError:
    """The sentence for a shard that is not as it was written, and what to do about it."""
    return UserError(
        f"{file} is damaged ({' '.join(reason.split())}): delete it, then prepare the folder again with the same "
        "command, which makes only what is missing"
    )


def _check_sizes(folder: Path, files: Sequence[Path], shards: Sequence[Shard]) -> None:
    try:
        sizes = {entry.name: entry.stat().st_size for entry in os.scandir(folder)}
    except OSError:
        sizes = {}
    for file, shard in zip(files, shards, strict=True):
        if file.name not in sizes:
            raise damaged(file, "it is missing")
        if sizes[file.name] != shard.file_bytes:
            raise damaged(file, f"it has {sizes[file.name]} bytes, not {shard.file_bytes}")


def _little_endian(dtype: TokenType) -> np.dtype:
    return np.dtype(dtype).newbyteorder("<")

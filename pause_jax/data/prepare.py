"""Preparing a corpus: the plan, the unit of work, the manifest. prepare_corpus.py and beam.py run the units.

A unit makes one shard of one split from one shard of a SeqIO task's source, whatever else was made before or elsewhere,
and leaves it alone where it is whole. So a preparation may be killed at any moment and continued by other processes:
the folder will be the same, byte for byte. Nothing here imports TensorFlow before a unit runs.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pause_jax.config import DataConfig
from pause_jax.data import shards, splits
from pause_jax.data.documents import Piece
from pause_jax.data.shards import Shard
from pause_jax.data.splits import SPLITS, FilePlan, Scan
from pause_jax.errors import UserError
from pause_jax.tokenizers import tokenizer

_FIELDS = ("task", "files", "text_field", "data_dir", "vocabulary")  # the fields of config.data that a unit needs

Scanner = Callable[[Sequence[Piece]], Mapping[Piece, Scan]]


@dataclasses.dataclass(frozen=True)
class Source:
    """A config's corpus, as far as it is known before any of its text is read."""

    task: str
    vocabulary: str  # its fingerprint
    token_type: str  # "uint16" or "int32"
    num_shards: Mapping[str, int] | None  # of each split; None: files, which are yet to be cut


@dataclasses.dataclass(frozen=True)
class Unit:
    """One shard to make; all else that making it takes is in the folder's plan.json."""

    folder: str
    split: str
    index: int

    @property
    def file(self) -> Path:
        return shards.shard_file(Path(self.folder), self.split, self.index)


def describe(data: DataConfig) -> Source:
    """Look at a config's task and tokenizer.

    Raises:
      UserError: see `vocabularies.load` and `corpora.text_task`.
    """
    from pause_jax.data import corpora
    from pause_jax.tokenizers import vocabularies

    vocabulary = vocabularies.load(data.vocabulary)
    task = corpora.text_task(data, vocabulary)
    num_shards = None if data.files else {split: len(task.source.list_shards(split)) for split in SPLITS}
    token_type = shards.token_dtype(vocabulary.vocab_size).__name__
    return Source(task.name, tokenizer.fingerprint(data.vocabulary), token_type, num_shards)


def with_absolute_paths(data: DataConfig) -> DataConfig:
    """`data` with absolute paths, so that processes in other folders can use it."""
    names = ["files", "validation_files", "data_dir"] + ["vocabulary"] * (data.vocabulary != "byte")
    paths = {name: path for name in names if (path := getattr(data, name)) and "://" not in path}
    values = {name: os.path.abspath(os.path.expanduser(path)) for name, path in paths.items()}
    return dataclasses.replace(data, **values)


def begin(
    folder: Path,
    data: DataConfig,
    source: Source,
    scan_files: Scanner,
    *,
    skip_bad: bool,
) -> list[Unit]:
    """Write the folder's plan, or find it, and list its units. Cutting the user's files is left to `scan_files`.

    Raises:
      UserError: the folder holds another preparation or other things, or see `splits.plan_files`.
    """
    files = splits.files_of(data) if data.files else {}
    request = {
        "format": shards.FORMAT,
        "task": source.task,
        "vocabulary": source.vocabulary,
        "text_field": data.text_field,
        "on_bad_text": "skip" if skip_bad else "stop",
        "inputs": {field: [_state(file.path) for file in of_field] for field, of_field in files.items()},
    }
    if (folder / "plan.json").is_file():
        plan = _load_plan(str(folder))
        if plan["request"] != request:
            raise _other_preparation(folder, plan["request"], request)
    else:
        if folder.exists() and {entry.name for entry in folder.iterdir()} - {"plan.json.partial"}:
            raise UserError(f"--out={folder} is not empty and holds no preparation: give an empty or a new folder")
        plan = {"request": request, **_cut(data, source, scan_files, files, skip_bad=skip_bad)}
    plan |= {"token_type": source.token_type, "data": {name: getattr(data, name) for name in _FIELDS}}
    shards.write_record(folder / "plan.json", {**plan, "checksum": _checksum(plan)})
    return [
        Unit(str(folder.absolute()), split, index) for split in SPLITS for index in range(plan["num_shards"][split])
    ]


def run_unit(unit: Unit, on_batch: Callable[[int], None] = lambda text_bytes: None) -> Shard:
    """Make a shard, or find it made; `on_batch` gets the bytes of text of each batch that is tokenized.

    Raises:
      UserError: text that is none, a full disk, another tokenizer than the plan's; nothing is left half done.
    """
    if (found := shards.find_shard(unit.file)) is not None:
        return found
    from pause_jax.data import corpora, streams
    from pause_jax.tokenizers import vocabularies

    plan = _load_plan(unit.folder)
    data = DataConfig(**plan["data"])
    tokenizer.check_fingerprint(data.vocabulary, plan["request"]["vocabulary"], f"what {unit.folder} has so far")
    files = FilePlan.from_json(plan["files"]) if plan["files"] else None
    skip_bad = plan["request"]["on_bad_text"] == "skip"
    task = corpora.text_task(data, vocabularies.load(data.vocabulary), plan=files, skip_bad=skip_bad)

    def batches() -> Any:
        for batch in streams.tokenize(task, unit.split, unit.index, plan["num_shards"][unit.split]):
            yield batch
            on_batch(batch.text_bytes)

    shard = shards.write_shard(unit.file, batches(), shards.TOKEN_TYPES[plan["token_type"]])
    if isinstance(task.source, corpora.FileSource):
        shard = dataclasses.replace(
            shard, long=task.source.long, blank=task.source.left_out["blank"], bad=task.source.left_out["bad"]
        )
    shards.write_sidecar(unit.file, shard)
    return shard


def finish(folder: Path, units: Sequence[Unit]) -> dict[str, Any]:
    """Write the manifest of a folder, all of whose shards are made.

    Raises:
      UserError: a shard is not there, or a split holds no text.
    """
    plan = _load_plan(str(folder))
    by_split = {}
    for split in SPLITS:
        made = [(unit, shards.find_shard(unit.file)) for unit in units if unit.split == split]
        found = [shard for _, shard in made if shard is not None]
        if missing := [unit for unit, shard in made if shard is None]:
            raise shards.damaged(missing[0].file, "it is missing")
        if sum(shard.text_tokens for shard in found) < 2:
            raise UserError(f"the {split} text of {plan['request']['task']} is empty, in {folder}: add text")
        by_split[split] = {
            **shards.summary(found),
            "blank": sum(shard.blank for shard in found),
            "bad": sum(shard.bad for shard in found),
            "shards": [dataclasses.asdict(shard) for shard in found],
        }
    for orphan in folder.glob("*/*.partial*"):  # of processes that were killed
        orphan.unlink(missing_ok=True)
    manifest = {
        "format": shards.FORMAT,
        "task": plan["request"]["task"],
        "vocabulary": plan["request"]["vocabulary"],
        "token_type": plan["token_type"],
        "record_tokens": shards.RECORD_TOKENS,
        "splits": by_split,
    }
    shards.write_record(folder / "manifest.json", manifest, indent=1)
    return manifest


def verify(folder: Path) -> int:
    """Compare all shards with their checksums and return how many there are.

    Raises:
      UserError: naming the first that differs.
    """
    manifest = shards.read_manifest(folder)
    files = []
    for split in SPLITS:
        shards.PreparedStream(folder, split, manifest)  # all of them are there, and of their sizes
        recorded = manifest["splits"][split]["shards"]
        files += [(shards.shard_file(folder, split, index), shard) for index, shard in enumerate(recorded)]
    for file, shard in files:
        with file.open("rb") as content:
            if hashlib.file_digest(content, "sha256").hexdigest() != shard["file_sha256"]:
                raise shards.damaged(file, "its content does not agree with its checksum")
    return len(files)


def _state(path: str) -> list[Any]:
    """Path, size and time of change of a file: by these a later run sees that it was changed."""
    stat = os.stat(path)
    return [path, stat.st_size, stat.st_mtime_ns]


def _load_plan(folder: str) -> dict[str, Any]:
    """The plan as it was written. Raises UserError where it was changed or damaged since."""
    file = Path(folder, "plan.json")
    with shards.reading(file, f"delete {folder} and prepare it anew, or give another --out"):
        plan = json.loads(file.read_text(encoding="utf-8"))
        if plan.pop("checksum") != _checksum(plan):
            raise ValueError("its content does not agree with its checksum")
        return plan


def _checksum(plan: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(plan, sort_keys=True).encode()).hexdigest()


def _cut(
    data: DataConfig, source: Source, scan_files: Scanner, files: Mapping[str, Sequence[Piece]], *, skip_bad: bool
) -> dict[str, Any]:
    """The part of a plan that says which shards there will be."""
    if source.num_shards is not None:
        return {"num_shards": source.num_shards, "files": None}
    scans = scan_files([file for of_field in files.values() for file in of_field])
    plan = splits.plan_files(data, scans, skip_bad=skip_bad)
    return {"num_shards": {split: len(plan.ranges[split]) for split in SPLITS}, "files": plan.to_json()}


def _other_preparation(folder: Path, recorded: Mapping[str, Any], request: Mapping[str, Any]) -> UserError:
    for name, value in request.items():
        before = recorded.get(name)
        if before != value:
            break
    what = "files that have changed since" if name == "inputs" else f"{name} {before!r}, now {value!r}"
    return UserError(f"--out={folder} holds a preparation of {what}: give another --out, or delete this one")

"""Published data sets as SeqIO tasks: reads official files under a data directory into examples.

A task's module says which files there are, how one is read, and what is measured, in a call of `register`:

    register("mine", files={"train": (TRAIN,), "test": (TEST,)}, read=read, metric_fns=[...])

`read` gets the files of a split, in the order in which they were given, and yields an `Example` each. The split
"validation" is a twentieth of the training data, held out by the CRC-32 of each example's `group`, so that what
belongs together (the questions of one text) is in one part.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import gzip
import json
import re
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import seqio
import tensorflow as tf

from pause_jax.data import splits
from pause_jax.errors import UserError


@dataclasses.dataclass(frozen=True)
class File:
    """A file as its authors published it."""

    path: str  # below the data directory, unzipped; PATH.gz is read where it is there instead
    url: str  # its public address
    sha256: str = ""  # of its bytes, unzipped; "": not known
    records: int = 0  # examples in it; 0: not checked
    instead: File | None = None  # what is read where this one is absent
    member: str = ""  # of the archive at the address; "": the address is the file's own


class Example(NamedTuple):
    """One example, in text."""

    id: str
    prompt: str
    target: str  # what is trained on
    answers: tuple[str, ...]  # what is right, or the references; may be empty
    group: str  # examples of one group are held out together
    options: tuple[str, ...] = ()
    label: int = -1  # the number of the right option


@dataclasses.dataclass(frozen=True)
class Source:
    """A registered task: its files, and the function that reads them."""

    name: str
    files: Mapping[str, tuple[File, ...]]  # "train" (validation is a part of it) and "test"
    read: Callable[..., Iterator[Example]]  # (Text, Text, ...) → examples


@dataclasses.dataclass(frozen=True)
class Text:
    """The content of an official file, and its name for sentences about it."""

    path: Path
    text: str

    def lines(self) -> Iterator[tuple[int, str]]:
        """Number from 1 and text of each line, split at newlines only; an empty last line is left out."""
        lines = self.text.split("\n")
        yield from enumerate(lines[:-1] if lines[-1] == "" else lines, start=1)

    def id_of(self, number: int) -> str:
        """An id for the example of this number: the file's name without its suffix, and the number."""
        return f"{Path(self.path.name.removesuffix('.gz')).stem}-{number}"

    def json_lines(self) -> Iterator[tuple[int, dict[str, Any]]]:
        """Number and JSON object of each line. Raises UserError for a line that is no object."""
        for number, line in self.lines():
            try:
                record = json.loads(line)
            except ValueError as error:
                raise UserError(f"{self.path}, line {number}, is not JSON ({error}): get the file again") from None
            if not isinstance(record, dict):
                raise UserError(f"{self.path}, line {number}, is no JSON object: get the file again")
            yield number, record

    def json(self) -> Any:
        """The file's JSON. Raises UserError where it is not JSON."""
        try:
            return json.loads(self.text)
        except ValueError as error:
            raise UserError(f"{self.path} is not JSON ({error}): get the file again") from None

    def data(self, version: str) -> list[Any]:
        """The field `data` of a JSON file whose field `version` is `version`. Raises UserError for another version."""
        content = self.json()
        with self.at("at the top"):
            found, data = content["version"], list(content["data"])
        if found != version:
            raise UserError(f"{self.path} is of version {found!r}: get the file of version {version!r}")
        return data

    @contextlib.contextmanager
    def at(self, where: str) -> Iterator[None]:
        """Turn the error of a field that is missing or of another type into a UserError; `where` is "line 7", say."""
        try:
            yield
        except UserError:
            raise
        except (KeyError, IndexError, TypeError, AttributeError, ValueError) as error:
            what = f"field {error} is missing" if isinstance(error, KeyError) else str(error)
            raise UserError(
                f"{self.path}, {where}, is not as published: {what}; get the file again, in the version that "
                "docs/tasks.md names"
            ) from None


_SOURCES: dict[str, Source] = {}


def register(
    name: str,
    *,
    files: Mapping[str, tuple[File, ...]],
    read: Callable[..., Iterator[Example]],
    metric_fns: Sequence[Callable[..., Mapping[str, float]]],
    postprocess_fn: Callable[..., Any] | None = None,
) -> None:
    """Adds a task to SeqIO's registry. Its files are looked for when it is read, in the `data_dir` of `get`."""
    source = _SOURCES[name] = Source(name, files, read)
    byte = seqio.ByteVocabulary(extra_ids=0)
    seqio.TaskRegistry.add(
        name,
        source=_data_source(source, ""),
        preprocessors=[seqio.preprocessors.tokenize, seqio.preprocessors.append_eos],
        output_features={"inputs": seqio.Feature(byte, add_eos=False), "targets": seqio.Feature(byte)},
        postprocess_fn=postprocess_fn or answers,
        metric_fns=metric_fns,
        shuffle_buffer_size=None,  # the order of training is that of data/blocks.py
    )


def known() -> Mapping[str, Source]:
    """All registered sources by the task's name."""
    return _SOURCES


def bound(name: str, data_dir: str) -> seqio.Task:
    """The registered task, reading its files from `data_dir`."""
    return seqio.TaskRegistry.get(name).replace(source=_data_source(_SOURCES[name], data_dir))


def answers(text: str, example: Mapping[str, Any], is_target: bool = False) -> Any:
    """The default postprocessing: {"answers": [str, …]} for a target; a prediction stays as it is."""
    return {"answers": [answer.decode() for answer in example["answers"].tolist()]} if is_target else text


def examples(name: str, split: str, data_dir: str) -> list[Example]:
    """All examples of a split: "train", "validation" or "test".

    Raises:
      UserError: a file is not there, cannot be read, or is not the published one; or no `data_dir` is given.
    """
    if split == "test":
        return list(_read_all(name, "test", data_dir))
    held_out = split == "validation"
    return [e for e in _read_all(name, "train", data_dir) if splits.is_validation(e.group) == held_out]


def texts(name: str, split: str, data_dir: str) -> list[Text]:
    """The official files of "train" or "test". Raises UserError as `examples` does."""
    source = _SOURCES[name]
    paths = [_find(source, split, file, data_dir)[0] for file in source.files[split]]
    return [Text(path, _read_text(path)) for path in paths]


@functools.lru_cache(maxsize=2)  # train and validation are read one after the other
def _read_all(name: str, split: str, data_dir: str) -> tuple[Example, ...]:
    source = _SOURCES[name]
    found = tuple(source.read(*texts(name, split, data_dir)))
    _check(found, *_find(source, split, source.files[split][0], data_dir))
    return found


def locate(file: File, data_dir: str) -> tuple[Path, File] | None:
    """Where an official file lies, and which one it is: itself, or what is read in its place. None: nowhere."""
    if path := stored(Path(data_dir) / file.path):
        return path, file
    return locate(file.instead, data_dir) if file.instead else None


def stored(path: Path) -> Path | None:
    """The path, or with .gz behind it, where such a file is."""
    return next((p for p in (path, path.with_name(f"{path.name}.gz")) if p.is_file()), None)


def _find(source: Source, split: str, file: File, data_dir: str) -> tuple[Path, File]:
    """Where an official file lies, and which one it is."""
    get = f"python -m pause_jax prepare --download={source.name} --data_dir={data_dir or 'data'}"
    if not data_dir:
        raise UserError(
            f"task {source.name!r} reads official files, but no data directory is given: set --config.data.data_dir "
            f"(launch.evaluate: --data_dir) to the folder that has {file.path}; `{get}` fetches it"
        )
    if located := locate(file, data_dir):
        return located
    what = "finetuning on it" if split == "train" else "evaluating it"
    raise UserError(
        f"task {source.name!r}: {what} needs {Path(data_dir) / file.path} (or .gz), which is not there; `{get}` "
        f"fetches it from {file.url}"
    )


def _read_text(path: Path) -> str:
    try:
        content = path.read_bytes()
        return (gzip.decompress(content) if path.suffix == ".gz" else content).decode()
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{path} cannot be read ({error}): get it again") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 at byte {error.start}: get it again") from None


def _check(found: Sequence[Example], path: Path, file: File) -> None:
    if file.records and len(found) != file.records:
        raise UserError(
            f"{path} has {len(found):,} examples, but the published file has {file.records:,}: it is another version "
            "or not whole; get it again, in the version that docs/tasks.md names"
        )
    seen: set[str] = set()
    for example in found:
        if example.id in seen:
            raise UserError(f"{path} has the id {example.id!r} twice: it is not as published; get it again")
        seen.add(example.id)


def _data_source(source: Source, data_dir: str) -> seqio.DataSource:
    return seqio.FunctionDataSource(
        functools.partial(_dataset, source.name, data_dir), splits=("train", "validation", "test")
    )


def _dataset(name: str, data_dir: str, split: str, shuffle_files: bool, seed: int | None = None) -> tf.data.Dataset:
    found = examples(name, split, data_dir)
    features: dict[str, Any] = {
        "id": [e.id for e in found],
        "inputs": [e.prompt for e in found],
        "targets": [e.target for e in found],
        "answers": _ragged([e.answers for e in found]),
    }
    if found and found[0].options:
        features["options"] = _ragged([e.options for e in found])
        features["label"] = tf.constant([e.label for e in found], tf.int32)
    return tf.data.Dataset.from_tensor_slices(features)


def _ragged(rows: Iterable[Sequence[str]]) -> tf.RaggedTensor:
    rows = list(rows)
    values = tf.constant([value for row in rows for value in row], tf.string)
    return tf.RaggedTensor.from_row_lengths(values, [len(row) for row in rows])


def gold_answers(answers: list[str]) -> tuple[str, ...]:
    """An example's right answers, each once, white space kept. Raises ValueError where there is none."""
    if not isinstance(answers, list) or not all(isinstance(answer, str) for answer in answers):
        raise ValueError(f"the answers are {answers!r}, no list of texts")
    if not any(answer.strip() for answer in answers):
        raise ValueError("there is no answer")
    return tuple(dict.fromkeys(answers))


def clean(text: str) -> str:
    """`text` stripped, with each run of white space within as one space."""
    return re.sub(r"\s+", " ", text).strip()

"""Writers of metrics: to a JSON-lines file, to TensorBoard, or to nothing (hosted.py: experiment trackers).

A write that fails (disk full) never stops training: it is warned about once per kind of failure.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import mmap
import os
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from absl import logging

from pause_jax.errors import UserError
from pause_jax.system import mounts

SECONDS_BETWEEN_SYNCS = 30


@dataclasses.dataclass(frozen=True)
class LoggedRun:
    """What a logger is given: the run whose metrics it gets."""

    folder: Path
    name: str
    resume_step: int  # the step that it resumes from; what was logged beyond it is written anew
    settings: Mapping[str, Any]  # the config flattened, without `run.*`


class MetricWriter(Protocol):
    """Takes the metrics of steps, in ascending order of steps."""

    def write(self, step: int, metrics: Mapping[str, float]) -> None: ...

    def flush(self) -> None: ...

    def close(self) -> None: ...


class NullWriter:
    """Writes nothing: for processes other than 0."""

    def write(self, step: int, metrics: Mapping[str, float]) -> None:
        pass

    def flush(self) -> None:
        pass

    def close(self) -> None:
        pass


class Writers:
    """Writes to several writers."""

    def __init__(self, writers: Sequence[MetricWriter]) -> None:
        self._writers = list(writers)

    def write(self, step: int, metrics: Mapping[str, float]) -> None:
        for writer in self._writers:
            writer.write(step, metrics)

    def flush(self) -> None:
        for writer in self._writers:
            writer.flush()

    def close(self) -> None:
        for writer in self._writers:
            writer.close()


class JsonLinesWriter:
    """One JSON object a line, `step` first; null stands for a value that is not finite.

    Opening it for a run that resumes after `resume_step` drops what an earlier process wrote beyond that step, a torn
    last line included: after any kill each step is there exactly once. On a mounted bucket what was written is in the
    bucket after `flush`, and otherwise every half minute.
    """

    def __init__(self, path: Path, resume_step: int) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        # While the disk is full, lines wait in the buffer. What does not fit into it is dropped as a whole line.
        self._file = path.open("ab", buffering=1 << 20)
        self._file.truncate(_end_of_step(path, resume_step))
        self._failures = _Failures(path)
        self._sync = _Sync(path)

    def write(self, step: int, metrics: Mapping[str, float]) -> None:
        line = json.dumps({"step": step} | {name: _to_json(value) for name, value in metrics.items()}, allow_nan=False)
        with self._failures.warned_about():
            self._file.write(line.encode() + b"\n")
            self._file.flush()
            self._sync.now_and_then(self._file.fileno())

    def flush(self) -> None:
        with self._failures.warned_about():
            self._file.flush()
            self._sync.now(self._file.fileno())

    def close(self) -> None:
        with self._failures.warned_about():
            self._file.close()


class TensorBoardWriter:
    """Scalars for TensorBoard, which hides what an earlier process wrote beyond `resume_step`."""

    def __init__(self, folder: Path, resume_step: int, hyperparameters: Mapping[str, Any] | None = None) -> None:
        """`hyperparameters` are numbers, texts and booleans, for TensorBoard's page of that name."""
        # EventFileWriter is not used: it writes from a thread, and when that dies of a full disk, no error appears.
        from tensorboard.compat.proto.event_pb2 import SessionLog
        from tensorboard.summary.writer.record_writer import RecordWriter

        folder.mkdir(parents=True, exist_ok=True)
        name = f"events.out.tfevents.{int(time.time())}.{socket.gethostname()}.{time.time_ns()}"
        self._raw = (folder / name).open("xb")
        self._file = RecordWriter(self._raw)
        self._sync = _Sync(folder)
        self._failures = _Failures(folder)
        self._whole = True
        self._add(file_version="brain.Event:2")
        self._add(step=resume_step + 1, session_log=SessionLog(status=SessionLog.START))  # from here on: written anew
        if hyperparameters:
            self._add(summary=_session(hyperparameters))

    def write(self, step: int, metrics: Mapping[str, float]) -> None:
        from tensorboard.compat.proto.summary_pb2 import Summary

        values = [Summary.Value(tag=name, simple_value=value) for name, value in metrics.items()]
        self._add(step=step, summary=Summary(value=values))

    def flush(self) -> None:
        with self._failures.warned_about():
            self._sync.now(self._raw.fileno())  # every write is flushed

    def close(self) -> None:
        with self._failures.warned_about():
            self._file.close()

    def _add(self, **event: Any) -> None:
        from tensorboard.compat.proto.event_pb2 import Event

        if not self._whole:  # after a failure the file may end in half a record, and TensorBoard reads no further
            return
        self._whole = False
        with self._failures.warned_about():
            self._file.write(Event(wall_time=time.time(), **event).SerializeToString())
            self._file.flush()
            self._whole = True


def _session(hyperparameters: Mapping[str, Any]) -> Any:
    """A TensorBoard summary that begins a session with these hyperparameters; TensorBoard's own needs TensorFlow."""
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.plugins.hparams import metadata
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData, SessionStartInfo

    start = SessionStartInfo(start_time_secs=time.time())
    for name, value in hyperparameters.items():
        if isinstance(value, bool):
            start.hparams[name].bool_value = value
        elif isinstance(value, (int, float)):
            start.hparams[name].number_value = value
        else:
            start.hparams[name].string_value = str(value)
    about = metadata.create_summary_metadata(HParamsPluginData(session_start_info=start))
    tag = metadata.SESSION_START_INFO_TAG
    return Summary(value=[Summary.Value(tag=tag, metadata=about, tensor=metadata.NULL_TENSOR)])


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    """The records of a JSON-lines file; null is read as nan, and a torn last line is left out.

    Raises:
      UserError: there is no such file, or another line is no JSON object.
    """
    if not path.is_file():
        raise UserError(f"{path} does not exist: give the metrics.jsonl of a run")
    lines = path.read_bytes().splitlines()
    records = []
    for number, line in enumerate(lines, 1):
        record = _parse(line)
        if record is not None:
            records.append({name: math.nan if value is None else value for name, value in record.items()})
        elif number < len(lines):
            raise UserError(
                f"{path}, line {number}, is no JSON object: restore the file from a copy, or delete the line"
            )
    return records


class _Sync:
    """Synchronizes a file on a mounted bucket, which uploads what was appended; elsewhere it does nothing."""

    def __init__(self, path: Path) -> None:
        self._needed = mounts.is_fuse(path)
        self._last = time.monotonic()

    def now_and_then(self, number: int) -> None:
        if time.monotonic() - self._last >= SECONDS_BETWEEN_SYNCS:
            self.now(number)

    def now(self, number: int) -> None:
        if self._needed:
            os.fsync(number)
        self._last = time.monotonic()


class _Failures:
    """Turns failures to write into one warning per kind."""

    def __init__(self, target: Path) -> None:
        self._target = target
        self._seen: set[int | None] = set()

    @contextlib.contextmanager
    def warned_about(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if error.errno not in self._seen:
                logging.warning("could not write metrics to %s (%s): going on without", self._target, error.strerror)
            self._seen.add(error.errno)


def _to_json(value: float) -> float | None:
    if isinstance(value, int):
        return value
    return float(value) if math.isfinite(value) else None


def _parse(line: bytes) -> dict[str, Any] | None:
    """The JSON object of a line; None where it is torn or something else."""
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None


def _end_of_step(path: Path, step: int) -> int:
    """Bytes up to the end of the last whole record whose step is at most `step`.

    Searched from the end: as fast after a million steps as after ten.
    """
    if path.stat().st_size == 0:
        return 0
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        end = content.rfind(b"\n") + 1
        while end > 0:
            start = content.rfind(b"\n", 0, end - 1) + 1
            record = _parse(content[start:end])
            if record is not None and isinstance(record.get("step"), int) and record["step"] <= step:
                return end
            end = start
    return 0

"""results.csv: what runs achieved, a row for each run, task, M_inf and metric. Its columns are `Result`'s fields.

A cost that is not known, as of a model that was trained elsewhere, is an empty cell.
"""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import errno
import io
import math
import typing
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from pause_jax import pauses
from pause_jax.errors import UserError
from pause_jax.runs import write_atomically

# "none": trained on the task from scratch; "unknown": the run that it started from is not there, nor its record
PRETRAIN = ("std", "pause", "none", "unknown")
FINETUNE = ("std", "pause", "none")
PLACEMENT = (*typing.get_args(pauses.Placement), "none")
HINTS = typing.get_args(pauses.Hints)
LOSSES = {  # metrics of held-out text, in nats a text token → where a run's records have them
    "loss": "validation/loss",
    "loss_after_pause": "validation/after_pause_loss",
    "loss_elsewhere": "validation/elsewhere_loss",
}


@dataclasses.dataclass(frozen=True)
class Result:
    """One value of one metric."""

    model: str  # size, such as "130m"
    pretrain: str  # std, pause, none or unknown
    pretrain_rate: float  # pauses per text token in pretraining
    finetune: str  # std, pause or none
    m_ft: str  # pauses in finetuning; of a list, one was drawn for each example: "0|10"
    m_inf: int  # pauses at inference
    placement: str  # of the pauses: append, prepend, filler or none
    task: str
    metric: str
    value: float  # percentages are 0 to 100
    seed: int
    text_tokens: int | None  # read in training, all stages; None: not known
    model_flops: float  # of training, all stages; nan: not known
    checkpoint: str  # relative to the workdir
    split: str
    n_examples: int
    inference_flops: float  # of one example's prompt, pauses and answer, mean
    policy: str  # by which pretraining places pauses
    n_pauses: int  # distinct ones
    attention: str  # over prompt and pauses
    steps: int  # of the last stage
    pretrain_steps: str  # of each stage of pretraining, the first first: "2000", "2000|100"; "0" for none
    hints: str = "none"  # which positions were told intermediate results in finetuning; files without it have none

    def key(self) -> tuple[Any, ...]:
        """What tells this row from others: everything that is not an outcome."""
        outcome = ("value", "text_tokens", "model_flops", "n_examples", "inference_flops")
        return tuple(value for name, value in dataclasses.asdict(self).items() if name not in outcome)


COLUMNS = [field.name for field in dataclasses.fields(Result)]
_TYPES = typing.get_type_hints(Result) | {"text_tokens": int}
_UNKNOWN = {"text_tokens": None, "model_flops": math.nan, "inference_flops": math.nan}  # what an empty cell means
_CHOICES = {"pretrain": PRETRAIN, "finetune": FINETUNE, "placement": PLACEMENT, "hints": HINTS}
_OLDER = [COLUMNS[:-1]]  # columns of files that were written before there were hints


def read_results(path: Path) -> list[Result]:
    """All rows of a results file.

    Raises:
      UserError: no such file, other columns, or a value that cannot be; file, line and column are named.
    """
    try:
        with path.open(newline="") as file:
            lines = list(csv.reader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"results file {path} cannot be read ({error}): give a CSV of launch.evaluate") from None
    if not lines or lines[0] not in [COLUMNS, *_OLDER]:
        raise UserError(f"results file {path} has other columns than launch.evaluate writes: {_other_columns(lines)}")
    columns = lines[0]
    return [_parse(columns, line, f"results file {path}, line {number}") for number, line in enumerate(lines[1:], 2)]


def merge_results(paths: Sequence[Path]) -> list[Result]:
    """The rows of several files, in order; a row that several have stands once.

    Raises:
      UserError: as `read_results`, or rows of one run, task, metric and M_inf that differ in what came out.
    """
    seen: dict[tuple[Any, ...], tuple[Result, str]] = {}
    for path in paths:
        for number, result in enumerate(read_results(path), start=2):
            where = f"{path}, line {number}"
            first, first_where = seen.setdefault(result.key(), (result, where))
            if repr(first) != repr(result):  # as text: nan is like nan
                raise UserError(
                    f"{first_where}, and {where}, are two runs with one fingerprint and different content "
                    f"({result.checkpoint}, {result.task}, {result.metric}): remove the row that is wrong"
                )
    return [result for result, _ in seen.values()]


def write_results(path: Path, results: Iterable[Result]) -> None:
    """Replace the file by one of these rows: all of it or, whatever happens, nothing."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(_cells(result) for result in results)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, text.getvalue())


def check_writable(path: Path, what: str) -> None:
    """See that a file can be made, and its folder where that is missing; leaves nothing.

    Args:
      what: the beginning of the sentence, such as "--out=results.csv".

    Raises:
      UserError: it cannot; to be asked before the work whose results the file is for.
    """
    missing = [folder for folder in path.parents if not folder.exists()]
    probe = path.with_name(f"{path.name}.probe")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, "it is a folder")
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise UserError(f"{what} cannot be written ({error.strerror}): give one in a folder of yours") from None
    finally:
        with contextlib.suppress(OSError):
            for folder in missing:
                folder.rmdir()


def add_results(path: Path, results: Sequence[Result]) -> None:
    """Add rows to a file, or make it; rows with the same `key` are replaced where they stand.

    Raises:
      UserError: as `read_results`; the file is as it was then.
    """
    rows = {result.key(): result for result in (read_results(path) if path.exists() else [])}
    write_results(path, (rows | {result.key(): result for result in results}).values())


def _cells(result: Result) -> list[Any]:
    cells = dataclasses.asdict(result)
    unknown = [name for name in _UNKNOWN if cells[name] is None or math.isnan(cells[name])]
    return list((cells | dict.fromkeys(unknown, "")).values())


def _other_columns(lines: list[list[str]]) -> str:
    if not lines:
        return "it is empty; delete it or give another --out"
    missing = [name for name in COLUMNS if name not in lines[0]]
    unknown = [name for name in lines[0] if name not in COLUMNS]
    parts = [f"{what} {', '.join(names)}" for what, names in (("without", missing), ("with", unknown)) if names]
    return f"{' and '.join(parts) or 'in another order'}; give another file"


def _parse(columns: list[str], line: list[str], where: str) -> Result:
    if len(line) != len(columns):
        raise UserError(f"{where}, has {len(line)} fields, but there are {len(columns)} columns: restore or remove it")
    values: dict[str, Any] = {}
    for name, text in zip(columns, line, strict=True):
        kind = _TYPES[name]
        if name in _UNKNOWN and not text:
            values[name] = _UNKNOWN[name]
            continue
        try:
            values[name] = kind(text)
        except ValueError:
            wanted = "a whole number" if kind is int else "a number"
            raise UserError(f"{where}, column {name}: {text!r} is not {wanted}") from None
        if name in _CHOICES and text not in _CHOICES[name]:
            raise UserError(f"{where}, column {name}: {text!r} is none of {', '.join(_CHOICES[name])}")
    return Result(**values)

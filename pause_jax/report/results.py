"""results.csv: metrics of runs, a row for each run, task, M_inf and metric. Its columns are the fields of `Result`.

A cost that is not known, such as that of a model trained elsewhere, is an empty cell.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import math
import typing
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from pause_jax.errors import UserError
from pause_jax.pauses import downstream
from pause_jax.system.files import write_atomically

# "none": trained on the task from scratch; "unknown": neither the run that it started from nor its record is there
PRETRAIN = ("std", "pause", "none", "unknown")
FINETUNE = ("std", "pause", "none")
PLACEMENT = (*typing.get_args(downstream.Placement), "none")
HINTS = typing.get_args(downstream.Hints)
LOSSES = {  # metrics of held-out text, in nats per text token → their names in metrics.jsonl
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
    m_ft: str  # pauses in finetuning; "0|10": one of these was drawn for each example
    m_inf: int  # pauses at inference
    placement: str  # of the pauses: append, prepend, filler or none
    task: str
    metric: str
    value: float  # percentages are 0 to 100
    seed: int
    text_tokens: int | None  # read in training, all stages; None: not known
    model_flops: float  # of training, all stages; nan: not known
    checkpoint: str  # RUN/checkpoints/STEP
    split: str
    n_examples: int
    inference_flops: float  # of one example's prompt, pauses and answer, mean
    policy: str  # by which pretraining places pauses
    num_pause_tokens: int  # distinct ones
    attention: str  # over prompt and pauses
    steps: int  # of the last stage
    pretrain_steps: str  # of each stage of pretraining, the first first: "2000", "2000|100"; "0" for none
    # Older files lack the columns from here on.
    hints: str = "none"  # the positions that were supervised with intermediate results in finetuning
    pretrain_run: str = ""  # names of the runs that it started from, the first first: "import|uptrain"; "": not known
    pretrain_seed: str = ""  # of the last of them; "": not known
    settings: str = ""  # JSON: fields of the config that are not at their default, by dotted name; "": not known

    @property
    def has_untrained_pauses(self) -> bool:
        """Whether it was evaluated after pauses that no stage of its training had, so that the value means nothing."""
        had_none = self.pretrain in ("std", "none") and not any(map(int, self.m_ft.split("|")))
        return self.m_inf > 0 and had_none and self.placement != "filler"

    def key(self) -> tuple[Any, ...]:
        """What identifies the row, `settings` aside: all fields but outcomes and those that older files lack."""
        other = ("value", "text_tokens", "model_flops", "n_examples", "inference_flops", *_SINCE)
        return tuple(value for name, value in dataclasses.asdict(self).items() if name not in other)


_SINCE = ("pretrain_run", "pretrain_seed", "settings")  # may be known in one version of a row and not in another
_RENAMED = {"n_pauses": "num_pause_tokens"}  # older files' names of columns → ours
COLUMNS = [field.name for field in dataclasses.fields(Result)]
_TYPES = typing.get_type_hints(Result) | {"text_tokens": int}
_UNKNOWN = {"text_tokens": None, "model_flops": math.nan, "inference_flops": math.nan}  # what an empty cell means
_CHOICES = {"pretrain": PRETRAIN, "finetune": FINETUNE, "placement": PLACEMENT, "hints": HINTS}
_OPTIONAL = {field.name for field in dataclasses.fields(Result) if field.default is not dataclasses.MISSING}


def read_results(path: Path) -> list[Result]:
    """All rows of a results file, its columns in any order, also as a spreadsheet saves it.

    Such a file may begin with a byte order mark, end its lines with CRLF, and have semicolons for commas and then
    decimal commas.

    Raises:
      UserError: no such file, other columns, or an invalid value; file, line and column are named.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
        first = text.partition("\n")[0]
        separator = max(",;\t", key=first.count)
        lines = list(csv.reader(io.StringIO(text, newline=""), delimiter=separator))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"results file {path} cannot be read ({error}): give a CSV of launch.evaluate") from None
    columns = [_RENAMED.get(name.strip(), name.strip()) for name in lines[0]] if lines else []
    if problem := _problem(columns):
        raise UserError(f"results file {path} has other columns than launch.evaluate writes: {problem}")
    return [
        _parse(columns, line, f"results file {path}, line {number}", decimal_comma=separator != ",")
        for number, line in enumerate(lines[1:], 2)
        if line
    ]


def merge_results(paths: Sequence[Path]) -> list[Result]:
    """The rows of several files, in order; a row that several files have appears once.

    Raises:
      UserError: as `read_results`, or rows of one run, task, metric and M_inf whose outcomes differ.
    """
    seen: dict[tuple[Any, ...], tuple[Result, str]] = {}
    placed = [(f"{path}, line {n}", row) for path in paths for n, row in enumerate(read_results(path), start=2)]
    for key, (where, result) in zip(_keys([row for _, row in placed]), placed, strict=True):
        first, first_where = seen.setdefault(key, (result, where))
        first, result = _completed(first, result), _completed(result, first)
        seen[key] = first, first_where
        if repr(first) != repr(result):  # as text: nan is like nan
            raise UserError(
                f"{first_where}, and {where}, are two runs with one fingerprint and different content "
                f"({result.checkpoint}, {result.task}, {result.metric}): remove the row that is wrong"
            )
    return [result for result, _ in seen.values()]


def write_results(path: Path, results: Iterable[Result]) -> None:
    """Replace the file, atomically, by one with these rows."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(_cells(result) for result in results)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, text.getvalue())


def add_results(path: Path, results: Sequence[Result]) -> None:
    """Add rows to a file, or make it; rows of the same run, task, metric and M_inf are replaced where they stand.

    Raises:
      UserError: as `read_results`; the file is as it was then.
    """
    rows = [*(read_results(path) if path.exists() else []), *results]
    write_results(path, dict(zip(_keys(rows), rows, strict=True)).values())


def _keys(rows: Sequence[Result]) -> list[tuple[Any, ...]]:
    """A key that identifies each row; a row without settings gets those of the one row that is otherwise like it."""
    known: dict[tuple[Any, ...], set[str]] = {}
    for row in rows:
        known.setdefault(row.key(), set()).update({row.settings} - {""})
    alone = {key: next(iter(settings)) for key, settings in known.items() if len(settings) == 1}
    return [(*row.key(), row.settings or alone.get(row.key(), "")) for row in rows]


def settings_of(row: Result) -> dict[str, Any]:
    """The row's settings that are not at their default, by dotted name."""
    settings: dict[str, Any] = json.loads(row.settings or "{}")
    return settings


def _cells(result: Result) -> list[Any]:
    cells = dataclasses.asdict(result)
    unknown = [name for name in _UNKNOWN if cells[name] is None or math.isnan(cells[name])]
    return list((cells | dict.fromkeys(unknown, "")).values())


def _completed(row: Result, other: Result) -> Result:
    """The row, with the values that only the other version of it has."""
    values: dict[str, Any] = {name: getattr(row, name) or getattr(other, name) for name in _SINCE}
    return dataclasses.replace(row, **values)


def _problem(columns: list[str]) -> str:
    """What is wrong with a file's columns; "" if nothing."""
    if not columns:
        return "it is empty; delete it or give another --out"
    missing = [name for name in COLUMNS if name not in columns and name not in _OPTIONAL]
    unknown = [name or "one without a name" for name in columns if name not in COLUMNS]
    twice = [name for name in dict.fromkeys(columns) if columns.count(name) > 1]
    lists = (("without", missing), ("with", unknown), ("twice", twice))
    parts = [f"{what} {', '.join(names)}" for what, names in lists if names]
    return f"{' and '.join(parts)}; give another file" if parts else ""


def _parse(columns: list[str], line: list[str], where: str, *, decimal_comma: bool) -> Result:
    if len(line) != len(columns):
        raise UserError(f"{where}, has {len(line)} fields, but there are {len(columns)} columns: restore or remove it")
    values: dict[str, Any] = {}
    for name, text in zip(columns, line, strict=True):
        kind = _TYPES[name]
        if name in _UNKNOWN and not text:
            values[name] = _UNKNOWN[name]
            continue
        try:
            number = text.replace(",", ".") if decimal_comma and kind is float else text
            values[name] = _whole(text) if kind is int else kind(number)
        except ValueError:
            wanted = "a whole number" if kind is int else "a number"
            raise UserError(f"{where}, column {name}: {text!r} is not {wanted}") from None
        if name == "settings" and not _is_json_object(text):
            raise UserError(f"{where}, column {name}: {text!r} is no JSON object: restore it, or leave it empty")
        if name in _CHOICES and text not in _CHOICES[name]:
            raise UserError(f"{where}, column {name}: {text!r} is none of {', '.join(_CHOICES[name])}")
    return Result(**values)


def _is_json_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text or "{}"), dict)
    except (ValueError, RecursionError):
        return False


def _whole(text: str) -> int:
    """A whole number, also as a spreadsheet writes it: `2E+11`."""
    try:
        return int(text)
    except ValueError:
        number = float(text.replace(",", "."))
        if not number.is_integer():
            raise
        return int(number)

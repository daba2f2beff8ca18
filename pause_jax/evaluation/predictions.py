"""The answers of one evaluation, kept batch by batch, so that an evaluation that was killed can be resumed.

NAME.jsonl.partial    a line that says which evaluation it is, then a line for each answer, as they come
NAME.jsonl            when all are there: a line for each answer, in the examples' order
NAME.about.json       what the first line of the partial file said
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from absl import logging

from pause_jax.errors import UserError
from pause_jax.system.files import write_atomically

Record = Mapping[str, Any]  # of one answer, ready for JSON; see `evaluator.evaluate`


class Predictions:
    """Answers by the examples' ids, in memory."""

    def __init__(self) -> None:
        self.records: dict[str | int, Record] = {}

    def add(self, records: Sequence[Record]) -> None:
        """Keep more answers."""
        self.records.update({record["id"]: record for record in records})

    def finish(self, ids: Sequence[str | int]) -> None:
        """Called once all answers are there; `ids` give their order."""


class PredictionFile(Predictions):
    """Answers in a file as well. Making one reads what is there and writes nothing."""

    def __init__(self, path: Path, about: Mapping[str, Any], *, code: str, writes: bool = True):
        """Read what `path`, a .jsonl file, holds of the evaluation that `about` describes.

        Args:
          code: version of the program: answers of another version are not used, but computed anew.
          writes: whether this process writes the file.

        Raises:
          UserError: the file is of another evaluation, or damaged elsewhere than at its end.
        """
        super().__init__()
        self._path, self._header, self._writes = path, {**about, "code": code}, writes
        self._partial, self._about = path.with_name(f"{path.name}.partial"), path.with_suffix(".about.json")
        self._whole = 0  # bytes of the partial file that are whole lines of this evaluation
        if self._partial.is_file():
            content = self._partial.read_bytes()
            whole = content[: content.rfind(b"\n") + 1]  # a kill can tear the last line
            lines = [_parse(line, self._partial, number) for number, line in enumerate(whole.splitlines(), start=1)]
            if lines and self._is_mine(lines[0], self._partial):
                self._whole = len(whole)
                super().add(lines[1:])
        elif path.is_file():
            header = _parse(self._about.read_bytes(), self._about, 1) if self._about.is_file() else {}
            if self._is_mine(header, path):
                content = path.read_bytes()
                super().add([_parse(line, path, number) for number, line in enumerate(content.splitlines(), start=1)])

    def add(self, records: Sequence[Record]) -> None:
        super().add(records)
        if self._writes:
            lines = ([] if self._whole else [self._header]) + list(records)
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._partial.open("r+b" if self._whole else "wb") as file:
                file.seek(self._whole)
                file.truncate()
                file.write("".join(json.dumps(line) + "\n" for line in lines).encode())
                file.flush()
                os.fsync(file.fileno())
                self._whole = file.tell()

    def finish(self, ids: Sequence[str | int]) -> None:
        if self._writes and self._partial.is_file():
            write_atomically(self._about, json.dumps(self._header, indent=1) + "\n")
            text = "".join(json.dumps(self.records[i]) + "\n" for i in ids)
            final = self._path.with_name(f"{self._path.name}.final")  # not the name of what is being collected
            write_atomically(final, text)
            final.replace(self._path)
            self._partial.unlink()

    def _is_mine(self, header: Mapping[str, Any], path: Path) -> bool:
        """Whether the answers at `path` can be used; False where only the program has changed since."""
        different = [name for name, value in self._header.items() if name != "code" and header.get(name) != value]
        is_other_code = header.get("code") != self._header["code"]
        if different == ["run"] and is_other_code:
            different = []  # another version may have told runs apart by other things
        if different:
            raise UserError(
                f"{path} holds the answers of another evaluation, which differs in {', '.join(different)}: move it "
                "away to evaluate anew"
            )
        if is_other_code:
            logging.warning(
                "%s is of another version of the program (%s): its answers are given anew", path, header["code"]
            )
            return False
        return True


def _parse(line: bytes, path: Path, number: int) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise UserError(f"{path}, line {number}, is no JSON object: remove the file to evaluate anew")
    return found

"""Which text: `config.data`."""

from __future__ import annotations

import dataclasses
import os

from pause_jax.errors import UserError


@dataclasses.dataclass(frozen=True)
class DataConfig:
    """Which text, which tokenizer, how long a row."""

    task: str = "python_stdlib"  # name in seqio.TaskRegistry; not used when `files` is given
    prepared: str = ""  # in place of `task` and `files`: a folder of launch.prepare, or several: "c4=0.9,wiki=0.1"
    files: str = ""  # glob of your own text: *.txt (a file is a document) or *.jsonl, *.json (a line is one), or .gz
    validation_files: str = ""  # glob of text to hold out; "": 5 % of `files`
    data_dir: str = ""  # where a task of files finds them (docs/tasks.md); of TensorFlow Datasets, "" is their default
    text_field: str = "text"  # the field of a JSON line that holds the document
    vocabulary: str = "byte"  # "byte", or the path of a SentencePiece model or a Hugging Face tokenizer.json
    length: int = 256  # positions in a row
    document_mask: bool = True  # attention, positions and loss stop at a document's end

    def validate(self) -> None:
        if self.length < 2:
            raise UserError(f"config.data.length is {self.length}, but a row needs at least 2 positions")
        if self.validation_files and not self.files:
            raise UserError(
                f"config.data.validation_files = {self.validation_files!r} goes with training text: set "
                "--config.data.files"
            )
        if self.prepared and self.files:
            raise UserError(
                f"config.data.prepared = {self.prepared!r} and config.data.files = {self.files!r} are both given, but "
                "a run reads one or the other: prepare the files too, and mix"
            )
        rates = [rate for _, rate in self.prepared_folders]
        if rates and abs(sum(rates) - 1) > 1e-6:
            raise UserError(
                f"config.data.prepared = {self.prepared!r}: the rates sum to {sum(rates):g}, but must sum to 1"
            )

    @property
    def prepared_folders(self) -> tuple[tuple[str, float], ...]:
        """The folders of `prepared`, each with its share of the examples.

        Raises:
          UserError: of several, one has no rate above 0.
        """
        if os.path.isdir(self.prepared):  # whose name may have an = or a comma
            return ((self.prepared, 1.0),)
        parts = [part.strip() for part in self.prepared.split(",") if part.strip()]
        folders = []
        for part in parts:
            folder, _, rate = part.rpartition("=")
            has_rate = folder and rate.replace(".", "", 1).isdecimal() and float(rate) > 0
            if has_rate and (len(parts) > 1 or float(rate) == 1 or os.path.isdir(folder)):
                folders.append((folder, float(rate)))
            elif len(parts) == 1:  # its share can only be 1: lr=0.1 is a name, also after the folder has gone
                folders.append((part, 1.0))
            else:
                raise UserError(
                    f"config.data.prepared = {self.prepared!r}: {part!r} has no rate above 0: of several folders give "
                    "each its share of the rows, such as c4=0.9,wiki=0.1"
                )
        return tuple(folders)

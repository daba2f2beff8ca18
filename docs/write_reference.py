"""Writes docs/config.md and docs/programs.md: every config field, and every program with its flags, from the code.

python -m docs.write_reference
"""

from __future__ import annotations

import itertools
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from pause_jax.command_line import command
from pause_jax.config import Config
from pause_jax.config.fields import Field, all_fields

ROOT = Path(__file__).resolve().parents[1]
CONFIG_PAGE, PROGRAMS_PAGE = ROOT / "docs" / "config.md", ROOT / "docs" / "programs.md"
_WRITTEN = "<!-- Written by `python -m docs.write_reference`: change the code, not this page. -->\n"
_OTHERS_FLAGS = ("lm_eval",)  # lm-evaluation-harness prints its own help

_CONFIG_INTRODUCTION = """
A config file returns an ml_collections `ConfigDict` with these fields, made by `pause_jax.config.default_config()`, and
each field can be changed on the command line as `--config.FIELD=VALUE`. A wrong name, type or value is refused with one
sentence before anything is written. What tells two runs apart is every field outside `run`, except `train.steps`: under
`run` are settings that change how a run is carried out and logged.
"""
_PROGRAMS_INTRODUCTION = """
In a checkout each program is `python -m launch.NAME`; after `pip install .` it is `pause-jax NAME`, from any folder.
`--help` prints what stands here. Programs that take `--config` also take every [config field](config.md) as
`--config.FIELD=VALUE`.
"""

# Section of the config → what it is about.
SECTIONS = {
    "": "Seed and start",
    "model": "the network",
    "pauses": "pauses in pretraining",
    "data": "text and tokenizer",
    "finetune": "finetuning",
    "objective": "the loss",
    "optimizer": "the optimizer",
    "train": "steps and batch",
    "run": "how the run is carried out",
}


def config_page() -> str:
    """docs/config.md: a table a section."""
    parts = ["# Config fields\n\n", _WRITTEN, _CONFIG_INTRODUCTION]
    for section, fields in itertools.groupby(all_fields(Config), lambda field: field.name.rpartition(".")[0]):
        about = SECTIONS.get(section, "")
        title = f"`{section}`: {about}" if section and about else f"`{section}`" if section else about
        rows = ["| field | type | default | meaning |", "|---|---|---|---|", *map(_row, fields)]
        parts.append(f"\n## {title}\n\n" + "\n".join(rows) + "\n")
    return "".join(parts)


def _row(field: Field) -> str:
    choices = [f"`{choice}`" for choice in field.type.split(" | ")]
    return f"| `{field.name}` | {', '.join(choices)} | `{field.default!r}` | {_cell(field.meaning)} |"


def programs_page() -> str:
    """docs/programs.md: each program's docstring and flags, as `--help` prints them."""
    parts = ["# Programs\n\n", _WRITTEN, _PROGRAMS_INTRODUCTION]
    for name in command.find_programs():
        about, _, flags = _help(name).partition("\nFlags:\n")
        rows = ["| flag | meaning |", "|---|---|", *_flag_rows(flags.partition("\nFields of a config")[0])]
        table = "\n".join(rows) + "\n" if len(rows) > 2 else "It has no flags.\n"
        if name in _OTHERS_FLAGS:
            table = "Its flags are lm-evaluation-harness's own.\n"
        parts.append(f"\n## {name}\n\n{about.strip()}\n\n{table}")
    return "".join(parts)


def _help(name: str) -> str:
    """What `python -m launch.NAME --help` prints; of a program with another's flags, its docstring."""
    if name in _OTHERS_FLAGS:
        return command.docstring(command.find_programs()[name])
    asked = [sys.executable, "-m", f"launch.{name}", "--help"]
    environment = os.environ | {"JAX_PLATFORMS": "cpu"}
    return subprocess.run(asked, cwd=ROOT, env=environment, capture_output=True, text=True, check=True).stdout  # noqa: S603


def _flag_rows(text: str) -> Iterator[str]:
    """Rows of a table, of lines `  --flag=...` and below each `      meaning`."""
    for flag, meaning in re.findall(r"^  (--\S+)\n {6}(.*)$", text, re.MULTILINE):
        yield f"| `{flag.removesuffix('=...')}` | {_cell(meaning)} |"


def _cell(text: str) -> str:
    """A text for a table of Markdown: what looks like markup there is shown as it is, but for code."""
    parts = text.split("`")
    parts[::2] = [re.sub(r"([|<>*_{])", r"\\\1", part) for part in parts[::2]]
    return "`".join(parts)


def main() -> None:
    CONFIG_PAGE.write_text(config_page(), encoding="utf-8")
    PROGRAMS_PAGE.write_text(programs_page(), encoding="utf-8")


if __name__ == "__main__":
    main()

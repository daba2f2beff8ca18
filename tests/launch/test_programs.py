"""What programs and library are to each other: programs parse flags and make a call, the library knows no flags."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.programs import ROOT

PROGRAMS = sorted(file for file in (ROOT / "launch").glob("*.py") if file.stem != "__init__")
LIBRARY = sorted((ROOT / "pause_jax").rglob("*.py"))
MOST_LINES = 75  # a docstring that is the program's --help, its flags, and one call


def imported(file: Path) -> Iterator[str]:
    """Modules that a file imports, anywhere in it."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""


@pytest.mark.parametrize("file", PROGRAMS, ids=lambda file: file.stem)
def test_a_program_is_short_and_uses_the_library_alone(file):
    text = file.read_text(encoding="utf-8")
    assert text.count("\n") <= MOST_LINES
    others = {name.partition(".")[0] for name in imported(file)} - sys.stdlib_module_names - {"pause_jax", "absl"}
    assert others <= ({"lm_eval"} if file.stem == "lm_eval" else set())
    assert ast.get_docstring(ast.parse(text)), "its docstring is its --help"


def test_the_library_knows_neither_programs_nor_flags_nor_configs():
    for file in LIBRARY:
        names = set(imported(file))
        assert not {name for name in names if name.partition(".")[0] in ("launch", "experiments")}, file
        if file.parent.name != "command_line" and file.name != "__main__.py":
            assert not {name for name in names if name.startswith("pause_jax.command_line")}, file
            assert "FLAGS" not in {
                node.id for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))) if isinstance(node, ast.Name)
            }, file

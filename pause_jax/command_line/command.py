"""The command `pause-jax NAME ARGUMENTS`: the programs of launch/, from any folder, wherever the package is installed.

`pip install` puts launch/ into the package as pause_jax/launch; in a checkout it lies beside the package. What runs is
the same file as by `python -m launch.NAME` in the repository.
"""

from __future__ import annotations

import ast
import difflib
import os
import runpy
import sys
from pathlib import Path
from typing import NoReturn

from pause_jax import __version__
from pause_jax.errors import UserError
from pause_jax.system.exit_codes import EXIT_DONE, EXIT_USER_ERROR

_PACKAGE = Path(__file__).resolve().parents[1]
HELP = ("-h", "-help", "--help", "help")
VERSION = ("-version", "--version", "version")


def main() -> NoReturn:
    """Run the program that the command line names, list all of them, or tell the version; never returns."""
    name, *arguments = sys.argv[1:] or HELP[:1]
    if name in VERSION:
        print(f"pause_jax {__version__}")
        sys.exit(EXIT_DONE)
    try:
        programs = find_programs()
        if name in HELP:
            print(listing(programs))
            sys.exit(EXIT_DONE)
        if name not in programs:
            raise UserError(_unknown(name, list(programs)))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(EXIT_USER_ERROR)
    if os.getcwd() not in sys.path:  # as `python -m` has it: a config may import what lies beside it
        sys.path.insert(0, os.getcwd())
    sys.argv = [str(programs[name]), *arguments]
    runpy.run_path(sys.argv[0], run_name="__main__")
    sys.exit(EXIT_DONE)


def find_programs() -> dict[str, Path]:
    """Name → file of each program. Raises UserError where the package has no programs beside it."""
    for folder in (_PACKAGE / "launch", _PACKAGE.parent / "launch"):
        files = sorted(file for file in folder.glob("*.py") if not file.name.startswith("_"))
        if files:
            return {file.stem: file for file in files}
    raise UserError(f"there are no programs beside {_PACKAGE}: install the package with pip, or use a whole checkout")


def listing(programs: dict[str, Path]) -> str:
    """The usage, and a line for each program: the first of its docstring."""
    width = max(map(len, programs))
    lines = [f"  {name:{width}}  {docstring(file).partition('\n')[0]}" for name, file in programs.items()]
    usage = "usage: pause-jax NAME --FLAG=VALUE ...; pause-jax NAME --help tells what each is for; --version"
    return "\n".join([usage, "", *lines])


def docstring(file: Path) -> str:
    """What a program says of itself, without running it."""
    return ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""


def _unknown(name: str, known: list[str]) -> str:
    (nearest,) = difflib.get_close_matches(name, known, n=1, cutoff=0.0)
    return f"pause-jax {name}: there is no such program: did you mean {nearest}? (pause-jax --help lists all)"

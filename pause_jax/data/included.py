"""Tasks and corpora of the user's own: Python files that register them, run once before a task is looked up by name."""

from __future__ import annotations

import importlib.util
import os
import sys
import traceback
from pathlib import Path

from pause_jax import extras
from pause_jax.errors import UserError, beginning

# `--include` of the programs sets it; processes that they start, here or through SLURM, inherit it.
VARIABLE = "PAUSE_JAX_INCLUDE"  # paths, with os.pathsep between them


def load() -> None:
    """Run the files that were not run yet in this process, each as a module named after its path.

    Raises:
      UserError: one is not there, or raises; its line is named.
    """
    for path in filter(None, os.environ.get(VARIABLE, "").split(os.pathsep)):
        name = f"pause_jax_included_{path}"
        if name in sys.modules:
            continue
        spec = importlib.util.spec_from_file_location(name, path)
        if spec is None or spec.loader is None or not Path(path).is_file():
            raise UserError(f"--include={path} is no Python file: give one that registers tasks")
        sys.modules[name] = module = importlib.util.module_from_spec(spec)
        try:
            spec.loader.exec_module(module)
        except Exception as error:  # it is the user's code, of whatever class
            del sys.modules[name]
            if sentence := extras.missing(error):
                raise UserError(f"--include={path}: {sentence}") from error
            raised = f"{type(error).__name__}: {beginning(error)}"
            raise UserError(f"--include={path}{_line(error, path)} raised {raised}") from error


def _line(error: Exception, path: str) -> str:
    if isinstance(error, SyntaxError):
        return f", line {error.lineno},"
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == path]
    return f", line {lines[-1]}," if lines else ""

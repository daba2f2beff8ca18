"""Importing the library changes nothing in the process: what programs set is set by calls (system/process.py)."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from tests.programs import ROOT

# Lists all modules of ours, and those of others that they import, in the order of their imports.
LIST = """
import importlib, json, pkgutil, sys
import pause_jax

ours = ["pause_jax", *(module.name for module in pkgutil.walk_packages(pause_jax.__path__, "pause_jax."))]
ours = [name for name in ours if not name.endswith("__main__")]
for name in ours:
    try:
        importlib.import_module(name)
    except ImportError as error:  # of what is not installed everywhere: Apache Beam
        assert not (error.name or "").startswith("pause_jax"), error
print(json.dumps([ours, [name for name in sys.modules if not name.startswith("pause_jax")]]))
"""

# Imports those of others, then each of ours; tells which of ours changed what.
WATCH = """
import atexit, contextlib, ctypes, importlib, json, logging, os, signal, sys, threading, warnings

called = []  # of C functions, by their names: malloc's settings cannot be read
found = ctypes.CDLL.__getattr__
ctypes.CDLL.__getattr__ = lambda self, name: called.append(name) or found(self, name)

def state():
    names = ["", *logging.root.manager.loggerDict]
    return {
        "sys.meta_path": [id(finder) for finder in sys.meta_path],
        "sys.path_hooks": list(map(id, sys.path_hooks)),
        "sys.path": list(sys.path),
        "os.environ": dict(os.environ),
        "signals": {int(number): id(signal.getsignal(number)) for number in signal.valid_signals()},
        "warnings": [repr(entry) for entry in warnings.filters],
        "logging": {name: [id(handler) for handler in logging.getLogger(name).handlers] for name in names},
        "levels": {name: logging.getLogger(name).level for name in names if not name.startswith("pause_jax")},
        "atexit": atexit._ncallbacks(),
        "excepthook": id(sys.excepthook),
        "streams": [id(sys.stdout), id(sys.stderr), sys.stdout.errors, sys.stderr.errors],
        "threads": len(threading.enumerate()),
        "C functions": len([name for name in called if name in ("mallopt", "signal", "prctl")]),
    }

def changed(name, do):
    before = state()
    do()
    after = state()
    return [[name, what] for what in before if before[what] != after[what]]

ours, others = json.load(sys.stdin)
for name in others:
    with contextlib.suppress(Exception):
        importlib.import_module(name)

def import_(name):
    with contextlib.suppress(ImportError):
        importlib.import_module(name)

problems = [problem for name in ours for problem in changed(name, lambda: import_(name))]
from pause_jax.system import process
print(json.dumps([problems, changed("program", process.prepare_process)]))
"""


@pytest.mark.slow
def test_no_module_changes_anything_when_it_is_imported():
    """Each is imported where those of others are already there: what TensorFlow, SeqIO or JAX set is theirs."""

    few = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME")}  # what is set is not seen

    def run(code: str, given: str = "") -> str:
        command = [sys.executable, "-c", code]
        done = subprocess.run(command, cwd=ROOT, env=few, input=given, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()[-1]

    found = run(LIST)
    ours, _ = json.loads(found)
    assert len(ours) > 150 and "pause_jax.system.forkserver_main" in ours
    problems, of_program = json.loads(run(WATCH, found))
    assert problems == []
    assert {what for _, what in of_program} >= {"sys.meta_path", "os.environ", "streams"}  # so that changes are seen

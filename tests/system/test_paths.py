"""Paths as people write them, homes and locales that are not there, and files that are UTF-8 whatever the locale."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pause_jax.errors import UserError
from pause_jax.system import paths
from tests.programs import ROOT

NO_HOME = """
import os, pwd, runpy, sys
os.environ.pop("HOME", None)
def none(uid):
    raise KeyError(f"getpwuid(): uid not found: {uid}")
pwd.getpwuid = none
sys.path.insert(0, os.getcwd())
sys.argv = [sys.argv[1].replace(".", "/") + ".py", *sys.argv[2:]]
runpy.run_module(sys.argv[0].removesuffix(".py").replace("/", "."), run_name="__main__", alter_sys=True)
"""


def test_home_is_expanded_and_what_is_none_is_told(monkeypatch):
    monkeypatch.setenv("HOME", "/home/ada")
    assert paths.expand("~/runs/x", "--out") == "/home/ada/runs/x"
    assert paths.expand("runs/~x", "--out") == "runs/~x"
    with pytest.raises(UserError, match=r"^--out=~no-such-user/x begins with ~no-such-user, but no such home"):
        paths.expand("~no-such-user/x", "--out")
    with pytest.raises(UserError, match=r"^--out=gs://b/x is an address, .*mount the bucket"):
        paths.expand_local("gs://b/x", "--out")


@pytest.mark.parametrize(
    ("module", "flag"),
    [
        ("train", "workdir"),
        ("prepare", "out"),
        ("report", "out"),
        ("report", "results"),
        ("evaluate", "run"),
        ("evaluate", "out"),
        ("convert", "from_hf"),
        ("convert", "to_hf"),
        ("generate", "run"),
        ("diagnose", "out"),
        ("sweep", "workdir"),
        ("status", "workdir"),
        ("compile", "out"),
    ],
)
def test_every_path_flag_knows_addresses_and_homes(module, flag):
    """No program makes a folder ~ or gs: where it was started."""
    definitions = (ROOT / "launch" / f"{module}.py").read_text() + (ROOT / "pause_jax/command_line/cli.py").read_text()
    calls = [node for node in ast.walk(ast.parse(definitions)) if isinstance(node, ast.Call) and node.args]
    names = {
        ast.unparse(node.func).removeprefix("cli."): node.args[0]
        for node in calls
        if isinstance(node.args[0], ast.Constant) and node.args[0].value == flag
    }
    assert set(names) & {"path_flag", "path_list_flag"} and not set(names) & {
        "flags.DEFINE_string",
        "flags.DEFINE_list",
    }


def test_config_paths_at_home(monkeypatch):
    from pause_jax.config import default_config, from_config_dict, user_paths

    monkeypatch.setenv("HOME", "/home/ada")
    config = default_config()
    config.data.vocabulary, config.data.prepared = "~/t.model", "~/a=0.5,/b=0.5"
    config.data.data_dir, config.init_from = "~/data", "~/runs/x"
    config = user_paths.expand(from_config_dict(config))
    assert (config.data.vocabulary, config.data.data_dir) == ("/home/ada/t.model", "/home/ada/data")
    assert (config.data.prepared, config.init_from) == ("/home/ada/a=0.5,/b=0.5", "/home/ada/runs/x")


def test_caches_have_a_place_or_none(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "new" / "caches"))
    assert paths.cache_folder() == tmp_path / "new" / "caches" / "pause_jax"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(Path, "home", lambda: Path("/proc/none"))
    monkeypatch.setattr(os, "access", lambda path, mode: not str(path).startswith("/proc"))
    assert paths.cache_folder() is None


@pytest.mark.parametrize("module", ["train", "report", "evaluate", "convert", "sweep", "prepare"])
def test_programs_start_without_a_home(tmp_path, module):
    done = subprocess.run(
        [sys.executable, "-c", NO_HOME, f"launch.{module}", "--help"], cwd=ROOT, text=True, capture_output=True
    )
    assert done.returncode == 0 and "Flags:" in done.stdout, done.stderr
    missing = subprocess.run(
        [sys.executable, "-c", NO_HOME, f"launch.{module}", "--workdir=~/x", "--out=~/x"],
        cwd=ROOT,
        text=True,
        capture_output=True,
    )
    assert missing.returncode == 2 and missing.stderr.startswith("error: ") and len(missing.stderr.splitlines()) == 1


def test_without_a_home_nothing_is_made_where_a_program_was_started(tmp_path):
    """TensorFlow's Keras makes ~/.keras as it is imported, whatever ~ is."""
    arguments = [f"--config={ROOT}/experiments/quickstart.py:pause", "--show=1"]
    done = subprocess.run(
        [sys.executable, "-c", NO_HOME, "launch.prepare", *arguments],
        cwd=tmp_path,
        text=True,
        capture_output=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.iterdir()) == []


def test_files_name_their_encoding():
    """Else they are written and read as the locale has it, which a cluster's nodes need not share."""
    missing = []
    for folder in ("pause_jax", "launch", "experiments", "benchmarks", "docs"):
        for file in sorted((ROOT / folder).rglob("*.py")):
            for node in ast.walk(ast.parse(file.read_text())):
                if isinstance(node, ast.Call) and _is_text(node) and "encoding" not in {k.arg for k in node.keywords}:
                    missing.append(f"{file.relative_to(ROOT)}:{node.lineno}")
    assert not missing


def _is_text(call: ast.Call) -> bool:
    """Whether it opens, reads or writes a file as text."""
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    if name in ("read_text", "write_text"):
        return not ast.unparse(call.func).startswith(("metadata.", "importlib."))
    given = [*call.args, *(keyword.value for keyword in call.keywords if keyword.arg == "mode")]
    texts = [node.value for node in given if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    modes = [text for text in texts if set(text) <= set("rwaxbt+")]
    if name == "open" and isinstance(call.func, ast.Name):
        return not modes or "b" not in modes[-1]
    return name == "open" and bool(modes) and "b" not in modes[-1]


@pytest.mark.parametrize("locale", [{"LC_ALL": "C"}, {"LC_ALL": "POSIX"}])
def test_an_ascii_locale_prints_and_writes(tmp_path, locale):
    environment = os.environ | {"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"} | locale
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "launch.report",
            f"--results={ROOT}/docs/results/question_last.csv",
            f"--out={tmp_path}/é",
        ],
        cwd=ROOT,
        env=environment,
        capture_output=True,
    )
    assert done.returncode == 0, done.stderr
    (folder,) = tmp_path.iterdir()
    assert not (folder / "report.html").read_text(encoding="utf-8").isascii()

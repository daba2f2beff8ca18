"""Without extras: what the core's declared packages are enough for, and the sentence on each that is missing."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from pause_jax import extras
from pause_jax.errors import UserError
from tests.programs import ROOT, assert_one_sentence

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
CORE = [Requirement(text) for text in PROJECT["dependencies"]]
OPTIONAL = {extra: [Requirement(text) for text in texts] for extra, texts in PROJECT["optional-dependencies"].items()}
# Imported where the user asks for them alone, with sentences of their own.
OTHERS = {"apache_beam", "lm_eval"}
SMALL = "--config=experiments/quickstart.py:pause"


@pytest.fixture(scope="module")
def core(tmp_path_factory) -> Path:
    """A folder of links to the installed packages that pyproject.toml's dependencies need, and to no others."""
    folder = tmp_path_factory.mktemp("core")
    wanted, seen = list(CORE), set()
    while wanted:
        requirement = wanted.pop()
        asked = requirement.extras or {""}
        if requirement.marker and not any(requirement.marker.evaluate({"extra": extra}) for extra in asked):
            continue
        key = (canonicalize_name(requirement.name), frozenset(asked))
        if key in seen:
            continue
        seen.add(key)
        distribution = metadata.distribution(requirement.name)
        for name in {Path(str(file)).parts[0] for file in distribution.files or ()} - {"..", "__pycache__"}:
            if not (folder / name).exists():
                (folder / name).symlink_to(distribution.locate_file(name))
        for text in distribution.requires or ():
            needed = Requirement(text)
            if not needed.marker or any(needed.marker.evaluate({"extra": extra}) for extra in asked):
                wanted.append(needed)
    return folder


def run(core: Path, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Python without site-packages; our checkout and the core's packages are all that it can import."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(core)])}
    command = [sys.executable, "-S", *arguments]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True)


def test_the_network_and_all_programs_can_be_imported(core, tmp_path):
    names = sorted(file.stem for file in (ROOT / "launch").glob("*.py") if not file.stem.startswith("_"))
    code = f"import importlib.util, pause_jax.network\nfrom launch import {', '.join(names)}\n"
    code += f"print([name for name in {list(extras.EXTRAS)} if importlib.util.find_spec(name)])"
    done = run(core, "-c", code, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "['yaml']\n"  # Flax wants it


@pytest.mark.parametrize("arguments", [("describe", SMALL), ("compile", "--help"), ("train", "--help")])
def test_programs_that_read_no_text_work(core, tmp_path, arguments):
    done = run(core, "-m", "pause_jax", *arguments, cwd=tmp_path)
    assert done.returncode == 0 and done.stdout, done.stderr


@pytest.mark.parametrize(
    ("arguments", "extra"),
    [
        (("train", SMALL, "--workdir=new"), "data"),
        *(
            pytest.param(arguments, extra, marks=pytest.mark.slow)
            for arguments, extra in [
                (("train", SMALL, "--workdir=new", "--config.finetune.task=recall_2"), "data"),
                (("sweep", "--config=experiments/sweeps/two_by_two.py", "--workdir=new"), "data"),
                (("prepare", SMALL, "--show=1"), "data"),
                (("prepare", SMALL, "--out=new"), "data"),
                (("evaluate", "--run=old", "--tasks=recall_2", "--m_inf=0", "--out=new.csv"), "data"),
                (("diagnose", "--run=old", "--task=recall_2", "--m_inf=1", "--out=new"), "report"),
                (("report", f"--results={ROOT}/docs/results/controls.csv", "--out=new"), "report"),
            ]
        ),
    ],
)
def test_others_say_what_to_install_and_write_nothing(core, tmp_path, arguments, extra):
    done = run(core, "-m", "pause_jax", *arguments, cwd=tmp_path)
    done.stderr = "".join(line for line in done.stderr.splitlines(True) if "not in this folder" not in line)
    assert_one_sentence(done, rf" needs \w+, which is not installed: pip install 'pause_jax\[{extra}\]'$")
    assert not list(tmp_path.iterdir())


def test_errors_of_other_packages_stay_as_they_are():
    assert extras.missing(ModuleNotFoundError("no", name="seqio")) == (
        "reading text and tasks needs seqio, which is not installed: pip install 'pause_jax[data]'"
    )
    assert extras.missing(ModuleNotFoundError("no", name="matplotlib.pyplot")) is not None
    for error in (ModuleNotFoundError("no", name="pause_jax.seqio"), ModuleNotFoundError("no"), ImportError("seqio")):
        assert extras.missing(error) is None


def test_what_is_asked_for_beforehand(monkeypatch):
    extras.require("data", "report", "tasks", "interop", "slurm", "gke")
    monkeypatch.setitem(extras.EXTRAS, "no_such_module", "report")
    extras.require("data")
    with pytest.raises(UserError, match=r"drawing a report needs no_such_module, .*pause_jax\[report\]"):
        extras.require("data", "report")


def imported() -> dict[str, str]:
    """Each package of others' that the code imports, and a file that does."""
    found: dict[str, str] = {}
    for file in sorted(file for root in ("pause_jax", "launch", "experiments") for file in (ROOT / root).rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
            found |= {name.partition(".")[0]: str(file) for name in names}
    ours = {*sys.stdlib_module_names, "pause_jax", "launch", "experiments"}
    return {name: file for name, file in found.items() if name not in ours}


def test_every_package_that_is_imported_is_declared():
    """A module of the core, or of the extra that the sentence names."""
    of_module = metadata.packages_distributions()
    core = {canonicalize_name(requirement.name) for requirement in CORE}
    for name, file in imported().items():
        if name in OTHERS or name == "google":  # protobuf, beside SentencePiece
            continue
        declared = {canonicalize_name(r.name) for r in OPTIONAL[extras.EXTRAS[name]]} if name in extras.EXTRAS else core
        assert declared & set(map(canonicalize_name, of_module[name])), f"{file} imports {name}"
    assert set(extras.EXTRAS.values()) == set(extras.PURPOSES) == set(OPTIONAL) - {"gpu", "tpu", "all"}


def test_the_versions_that_are_tested_are_within_those_that_are_declared():
    """requirements.txt pins each package of the core and of the extras, and none that they do not want."""
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    pins = [Requirement(line.partition("#")[0]) for line in lines if line.partition("#")[0].strip()]
    pinned = {canonicalize_name(pin.name): next(iter(pin.specifier)).version for pin in pins}
    declared = [*CORE, *(r for extra, rs in OPTIONAL.items() if extra not in ("gcs", "gpu", "tpu") for r in rs)]
    for requirement in declared:
        if requirement.name != PROJECT["name"]:
            name = canonicalize_name(requirement.name)
            assert requirement.specifier.contains(pinned[name]), requirement
    assert set(pinned) - {canonicalize_name(r.name) for r in declared} == {"jaxlib"}  # of jax's version

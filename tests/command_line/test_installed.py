"""Configs of experiments/ from folders that have none: found by path, imported by each other, told in one line."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

from pause_jax.command_line import installed
from tests.programs import ROOT, assert_one_sentence, program


@pytest.fixture
def package(tmp_path, monkeypatch) -> Path:
    """The folder that stands in for pause_jax/installed; the working directory is another, and first in sys.path."""
    package, user = tmp_path / "pause_jax", tmp_path / "user"
    for name in ("__init__", "one"):
        file = package / "installed" / "experiments" / f"{name}.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    user.mkdir()
    monkeypatch.setattr(installed, "_PACKAGE", package)
    monkeypatch.chdir(user)
    monkeypatch.setattr(sys, "path", [str(user), *(path for path in sys.path if path not in (str(ROOT), "", "."))])
    for name in [name for name in sys.modules if name.partition(".")[0] == "experiments"]:
        monkeypatch.delitem(sys.modules, name)
    return package / "installed"


def test_a_file_is_ours_where_the_working_directory_has_none(package):
    assert installed.find("experiments/one.py") == package / "experiments" / "one.py"
    for path in ("experiments/two.py", "experiments", "one.py", "experiments/../experiments/one.py", str(package)):
        assert installed.find(path) is None, path
    Path("experiments").mkdir()
    assert installed.find("experiments/one.py") == package / "experiments" / "one.py"
    Path("experiments/one.py").touch()
    assert installed.find("experiments/one.py") is None


def origin() -> Path:
    importlib.invalidate_caches()
    found = importlib.util.find_spec("experiments")
    assert found is not None and found.origin is not None
    return Path(found.origin).parent


@pytest.mark.parametrize("folder_there", [False, True])
def test_experiments_can_be_imported_where_no_other_package_has_the_name(package, folder_there):
    if folder_there:  # without __init__.py it is no more than a folder
        Path("experiments").mkdir()
    installed.make_importable()
    assert origin() == package / "experiments" and sys.path[-1] == str(package)
    before = list(sys.path)
    installed.make_importable(ours=True)
    assert sys.path == before


def test_a_package_of_the_users_stays_theirs_but_for_configs_of_ours(package):
    Path("experiments").mkdir()
    Path("experiments/__init__.py").touch()
    installed.make_importable()
    assert origin() == Path.cwd() / "experiments" and str(package) not in sys.path
    installed.make_importable(ours=True)
    assert origin() == package / "experiments"


def test_a_package_without_them_changes_nothing(package):
    (package / "experiments" / "__init__.py").unlink()
    before = list(sys.path)
    installed.make_importable(ours=True)
    assert sys.path == before and installed.find("experiments/one.py") is None


@pytest.mark.parametrize("form", ["--config={}", "--config {}", "-config={}"])
def test_programs_take_it_and_say_so(tmp_path, form):
    given = form.format("experiments/sweeps/two_by_two.py:1").split()
    done = program("sweep", *given, "--workdir=runs/new", "--dry_run", cwd=tmp_path)
    assert done.returncode == 0 and not list(tmp_path.iterdir())
    file = ROOT / "experiments/sweeps/two_by_two.py"
    told = f"experiments/sweeps/two_by_two.py is not in this folder: taking the one that came with pause_jax, {file}\n"
    assert done.stderr == told


def test_a_name_that_is_nearly_right_is_told_from_any_folder(tmp_path):
    done = program("describe", "--config=experiments/quikstart.py:pause", cwd=tmp_path)
    assert_one_sentence(done, "there is no such file: did you mean experiments/quickstart.py")

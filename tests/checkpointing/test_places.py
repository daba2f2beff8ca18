"""Where a run's things lie: what is recorded, and what is found again from elsewhere."""

import dataclasses
import os

import pytest

from pause_jax.checkpointing import places
from pause_jax.config import Config, DataConfig


def config(**data):
    init_from = data.pop("init_from", "")
    return dataclasses.replace(Config(), init_from=init_from, data=DataConfig(**data))


def recorded(folder, **data):
    return {k: v for k, v in places.recorded(config(**data), folder).items() if v}


def found(folder, **data):
    return {k: v for k, v in places.found(config(**data), folder).items() if v}


@pytest.fixture
def work(tmp_path, monkeypatch):
    """A folder with runs `runs/a` and `runs/b` and prepared text, in which this process works."""
    for name in ("runs/a", "runs/b", "prepared/c4", "prepared/wiki"):
        (tmp_path / "work" / name).mkdir(parents=True)
    for name in ("a", "b"):
        (tmp_path / "work/runs" / name / "config.json").touch()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "work"


def test_what_lies_beside_the_run_is_recorded_from_it_on_and_all_else_from_the_root(work):
    folder = work / "runs/b"
    assert recorded(folder, init_from="runs/a") == {"init_from": "../a"}
    assert recorded(folder, init_from=f"{work}/runs/a/checkpoints/3") == {"init_from": "../a/checkpoints/3"}
    assert recorded(folder, prepared="prepared/c4") == {"data.prepared": f"{work}/prepared/c4"}
    both = recorded(folder, prepared="prepared/c4=0.9,prepared/wiki=0.1")
    assert both == {"data.prepared": f"{work}/prepared/c4=0.9,{work}/prepared/wiki=0.1"}
    assert recorded(folder, files="texts/*.txt") == {"data.files": f"{work}/texts/*.txt"}
    assert recorded(folder, data_dir="gs://bucket/data") == {"data.data_dir": "gs://bucket/data"}
    assert recorded(folder, data_dir="~/data") == {"data.data_dir": os.path.expanduser("~/data")}


def test_a_folder_that_would_be_read_as_something_else_is_recorded_as_given(work, monkeypatch):
    odd = work / "a[1],b"
    odd.mkdir()
    monkeypatch.chdir(odd)
    assert recorded(odd / "run", files="*.txt") == {"data.files": "*.txt"}
    assert recorded(odd / "run", prepared="c4") == {"data.prepared": "c4"}


def test_found_again_after_a_move_from_another_working_directory(work, tmp_path, monkeypatch):
    before = recorded(work / "runs/b", init_from="runs/a", prepared="prepared/c4")
    (work / "runs").rename(tmp_path / "moved")
    monkeypatch.chdir("/")
    after = found(tmp_path / "moved/b", init_from=before["init_from"], prepared=before["data.prepared"])
    assert after == {"init_from": f"{tmp_path}/moved/a", "data.prepared": f"{work}/prepared/c4"}


@pytest.mark.parametrize("step", ["", "/checkpoints/3"])
def test_records_of_older_code(work, tmp_path, monkeypatch, step):
    """Paths as they were given: from the working directory of that time, or from the root on."""
    monkeypatch.chdir("/")
    folder = work / "runs/b"
    assert found(folder, init_from=f"runs/a{step}") == {"init_from": f"{work}/runs/a{step}"}
    assert found(folder, prepared="prepared/c4") == {"data.prepared": f"{work}/prepared/c4"}
    (work / "runs").rename(tmp_path / "moved")
    assert found(tmp_path / "moved/b", init_from=f"{folder.parent}/a{step}") == {
        "init_from": f"{tmp_path}/moved/a{step}"
    }
    assert found(tmp_path / "moved/b", init_from="gone/a2") == {"init_from": "gone/a2"}  # as the record says


def test_names():
    assert places.name("/x/runs/a/") == "a" and places.name("/x/a/checkpoints/30") == "a/checkpoints/30"
    assert places.same("", "") and not places.same("", "a") and places.same("a/", "./a")

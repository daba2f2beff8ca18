"""Loggers that config.run.loggers names; trackers stand in as modules that note their calls."""

import importlib.util
import sys
import types

import pytest

from pause_jax.config import Config, RunConfig, from_config_dict, from_recorded, to_dict
from pause_jax.errors import UserError
from pause_jax.logging import loggers
from pause_jax.logging.writers import LoggedRun, read_jsonl


class Tracker(types.ModuleType):
    """A tracker's module."""

    def __init__(self, name, breaks=""):
        super().__init__(name)
        self.calls, self._breaks = [], breaks

    def Settings(self, **fields):
        return fields

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)

        def call(*args, **fields):
            if name == self._breaks:
                raise RuntimeError("api_key not configured (no-tty)")
            self.calls.append((name, args, fields))

        return call


@pytest.fixture
def tracker(monkeypatch):
    """name → that module, in the place of an installed package."""

    def install(name, breaks=""):
        module = Tracker(name, breaks)
        module.__spec__ = importlib.util.spec_from_loader(name, loader=None)
        monkeypatch.setitem(sys.modules, name, module)
        return module

    return install


def opened(folder, *names, resume_step=0):
    return loggers.open_loggers(names, LoggedRun(folder, "pause", resume_step, {"train.steps": 10, "m_ft": (0, 5)}))


@pytest.mark.parametrize("name", ["wandb", "trackio"])
def test_a_tracker_gets_config_and_metrics_and_a_resumed_run_goes_on_in_it(tmp_path, tracker, name):
    module = tracker(name)
    for start in (0, 10):
        _, at_flush = opened(tmp_path, "jsonl", name, resume_step=start)
        at_flush.write(start + 10, {"loss": 2.0})
        at_flush.flush()
        at_flush.close()
    assert [call for call, _, _ in module.calls] == ["init", "log", "finish"] * 2
    (_, _, first), (_, args, step), _, (_, _, second), *_ = module.calls
    assert (args, step) == (({"loss": 2.0},), {"step": 10})
    assert first == second and first["resume"] == "allow" and first["project"] == "pause_jax"
    assert first["config"] == {"train.steps": 10, "m_ft": (0, 5)}
    assert first["name"].startswith("pause") and (tmp_path / f"{name}_id").is_file()


def test_a_tracker_that_does_not_start_is_one_sentence(tmp_path, tracker):
    tracker("wandb", breaks="init")
    with pytest.raises(UserError, match=r"names 'wandb', which does not start \(.*api_key not configured.*\): log in"):
        opened(tmp_path, "wandb")


def test_a_tracker_that_fails_later_stops_nothing(tmp_path, tracker, caplog):
    tracker("wandb", breaks="log")
    _, at_flush = opened(tmp_path, "wandb")
    for step in (1, 2):
        at_flush.write(step, {"loss": 2.0})
    assert caplog.text.count("wandb takes no metrics") <= 1


def test_json_lines_are_written_whatever_is_named(tmp_path):
    every_step, at_flush = opened(tmp_path)
    every_step.write(1, {"loss": 2.0})
    at_flush.write(1, {"loss": 2.0})
    assert read_jsonl(tmp_path / "metrics.jsonl") == [{"step": 1, "loss": 2.0}]
    assert not (tmp_path / "tensorboard").exists()


def test_a_package_that_is_not_there_is_told_first(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    loggers.check_installed(("jsonl", "tensorboard"))
    with pytest.raises(UserError, match=r"names 'trackio', whose package is not installed: pip install trackio"):
        loggers.check_installed(("jsonl", "trackio"))


def test_names_are_checked_and_separated_by_commas():
    values = to_dict(Config())
    values["run"]["loggers"] = "jsonl,wandb"
    assert from_config_dict(values).run.loggers == ("jsonl", "wandb")
    with pytest.raises(UserError, match=r"config\.run\.loggers names 'tensorbored', but has a choice of 'jsonl', "):
        RunConfig(loggers=("tensorbored",)).validate()


@pytest.mark.parametrize(("recorded", "names"), [(True, ("jsonl", "tensorboard")), (False, ("jsonl",))])
def test_records_from_before_there_were_names_are_read(recorded, names):
    values = to_dict(Config())
    del values["run"]["loggers"]
    values["run"]["tensorboard"] = recorded
    assert from_recorded(values).run.loggers == names

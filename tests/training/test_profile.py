"""Traces of steps: what is written, and that the run is the same with them, or where none can be written."""

from __future__ import annotations

import gzip
import json

import jax
import numpy as np
import pytest
from absl import logging

from pause_jax.config import RunConfig
from pause_jax.errors import UserError
from tests.training.test_loop import make_config, params, records, run


def traced_steps(folder):
    """Numbers of the steps named in the trace, in order; one file, or it fails."""
    (file,) = folder.profile.glob("plugins/profile/*/*.trace.json.gz")
    events = json.loads(gzip.decompress(file.read_bytes()))["traceEvents"]
    return sorted(int(e["args"]["step_num"]) for e in events if e.get("name") == "train" and "step_num" in e["args"])


def assert_same_run(one, other):
    assert records(one) == records(other)
    for path, leaf in params(one).items():
        np.testing.assert_array_equal(leaf, params(other)[path], err_msg=path)


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """A run without a trace."""
    return run(tmp_path_factory.mktemp("plain"), make_config(6))[1]


def test_the_steps_asked_for_are_in_the_trace_and_the_run_is_the_same(plain, tmp_path):
    _, traced = run(tmp_path, make_config(6, profile_steps="3:4"))
    assert traced_steps(traced) == [3, 4]
    assert list(traced.profile.glob("plugins/profile/*/*.xplane.pb"))  # TensorBoard's
    assert not plain.profile.exists()
    assert_same_run(plain, traced)


def test_a_run_that_ends_before_the_last_one_writes_what_it_has(tmp_path):
    _, folder = run(tmp_path, make_config(3, profile_steps="2:100"))
    assert traced_steps(folder) == [2, 3]
    jax.profiler.start_trace(tmp_path / "another")  # or the profiler would say that it still traces
    jax.profiler.stop_trace()


def test_a_trace_that_cannot_be_written_is_a_warning(plain, tmp_path, monkeypatch):
    def full(*_):
        raise OSError("No space left on device")

    told = []
    monkeypatch.setattr(logging, "warning", lambda text, *values: told.append(text % values))
    monkeypatch.setattr(jax.profiler, "start_trace", full)
    _, folder = run(tmp_path, make_config(6, profile_steps="3:4"))
    assert_same_run(plain, folder)
    assert told == [f"no trace is written to {folder.profile}: No space left on device"]


@pytest.mark.parametrize("value", ["3", "3:", ":4", "0:2", "4:3", "-1:2", "a:b", "1:2:3", "1.5:2"])
def test_what_is_not_two_steps_in_order_is_one_sentence(value):
    with pytest.raises(UserError, match=rf"config\.run\.profile_steps = '{value}' is not FIRST:LAST: give .* 10:13$"):
        RunConfig(profile_steps=value).validate()


def test_both_ends_are_traced():
    assert list(RunConfig(profile_steps="10:13").profiled_steps) == [10, 11, 12, 13]
    assert list(RunConfig().profiled_steps) == []

"""Metric files: exactly one record a step after any kill, valid JSON always, and a full disk stops nothing."""

from __future__ import annotations

import contextlib
import json
import math
import resource
import sys
import types

import numpy as np
import pytest

from pause_jax.errors import UserError
from pause_jax.logging import writers
from pause_jax.logging.writers import JsonLinesWriter, NullWriter, TensorBoardWriter, Writers, read_jsonl


def write(path, steps, resume_step=0):
    writer = JsonLinesWriter(path, resume_step)
    for step in steps:
        writer.write(step, {"loss": 1 / step, "text_tokens": 10 * step})
    writer.close()


@contextlib.contextmanager
def disk_with_room_for(size):
    """While entered, no file of this process can grow beyond `size` bytes; writing more raises OSError."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.fixture
def warnings(monkeypatch):
    texts = []
    monkeypatch.setattr(writers.logging, "warning", lambda text, *values: texts.append(text % values))
    return texts


def test_a_record_a_line_with_the_step_first(tmp_path):
    path = tmp_path / "new" / "metrics.jsonl"
    JsonLinesWriter(path, 0).write(3, {"loss": np.float32(0.5), "text_tokens": 200_000_000_001})
    assert path.read_text() == '{"step": 3, "loss": 0.5, "text_tokens": 200000000001}\n'  # flushed: nothing was closed


def test_what_is_not_finite_stays_valid_json_and_is_read_as_nan(tmp_path):
    writer = JsonLinesWriter(tmp_path / "m", 0)
    writer.write(1, {"a": math.nan, "b": math.inf, "c": -math.inf, "d": np.float32("nan")})
    strict = json.loads((tmp_path / "m").read_text(), parse_constant=pytest.fail)  # NaN is no JSON, Python reads it
    assert strict == {"step": 1, "a": None, "b": None, "c": None, "d": None}
    (record,) = read_jsonl(tmp_path / "m")
    assert all(math.isnan(record[name]) for name in "abcd")


def test_after_a_kill_at_any_byte_the_resumed_file_is_the_undisturbed_one(tmp_path):
    path = tmp_path / "metrics.jsonl"
    write(path, range(1, 6))
    whole = path.read_bytes()
    for size in range(len(whole) + 1):
        complete = whole[:size].count(b"\n")
        for resume_step in range(complete + 1):
            path.write_bytes(whole[:size])
            write(path, range(resume_step + 1, 6), resume_step)
            assert path.read_bytes() == whole, (size, resume_step)


def test_resuming_between_records_and_over_damaged_ones(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"step": 10}\n{"step": 20}\n\0\0\0\n7\n{"step": 30}\n{"st')
    JsonLinesWriter(path, 25).close()
    assert path.read_bytes() == b'{"step": 10}\n{"step": 20}\n'


def test_a_full_disk_is_warned_about_once_and_loses_nothing_that_fits_the_buffer(tmp_path, warnings):
    path = tmp_path / "metrics.jsonl"
    writer = JsonLinesWriter(path, 0)
    writer.write(1, {"loss": 1.0})
    with disk_with_room_for(path.stat().st_size + 7):
        writer.write(2, {"loss": 2.0})
        writer.write(3, {"loss": 3.0})
        assert path.read_bytes().endswith(b'\n{"step"')  # torn for now
    writer.write(4, {"loss": 4.0})
    writer.close()
    assert [record["step"] for record in read_jsonl(path)] == [1, 2, 3, 4]
    assert len(warnings) == 1
    assert "metrics.jsonl" in warnings[0]


def test_closing_on_a_full_disk_does_not_raise(tmp_path, warnings):
    writer = JsonLinesWriter(tmp_path / "m", 0)
    with disk_with_room_for(0):
        writer.write(1, {"loss": 2.0})
        writer.close()
    assert len(warnings) == 1


@pytest.mark.parametrize(("text", "line"), [('{"step": 1}\n{"st\n{"step": 3}\n', 2), ('[1]\n{"step": 3}\n', 1)])
def test_a_broken_line_is_named(tmp_path, text, line):
    (tmp_path / "m.jsonl").write_text(text)
    with pytest.raises(UserError, match=rf"m\.jsonl, line {line}, is no JSON object"):
        read_jsonl(tmp_path / "m.jsonl")


def test_a_torn_last_line_is_left_out(tmp_path):
    (tmp_path / "m.jsonl").write_text('{"step": 1}\n{"st')
    assert read_jsonl(tmp_path / "m.jsonl") == [{"step": 1}]


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match=r"m\.jsonl does not exist"):
        read_jsonl(tmp_path / "m.jsonl")


def test_writers_pass_everything_on(tmp_path):
    both = Writers([JsonLinesWriter(tmp_path / "a", 0), NullWriter(), JsonLinesWriter(tmp_path / "b", 0)])
    both.write(1, {"loss": 2.0})
    both.flush()
    both.close()
    assert read_jsonl(tmp_path / "a") == read_jsonl(tmp_path / "b") == [{"step": 1, "loss": 2.0}]


@pytest.fixture
def read_tensorboard(monkeypatch):
    """What TensorBoard itself would show: folder → tag → (step, value)s."""
    monkeypatch.setitem(sys.modules, "tensorboard.compat.notf", types.ModuleType("notf"))  # else it loads TensorFlow
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    def read(folder):
        events = EventAccumulator(str(folder))
        events.Reload()
        return {tag: [(e.step, e.value) for e in events.Scalars(tag)] for tag in events.Tags()["scalars"]}

    return read


def test_tensorboard_hides_what_is_written_anew(tmp_path, read_tensorboard):
    for resume_step, steps, loss in [(0, range(1, 6), 1.0), (3, range(4, 7), 2.0)]:
        writer = TensorBoardWriter(tmp_path, resume_step)  # twice within a second: two files
        for step in steps:
            writer.write(step, {"loss": loss, "validation/loss": 3.0})
        writer.close()
    shown = read_tensorboard(tmp_path)
    assert shown["loss"] == [(1, 1.0), (2, 1.0), (3, 1.0), (4, 2.0), (5, 2.0), (6, 2.0)]
    assert [step for step, _ in shown["validation/loss"]] == [1, 2, 3, 4, 5, 6]


def test_tensorboard_gets_the_hyperparameters(tmp_path):
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
    from tensorboard.plugins.hparams import metadata

    given = {"optimizer.learning_rate": 0.003, "train.steps": 10, "data.task": "x", "m_ft": (0, 5), "tied": True}
    TensorBoardWriter(tmp_path, 0, given).close()
    (file,) = tmp_path.iterdir()
    values = [value for event in EventFileLoader(str(file)).Load() for value in event.summary.value]
    (value,) = [value for value in values if value.tag == metadata.SESSION_START_INFO_TAG]
    shown = metadata.parse_session_start_info_plugin_data(value.metadata.plugin_data.content).hparams
    assert {name: getattr(shown[name], shown[name].WhichOneof("kind")) for name in shown} == {**given, "m_ft": "(0, 5)"}


def test_tensorboard_is_given_up_when_its_disk_is_full(tmp_path, warnings, read_tensorboard):
    writer = TensorBoardWriter(tmp_path, 0)
    writer.write(1, {"loss": 1.0})
    with disk_with_room_for(10):
        writer.write(2, {"loss": 2.0})
        writer.write(3, {"loss": 3.0})
    writer.write(4, {"loss": 4.0})
    writer.close()
    assert len(warnings) == 1
    assert [step for step, _ in read_tensorboard(tmp_path)["loss"]] in ([1], [1, 2])  # 2: finished when closed

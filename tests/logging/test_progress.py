"""The progress line, with a clock that is told the time."""

from __future__ import annotations

import io
import os
import time

import pytest

from pause_jax.logging import progress
from pause_jax.logging.progress import Heartbeat, Progress, format_seconds


class Terminal(io.StringIO):
    def isatty(self):
        return True


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def run(stream, clock, updates, total=100, start=0):
    """`updates`: (seconds since the start, step)."""
    with Progress("pause", total, start, stream=stream, clock=clock) as line:
        for seconds, step in updates:
            clock.now = 100.0 + seconds
            line.update(step, {"loss": f"{5 - step / 100:.2f}", "tokens/s": 1234.5678})
    return stream.getvalue()


def test_rate_and_eta_leave_the_first_update_out(clock):
    lines = run(io.StringIO(), clock, [(30, 1), (50, 41)]).splitlines()  # 30 s of compilation, then 2 steps a second
    assert lines == [
        "pause  1/100  1 %  loss 4.99  tokens/s 1235  elapsed 30 s",
        "pause  41/100  41 %  loss 4.59  tokens/s 1235  2 steps/s  elapsed 50 s  ETA 30 s",  # 59 steps / 2
    ]


def test_a_resumed_run_counts_only_its_own_steps(clock):
    lines = run(io.StringIO(), clock, [(0, 61), (10, 71)], start=60).splitlines()
    assert "1 steps/s" in lines[-1]
    assert "ETA 29 s" in lines[-1]


def test_a_log_file_gets_the_first_the_last_and_a_line_every_eight_seconds(clock):
    text = run(io.StringIO(), clock, [(0.25 * i, i) for i in range(1, 101)])
    assert [int(line.split()[1].split("/")[0]) for line in text.splitlines()] == [1, 33, 65, 97, 100]
    assert "\r" not in text
    assert "\x1b" not in text


def test_a_run_that_is_stopped_early_shows_its_last_step(clock):
    text = run(io.StringIO(), clock, [(1, 1), (2, 2), (3, 3)])
    assert [line.split()[1] for line in text.splitlines()] == ["1/100", "3/100"]


def test_a_terminal_is_redrawn_in_place(clock, monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(progress.shutil, "get_terminal_size", lambda *_, **__: os.terminal_size((40, 20)))
    text = run(Terminal(), clock, [(i, i) for i in range(1, 101)])
    assert text.count("\r") == 100
    assert text.count("\n") == 1
    assert text.endswith("\n")
    assert all(len(drawn) <= 39 for drawn in text[:-1].split("\r"))  # at 40 the cursor would wrap


def test_a_shorter_line_covers_the_longer_one_before(clock, monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    terminal = Terminal()
    with Progress("a", 10, stream=terminal, clock=clock) as line:
        line.update(1, {"loss": "x" * 20})
        line.update(2, {})
    long, short = terminal.getvalue().rstrip("\n").split("\r")[1:]
    assert len(short) == len(long)


def test_a_dumb_terminal_gets_lines(clock, monkeypatch):
    monkeypatch.setenv("TERM", "dumb")
    assert "\r" not in run(Terminal(), clock, [(1, 1), (2, 2)])


def test_nothing_is_shown_without_an_update(clock):
    assert run(Terminal(), clock, []) == ""


def test_a_stream_that_cannot_be_written_stops_nothing(clock):
    class Full(io.StringIO):
        def write(self, text):
            raise OSError(28, "No space left on device")

    run(Full(), clock, [(1, 1), (2, 100)])


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (45.4, "45 s"),
        (59.4, "59 s"),
        (59.6, "1:00"),
        (187, "3:07"),
        (3600, "1:00:00"),
        (3723, "1:02:03"),
        (360_000, "100:00:00"),
    ],
)
def test_format_seconds(seconds, text):
    assert format_seconds(seconds) == text


def test_a_heartbeat_is_seen_while_something_works():
    stream = io.StringIO()
    with Heartbeat("train the tokenizer", seconds=0.01, stream=stream):
        time.sleep(0.1)
    lines = stream.getvalue().splitlines()
    assert len(lines) >= 2 and set(lines) == {"train the tokenizer  elapsed 0 s"}
    time.sleep(0.05)
    assert stream.getvalue().splitlines() == lines  # and not afterwards

"""Steps that do not end, and processes that stand still."""

import re
import signal
import time

import pytest

from pause_jax.checkpointing.run_folder import RunFolder
from pause_jax.training.watchdog import Watchdog
from tests.reliability.programs import FULL, STEPS, Group, assert_same, last_step, note, run

PEER_LOST = 4


def stand_still(seconds):
    time.sleep(seconds)


def test_stacks_are_shown_once_a_stall(capfd):
    with Watchdog(0.2) as watch:
        stand_still(0.5)  # before anything is usual
        for step in range(1, 6):
            watch.heartbeat(step)
        assert capfd.readouterr().err == ""
        for step in (5, 6):
            stand_still(1.0)
            told = capfd.readouterr().err
            assert len(re.findall(r"no step was finished for \d+ s after step \d, where 0\.0 s are usual", told)) == 1
            assert f"after step {step}," in told and "in stand_still" in told
            watch.heartbeat(6)


def test_what_is_usual_is_no_stall_nor_is_anything_where_nothing_is_watched(capfd):
    with Watchdog(0.05) as watch, Watchdog(0) as nothing:
        for step in range(1, 6):
            watch.heartbeat(step)
            nothing.heartbeat(step)
            stand_still(0.1)  # 20 of these would be a stall
        stand_still(0.5)
    assert capfd.readouterr().err == ""


@pytest.mark.slow
def test_the_loop_is_watched(tmp_path):
    task = {"slow": [16, 7], "run": {"stall_seconds": 3, "log_every": 2}}
    ((code, err),) = run(tmp_path / "run", STEPS, **task)
    assert code == 0 and len(re.findall(r"no step was finished for", err)) == 1, err
    assert "in open_batches" in err  # where it stood


@pytest.mark.slow
@pytest.mark.parametrize("victim", [0, 1] if FULL else [0])
def test_when_a_process_stands_still_the_other_ends_and_a_restart_goes_on(tmp_path, straight, victim):
    folder = RunFolder(tmp_path / "run")
    with Group(folder.path, STEPS, size=2, seconds=0.2) as group:
        assert group.until(lambda: last_step(folder) >= 6 and bool(folder.saved_steps()))
        group.processes[victim].send_signal(signal.SIGSTOP)
        stopped, reached = time.monotonic(), last_step(folder)
        code, err = group.ended(1 - victim, timeout=150)
        seconds = time.monotonic() - stopped
        assert code == PEER_LOST, err
        assert re.search(r"error: process \d ends, as another process of this run was lost", err)
        if victim == 0:  # which holds the folder, and might go on
            ended = run(folder.path, STEPS, size=2)
            assert [code for code, _ in ended] == [2, 2], ended
            assert all("is being written to by another run, process" in err for _, err in ended), ended
    repeated = reached - max(folder.saved_steps())
    for code, err in run(folder.path, STEPS, size=2):
        assert code == 0, err
    assert_same(folder, straight(2), range(1, STEPS + 1))
    note(f"SIGSTOP of process {victim} of 2 (the other ends after {seconds:.0f} s)", 1, 1, f"{repeated} steps")

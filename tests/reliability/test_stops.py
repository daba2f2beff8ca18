"""Signals and the time given to real processes: they end soon, with the documented code, and nothing is lost."""

import signal
import time

import pytest

from pause_jax.checkpointing.run_folder import RunFolder
from pause_jax.config import RunConfig
from pause_jax.errors import UserError
from pause_jax.training.signals import StopSignals
from tests.reliability.programs import STEPS, Group, assert_same, last_step, note, run

WITHIN = 60  # seconds, on a busy machine: finish the step, save, end


def test_time_is_up_once_and_only_where_it_is_given(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    with StopSignals(max_seconds=10) as stop, StopSignals() as without:
        assert not stop.agreed(1)
        now[0] += 9
        assert not stop.agreed(2)
        now[0] += 2
        assert stop.agreed(3) and stop.agreed(4) and stop.requested == "max_seconds"
        assert not without.agreed(3)


def test_max_seconds_is_not_negative():
    with pytest.raises(UserError, match=r"config\.run\.max_seconds is -1"):
        RunConfig(max_seconds=-1).validate()


def finish_and_compare(folder, straight):
    ((code, err),) = run(folder.path, STEPS)
    assert code == 0, err
    assert_same(folder, straight(1), range(1, STEPS + 1))


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_first_signal_saves(tmp_path, straight, number):
    with Group(tmp_path / "run", STEPS, seconds=0.3, run={"checkpoint_every": 100}) as group:
        assert group.until(lambda: last_step(group.folder) >= 4)
        group.processes[0].send_signal(number)
        code, err = group.ended(timeout=WITHIN)
    assert code == 75, err
    assert f"{number.name}: stopping cleanly" in err and "Traceback" not in err
    (saved,) = group.folder.saved_steps()
    assert saved == last_step(group.folder) < STEPS  # no step is lost
    finish_and_compare(group.folder, straight)
    note(number.name, 1, 1, "none")


@pytest.mark.slow
def test_the_second_interrupt_ends_it_at_once(tmp_path, straight):
    """While a batch takes a minute to be made: neither it nor anything else is waited for."""
    with Group(tmp_path / "run", STEPS, slow=[9, 60]) as group:
        assert group.until(lambda: last_step(group.folder) == 8 and group.folder.saved_steps() == [4, 8])
        group.processes[0].send_signal(signal.SIGINT)
        time.sleep(1)
        assert group.processes[0].poll() is None
        sent = time.monotonic()
        group.processes[0].send_signal(signal.SIGINT)
        code, _ = group.ended(timeout=WITHIN)
    assert code == -signal.SIGINT and time.monotonic() - sent < 5  # a shell calls it 130
    finish_and_compare(group.folder, straight)
    note("a second SIGINT (ends at once)", 1, 1, "up to the save before")


@pytest.mark.slow
def test_the_time_given(tmp_path, straight):
    folder, attempts, code = tmp_path / "run", 0, 75
    while code == 75 and attempts < 10:
        ((code, err),) = run(folder, STEPS, seconds=0.2, run={"max_seconds": 4, "checkpoint_every": 100})
        attempts += 1
    assert code == 0 and attempts > 1, err
    assert_same(RunFolder(folder), straight(1), range(1, STEPS + 1))
    note("the time given is up (run.max_seconds)", attempts - 1, attempts - 1, "none")

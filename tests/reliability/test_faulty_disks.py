"""Disks that fail or are slow while real runs train on them, and such disks of one process of two."""

import re
import time

import pytest

from pause_jax.checkpointing.run_folder import RunFolder
from pause_jax.logging.writers import read_jsonl
from tests.reliability.faulty_disks import FaultyDisk
from tests.reliability.programs import FULL, STEPS, Group, assert_same, is_saving, last_step, note, run

PEER_LOST = 4


@pytest.fixture
def disk(tmp_path):
    return FaultyDisk(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("when", ["between saves", "in a save"])
def test_a_disk_that_is_read_only_for_a_while(tmp_path, disk, straight, when):
    with Group(tmp_path / "run", STEPS, disks={0: disk}, seconds=0.2, run={"max_failed_saves": 100}) as group:
        assert group.until(lambda: group.folder.saved_steps() == [4])
        if when == "in a save":
            disk.is_slow(group.folder.checkpoints, milliseconds=100)
            assert group.until(lambda: is_saving(group.folder), every=0.0)
        disk.is_read_only(group.folder.path)
        assert group.until(lambda: group.stderr().count("could not be saved") >= 2)
        assert group.folder.saved_steps() == [4] and last_step(group.folder) <= 8
        disk.is_well()
        code, err = group.ended(timeout=60)  # nothing waits for what could not be written
    assert code == 0, err
    assert re.search(r"could not be saved to .* \(Read-only file system\): training goes on", err)
    assert re.search(r"could not write metrics to \S+ \(Read-only file system\)", err)
    assert_same(group.folder, straight(1), range(1, STEPS + 1))
    assert not is_saving(group.folder)
    note(f"disk read-only for a while, from {when} on (the run goes on)", 1, 1, "none")


@pytest.mark.slow
def test_a_disk_that_stays_read_only_stops_the_run(tmp_path, disk, straight):
    with Group(tmp_path / "run", STEPS, disks={0: disk}, seconds=0.2, run={"max_failed_saves": 2}) as group:
        assert group.until(lambda: group.folder.saved_steps() == [4])
        disk.is_read_only(group.folder.path)
        code, err = group.ended(timeout=60)
    assert code == 3, err
    assert re.fullmatch(
        r"error: the checkpoint of step 12 could not be saved to \S+ \(Read-only file system\), and so could none of "
        r"the 1 before it: make room or repair the disk; .*",
        err.splitlines()[-1],
    )
    assert group.folder.saved_steps() == [4]
    for code, err in run(group.folder.path, STEPS):
        assert code == 0, err
    assert_same(group.folder, straight(1), range(1, STEPS + 1))
    note("disk read-only for good (the run stops, and goes on once it is repaired)", 1, 1, "since the last save")


@pytest.mark.slow
def test_slow_storage_does_not_hold_up_the_steps(tmp_path, disk, straight):
    """A save takes longer than the steps up to the next one: they are taken meanwhile, and then it is waited for."""
    disk.is_slow(tmp_path / "run" / "checkpoints", milliseconds=40)
    with Group(tmp_path / "run", STEPS, disks={0: disk}, run={"checkpoint_every": 12}) as group:
        assert group.until(lambda: is_saving(group.folder), every=0.0)
        begun, during = time.monotonic(), 0
        while is_saving(group.folder):
            during = last_step(group.folder)
        took = time.monotonic() - begun
        code, err = group.ended()
    assert code == 0, err
    assert during >= 18 and took > 1  # at the first save, of step 12
    assert re.search(r"Waiting for previous save to complete took \d+\.\d+ seconds.*checkpointing less frequently", err)
    # What the first save takes of training: copying the arrays and making the folders.
    (held_up,) = [
        r["checkpoint_seconds"]
        for r in read_jsonl(group.folder.metrics)
        if 12 < r["step"] < STEPS and "checkpoint_seconds" in r
    ]
    assert held_up < took / 2
    assert_same(group.folder, straight(1), range(1, STEPS + 1))
    note(f"slow storage (a save takes {took:.0f} s, and training waits for {held_up:.1f} s of them)", 1, 1, "none")


@pytest.mark.slow
def test_a_checkpoint_that_one_of_two_processes_cannot_read_is_used_by_none(tmp_path, disk, straight):
    folder = RunFolder(tmp_path / "run")
    for code, err in run(folder.path, 12, size=2, run={"keep_checkpoints": 9}):
        assert code == 0, err
    assert folder.saved_steps() == [4, 8, 12]
    disk.is_unreadable(folder.checkpoints / "12" / "params")
    with Group(folder.path, STEPS, size=2, disks={1: disk}, run={"keep_checkpoints": 9}) as group:
        ended = [group.ended(k) for k in range(2)]
    for code, err in ended:
        assert code == 0, err
        told = re.findall(r"checkpoint (\S+) cannot be read \((.*)\): trying the one before it", err)
        assert [(path, reason[:11]) for path, reason in told] == [(str(folder.checkpoints / "12"), "process 1: ")], err
    assert [one.name for one in folder.checkpoints.glob("*.damaged")] == ["12.damaged"]
    assert folder.saved_steps() == [4, 8, 12, 16, 20, 24]
    assert_same(folder, straight(2), range(1, STEPS + 1))
    note("newest checkpoint unreadable for one of 2 processes", 1, 1, "4 steps")


@pytest.mark.slow
@pytest.mark.parametrize("victim", [1, 0] if FULL else [1])  # process 0 waits a minute for the other to hear of it
def test_when_one_of_two_processes_cannot_save_both_end_and_a_restart_goes_on(tmp_path, disk, straight, victim):
    with Group(tmp_path / "run", STEPS, size=2, disks={victim: disk}, seconds=0.2) as group:
        assert group.until(lambda: group.folder.saved_steps() == [4])
        disk.is_full(group.folder.checkpoints)
        begun = time.monotonic()
        code, err = group.ended(victim, timeout=120)
        assert code == 2, err
        assert re.search(
            r"^error: the checkpoint of step 8 could not .*\(No space left on device\): make room", err, re.MULTILINE
        )
        code, err = group.ended(1 - victim, timeout=60)
        assert code == PEER_LOST, err
        assert re.search(r"^error: process \d ends, as another process of this run was lost", err, re.MULTILINE)
        seconds = time.monotonic() - begun
    disk.is_well()
    assert group.folder.saved_steps() == [4]
    for code, err in run(group.folder.path, STEPS, size=2):
        assert code == 0, err
    assert_same(group.folder, straight(2), range(1, STEPS + 1))
    note(f"disk full for process {victim} of 2 (both end within {seconds:.0f} s)", 1, 1, "since the last save")

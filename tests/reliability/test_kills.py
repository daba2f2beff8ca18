"""kill -9 at random moments and in the middle of saves: the same command goes on, as if nothing had been.

The full version, with PAUSE_JAX_RELIABILITY=1, is that of `make reliability`; the short one is CI's.
"""

import random
import time

import pytest

from pause_jax.checkpointing.run_folder import RunFolder
from tests.reliability.programs import FULL, Group, assert_same, is_saving, last_step, note, run

STEPS = {1: 500, 2: 160} if FULL else {1: 60, 2: 30}  # of a run of so many processes
SAVES_EVERY = 4  # steps
KILLS = {1: 32, 2: 8} if FULL else {1: 3, 2: 1}


def kill_once(group: Group, how: str, chance: random.Random) -> int:
    """Kill all processes of the group, or one; the last step whose metrics were written, or 0 if it was too late."""
    begun = last_step(group.folder)
    if how == "start":  # while it starts, compiles or restores
        time.sleep(chance.uniform(0.1, 2.0))
    else:
        ahead = begun + chance.randint(5, 12)
        alive = group.until(lambda: last_step(group.folder) >= ahead)
        if alive and how == "save":
            alive = group.until(lambda: is_saving(group.folder), every=0.0)
        elif alive:
            time.sleep(chance.uniform(0, 0.5))
    victims = group.processes if len(group.processes) == 1 else [chance.choice(group.processes)]
    for process in victims:
        process.kill()
    return last_step(group.folder)


@pytest.mark.slow
@pytest.mark.timeout(1500)
@pytest.mark.parametrize("size", [1, 2])
def test_killed_again_and_again(tmp_path, size):
    """Kills while it starts, at any moment of training and during a save; metrics and parameters are as undisturbed."""
    chance = random.Random(size)
    steps, task = STEPS[size], {"size": size, "run": {"checkpoint_every": SAVES_EVERY}, "seconds": 0.02}
    folder, repeated, saving = RunFolder(tmp_path / "killed"), [], 0
    for k in range(KILLS[size]):
        how = ("step", "save", "start")[k % 3] if k else "step"
        with Group(folder.path, steps, **task) as group:
            reached = kill_once(group, how, chance)
            codes = [group.ended(i, timeout=180)[0] for i in range(size)]
        # 4: a process of the run was lost; 2: it never came.
        assert -9 in codes and set(codes) <= ({-9, 4, 2} if how == "start" else {-9, 4}), (
            codes,
            reached,
            [group.stderr(i) for i in range(size)],
        )
        saved = max(folder.saved_steps(), default=0)
        saving += how != "start" and is_saving(folder)  # there it may be what an earlier kill left
        repeated.append(max(0, reached - saved))
        assert repeated[-1] <= 2 * SAVES_EVERY + 2  # a save may be under way, and metrics come every two steps
    for code, err in run(folder.path, steps, **task):
        assert code == 0, err
    for code, err in run(tmp_path / "straight", steps, **task):
        assert code == 0, err
    assert_same(folder, RunFolder(tmp_path / "straight"), range(1, steps + 1))
    assert not is_saving(folder)  # what was half saved is cleared away
    name = "kill -9" if size == 1 else f"kill -9 of one of {size} processes"
    note(f"{name} ({saving} with a save under way)", KILLS[size], KILLS[size], f"{max(repeated)} steps at most")

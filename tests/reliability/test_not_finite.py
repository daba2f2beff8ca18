"""Batches that make loss or gradient not finite: the update is skipped, told, counted; the step can be looked at."""

import re
import shutil

import jax
import numpy as np
import pytest

from pause_jax import trees
from pause_jax.checkpointing.checkpoints import Checkpoints
from pause_jax.checkpointing.run_folder import RunFolder
from pause_jax.errors import RunStopped, UserError
from pause_jax.logging.writers import read_jsonl
from pause_jax.training import loop, replay
from tests.reliability.programs import note
from tests.reliability.training_program import job_of, train
from tests.small_runs import V, make_batch

POISON = {"poison": [5, 6]}  # the batches of steps 6 and 7: row 3 has an infinite weight


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("poisoned") / "run"
    train({"folder": str(folder), "steps": 10, **POISON, "run": {"checkpoint_every": 1, "keep_checkpoints": 10}})
    return RunFolder(folder)


def state(folder, step):
    job = job_of({"folder": str(folder.path), "steps": 10})
    restored, _ = loop.restore_or_start(job, Checkpoints(folder.checkpoints, keep=10), up_to=step)
    assert int(restored.pop("step")) == step
    return trees.flatten(jax.device_get(restored))


def test_nothing_changes_but_the_counts_and_the_order_of_the_data_stays(folder):
    before, after, later = (state(folder, step) for step in (5, 7, 8))
    for path in before:
        np.testing.assert_array_equal(before[path], after[path], err_msg=path)
    assert any((later[path] != after[path]).any() for path in after)
    metrics = read_jsonl(folder.metrics)
    assert [r["skipped_steps"] for r in metrics] == [0, 0, 0, 0, 0, 1, 2, 2, 2, 2]
    assert [r["skipped_in_a_row"] for r in metrics] == [0, 0, 0, 0, 0, 1, 2, 0, 0, 0]
    pauses = [int((make_batch(t)["inputs"] == V).sum()) for t in range(10)]
    assert [r["pause_tokens"] for r in metrics] == np.cumsum(pauses).tolist()
    note("loss and gradient not finite (updates skipped)", 2, 2, "those updates")


def test_too_many_in_a_row_stop_the_run_and_the_sentence_says_where_to_look(tmp_path):
    task = {"folder": str(tmp_path / "run"), "steps": 20, "poison": list(range(8, 20)), "run": {"max_skipped_steps": 3}}
    for _ in range(2):  # the same command comes to the same end
        with pytest.raises(
            RunStopped, match=r"in 4 steps in a row, 9 to 12, .* of batches 8 to 11; .*replay_step=9 sh"
        ):
            train(task)
        assert RunFolder(tmp_path / "run").saved_steps()[-1] == 8  # the last one that is good
    note("not finite for good (the run stops, good checkpoints stay)", 2, 2, "since the last save")


def replayed(folder, step):
    """Its lines; nothing in the folder has changed."""
    job = job_of({"folder": str(folder.path), "steps": 10, **POISON, "run": {"replay_step": step}})
    before = {path: path.read_bytes() for path in folder.path.rglob("*") if path.is_file()}
    text = replay.replay(job)
    assert before == {path: path.read_bytes() for path in folder.path.rglob("*") if path.is_file()}
    return text.splitlines()


def test_a_step_that_was_not_finite_is_looked_at(folder):
    where, loss, rows, parameters = replayed(folder, 6)
    assert where == "step 6 (batch 5), from the state of step 5"
    assert re.match("loss (inf|nan), gradient norm (inf|nan)", loss)
    assert re.fullmatch("1 of 16 rows: loss not finite: row 3 (nan|inf)", rows)
    assert "parameters: norm of the gradient not finite" in parameters


def test_a_finite_step_is_what_the_run_had_of_it_through_steps_that_were_skipped(folder):
    for step in (6, 7, 8):
        shutil.rmtree(folder.checkpoints / str(step))
    where, loss, rows, _ = replayed(folder, 9)
    assert where == "step 9 (batch 8), from the state of step 5 on"
    record = read_jsonl(folder.metrics)[8]
    assert loss == f"loss {record['loss']:.6g}, gradient norm {record['grad_norm']:.6g}"
    assert re.fullmatch(r"16 rows, largest loss: (row \d+ \d\.\d+(, )?){10}", rows)
    with pytest.raises(UserError, match=r"replay_step = 11 is beyond config\.train\.steps = 10"):
        replayed(folder, 11)


def test_row_losses_are_means_over_the_rows_positions():
    """By hand: rows cut out of the batch, one by one."""
    job = job_of({"folder": "nowhere", "steps": 10})
    state = loop.restore_or_start(job, NoCheckpoints())[0]
    compiled = loop.compile_steps(job)
    found = jax.device_get(compiled.debug_step(state, compiled.put(make_batch(0))))
    for row in (0, 7, 15):
        batch = make_batch(0)
        batch["loss_weights"][np.arange(16) != row] = 0
        loss, count, *_ = compiled.validation_step(state["params"], compiled.put(batch))
        np.testing.assert_allclose(found["row_losses"][row], loss / count, rtol=1e-5)


class NoCheckpoints:
    def restore_newest(self, abstract, up_to):
        return None

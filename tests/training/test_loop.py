"""Whole runs of the loop on batches made here: resume, meshes, starting from a checkpoint, stopping."""

import dataclasses
import json
import os
import shutil
import signal

import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest

from pause_jax import trees
from pause_jax.checkpointing import checkpoints
from pause_jax.checkpointing.run_folder import RunFolder
from pause_jax.config import (
    Config,
    DataConfig,
    MeshConfig,
    OptimizerConfig,
    PauseConfig,
    RunConfig,
    TrainConfig,
)
from pause_jax.config.model import Execution
from pause_jax.distributed import global_batch
from pause_jax.distributed.mesh import make_mesh
from pause_jax.errors import RunStopped, UserError
from pause_jax.logging.writers import read_jsonl
from pause_jax.model import decoder
from pause_jax.training import initialize, loop
from tests.small_runs import GPT, B, L, V, make_batch

ONE_DEVICE = MeshConfig(data=1)


def make_config(steps=6, model=GPT, num_pause_tokens=1, mesh=ONE_DEVICE, **run):
    execution = Execution(scan_layers="on")  # compiles faster
    return Config(
        model=dataclasses.replace(model, num_pause_tokens=num_pause_tokens),
        pauses=PauseConfig(rate=0.1 if num_pause_tokens else 0.0),
        data=DataConfig(length=L),
        optimizer=OptimizerConfig(learning_rate=1e-2, warmup_steps=2, schedule="constant"),
        train=TrainConfig(steps=steps, batch_size=B),
        run=RunConfig(
            **{
                "mesh": mesh,
                "execution": execution,
                "log_every": 2,
                "validate_every": 3,
                "checkpoint_every": 3,
                "loggers": ("jsonl",),
                **run,
            }
        ),
    )


def run(path, config, poison=()):
    """Train `config` in `path`; batches numbered in `poison` give a loss that is not finite."""
    folder = RunFolder(path)
    folder.claim(config, {"vocabulary": "byte-259"})
    mesh = make_mesh(config.run.mesh, jax.devices()[:1] if config.run.mesh == ONE_DEVICE else None)

    def open_batches(start):
        t = start
        while True:
            batch = make_batch(t, config.model.num_pause_tokens)
            if t in poison:
                batch["loss_weights"][0, 0] = np.inf
            yield batch
            t += 1

    job = loop.TrainingJob(
        config=config,
        mesh=mesh,
        rows=global_batch.process_rows(B, L, mesh, config.run.accumulation),
        open_batches=open_batches,
        validation={"loss": lambda: (make_batch(10**6 + i, 0) for i in range(2))},
        folder=folder,
        label="test",
        provenance={"code": "test", "vocabulary": "byte-259"},
    )
    return loop.train(job), folder


def records(folder):
    """The metrics, without those of time."""
    return [{k: v for k, v in one.items() if "second" not in k and k != "mfu"} for one in read_jsonl(folder.metrics)]


def params(folder, step=None):
    config = folder.config()
    mesh = make_mesh(ONE_DEVICE, jax.devices()[:1])
    step = step or folder.saved_steps()[-1]
    return trees.flatten(jax.device_get(checkpoints.restore_params(folder.checkpoints, step, config, mesh)))


def state(folder):
    config = folder.config()
    mesh = make_mesh(ONE_DEVICE, jax.devices()[:1])
    abstract = initialize.abstract_state(config, loop.make_optimizer(config.optimizer), mesh)
    restored = checkpoints.Checkpoints(folder.checkpoints, keep=9).restore_newest(abstract)
    return trees.flatten(jax.device_get(restored.state)), restored.meta


def test_twenty_steps_equal_ten_and_ten_bit_for_bit(tmp_path):
    _, straight = run(tmp_path / "straight", make_config(20))
    outcome, resumed = run(tmp_path / "resumed", make_config(10))
    assert outcome == "finished" and resumed.saved_steps()[-1] == 10
    _, resumed = run(tmp_path / "resumed", make_config(20))
    (one, one_meta), (two, two_meta) = state(straight), state(resumed)
    assert one.keys() == two.keys() and one_meta == two_meta
    for path in one:
        np.testing.assert_array_equal(one[path], two[path], err_msg=path)
    assert [r["step"] for r in records(resumed)] == list(range(1, 21))
    # validated at step 10 only in the run that ended there
    strip = [{k: v for k, v in r.items() if not k.startswith("validation")} for r in records(straight)]
    assert strip == [{k: v for k, v in r.items() if not k.startswith("validation")} for r in records(resumed)]
    assert records(straight)[-1] == records(resumed)[-1] and "validation/loss" in records(straight)[-1]


def test_loss_falls_and_counters_are_sums(tmp_path):
    _, folder = run(tmp_path, make_config(20))
    metrics = records(folder)
    assert metrics[-1]["loss"] < 0.8 * metrics[0]["loss"]
    inputs = [make_batch(t, 1)["inputs"] for t in range(20)]
    assert metrics[-1]["pause_tokens"] == sum(int((x == V).sum()) for x in inputs)
    assert metrics[-1]["text_tokens"] == sum(int((x < V).sum()) for x in inputs)
    assert metrics[-1]["loss_tokens"] == sum(int(make_batch(t, 1)["loss_weights"].sum()) for t in range(20))
    assert metrics[-1]["model_flops"] == 2 * metrics[9]["model_flops"]
    assert metrics[0]["validation/loss"] if "validation/loss" in metrics[0] else metrics[2]["validation/loss"]


def test_a_checkpoint_goes_on_on_another_mesh(tmp_path):
    _, straight = run(tmp_path / "straight", make_config(6))
    run(tmp_path / "moved", make_config(3))
    _, moved = run(tmp_path / "moved", make_config(6, mesh=MeshConfig(data=2, fsdp=4)))
    for a, b in zip(records(straight), records(moved), strict=True):
        assert abs(a["loss"] / b["loss"] - 1) < 1e-5


def test_standard_checkpoint_into_pause_model_gets_a_fresh_pause_leaf(tmp_path):
    _, standard = run(tmp_path / "standard", make_config(3, num_pause_tokens=0))
    config = dataclasses.replace(make_config(1), init_from=str(standard.path), seed=5)
    mesh = make_mesh(ONE_DEVICE, jax.devices()[:1])
    start = trees.flatten(jax.device_get(initialize.params_from(config, mesh)))
    source = params(standard)
    assert set(start) == set(source) | {"pause/embedding"}
    for path in source:
        np.testing.assert_array_equal(start[path], source[path])
    fresh = decoder.new_pauses(dataclasses.replace(GPT, num_pause_tokens=1), seed=5)["embedding"]
    np.testing.assert_allclose(start["pause/embedding"], fresh, atol=1e-6)
    assert 0.01 < np.std(fresh) < 0.04
    outcome, folder = run(tmp_path / "finetuned", config)
    assert outcome == "finished" and records(folder)[0]["loss"] < np.log(V)  # it starts from what was learned
    # and the other way round: a pause checkpoint into a standard model leaves the pauses behind
    back = dataclasses.replace(make_config(1, num_pause_tokens=0), init_from=f"{folder.path}/checkpoints/1")
    assert "pause/embedding" not in trees.flatten(initialize.params_from(back, mesh))


def test_fresh_pauses_start_where_they_are_told_to(tmp_path):
    """Around the mean of the embeddings, or a token's: twice the noise of a fresh pause away at most, in the mean."""
    _, standard = run(tmp_path / "standard", make_config(1, num_pause_tokens=0))
    mesh, table_VxD = make_mesh(ONE_DEVICE, jax.devices()[:1]), params(standard)["token/embedding"]
    config = dataclasses.replace(make_config(1), init_from=str(standard.path))
    for settings, centre_D in (
        ({"init": "mean"}, table_VxD.mean(axis=0)),
        ({"init": "token", "init_token": "ab\x05"}, table_VxD[8]),
    ):
        pauses = dataclasses.replace(config.pauses, **settings)
        asked = dataclasses.replace(config, model=dataclasses.replace(config.model, num_pause_tokens=2), pauses=pauses)
        asked.validate()
        pauses_PxD = np.asarray(initialize.params_from(asked, mesh)["pause"]["embedding"])
        noise_PxD = pauses_PxD - centre_D
        assert 0.01 < noise_PxD.std() < 0.04 and (pauses_PxD[0] != pauses_PxD[1]).all()
    for changes, sentence in (
        ({"init_from": ""}, r"init = 'mean' makes pauses from a trained model's embeddings: give one as"),
        (
            {"pauses": PauseConfig(init="token")},
            r"init = 'token' and config.pauses.init_token = '' do not go",
        ),
        (
            {"model": GPT, "pauses": PauseConfig(), "optimizer": OptimizerConfig(pause_only_steps=3)},
            r"pause_only_steps = 3 trains pauses alone",
        ),
    ):
        wrong = dataclasses.replace(config, pauses=PauseConfig(init="mean"))
        with pytest.raises(UserError, match=sentence):
            dataclasses.replace(wrong, **changes).validate()


def test_starting_from_what_is_not_there_or_does_not_fit(tmp_path):
    _, folder = run(tmp_path / "run", make_config(1))
    mesh = make_mesh(ONE_DEVICE, jax.devices()[:1])

    def check(sentence, **fields):
        with pytest.raises(UserError, match=sentence):
            initialize.check_config(dataclasses.replace(make_config(1), **fields), mesh)

    check(r"nowhere holds no run", init_from=str(tmp_path / "nowhere"))
    check(r"no checkpoint of step 7; it has steps 1", init_from=f"{folder.path}/checkpoints/7")
    check(
        r"does not fit .* layers/mlp/down/bias|does not fit .* d?",
        init_from=str(folder.path),
        model=dataclasses.replace(GPT, d_model=64),
    )
    check(
        r"num_pause_tokens = 2, but the checkpoint .* has 1",
        model=dataclasses.replace(GPT, num_pause_tokens=2),
        init_from=str(folder.path),
    )
    (folder.path / "data.json").write_text(json.dumps({"vocabulary": "f" * 64}))
    check(
        r"made with another tokenizer than .* 'byte' \(fingerprints ffffffffffff and byte-259\)",
        init_from=str(folder.path),
    )


def test_steps_that_are_not_finite_are_skipped_counted_and_in_the_end_stop_the_run(tmp_path):
    _, folder = run(tmp_path / "skips", make_config(6), poison={1, 3})
    assert [r["skipped_steps"] for r in records(folder)] == [0, 1, 1, 2, 2, 2]
    assert all(np.isfinite(leaf).all() for leaf in params(folder).values())
    with pytest.raises(RunStopped, match=r"not finite in 3 steps in a row, 4 to 6, "):
        run(tmp_path / "stops", make_config(20, max_skipped_steps=3, checkpoint_every=2), poison=set(range(3, 20)))
    stopped = RunFolder(tmp_path / "stops")
    assert stopped.saved_steps()[-1] == 4  # the last one before the flush that found it
    assert all(np.isfinite(leaf).all() for leaf in params(stopped).values())


def test_a_signal_saves_and_the_same_command_goes_on(tmp_path, monkeypatch):
    _, straight = run(tmp_path / "straight", make_config(6))
    make = make_batch

    def make_and_signal(t, num_pause_tokens):
        if t == 3:
            os.kill(os.getpid(), signal.SIGTERM)
        return make(t, num_pause_tokens)

    monkeypatch.setitem(globals(), "make_batch", make_and_signal)
    before = signal.getsignal(signal.SIGTERM)
    outcome, folder = run(tmp_path / "stopped", make_config(6))
    assert outcome == "stopped" and folder.saved_steps()[-1] == 3  # batch 3 is made ahead, before step 3 begins
    assert signal.getsignal(signal.SIGTERM) is before
    monkeypatch.setitem(globals(), "make_batch", make)
    outcome, folder = run(tmp_path / "stopped", make_config(6))
    assert outcome == "finished"
    for path, leaf in params(straight).items():
        np.testing.assert_array_equal(leaf, params(folder)[path], err_msg=path)
    assert records(folder) == records(straight)


def test_a_damaged_checkpoint_is_set_aside_for_the_one_before(tmp_path):
    _, straight = run(tmp_path / "straight", make_config(6))
    _, folder = run(tmp_path / "damaged", make_config(6))
    for file in (folder.checkpoints / "6" / "params").rglob("*"):
        if file.is_file() and "d" in file.parts:
            file.write_bytes(file.read_bytes()[:-20])
    run(tmp_path / "damaged", make_config(6))
    assert (folder.checkpoints / "6.damaged").is_dir()
    for path, leaf in params(straight).items():
        np.testing.assert_array_equal(leaf, params(folder)[path], err_msg=path)


def test_flipped_bits_are_found_and_nothing_starts_over_damage(tmp_path):
    """A checkpoint whose content was changed and written again is whole to Orbax: only the checksums know."""
    _, folder = run(tmp_path, make_config(4, checkpoint_every=2))
    for step in (2, 4):
        item = folder.checkpoints / str(step) / "params"
        with ocp.StandardCheckpointer() as checkpointer:
            arrays = checkpointer.restore(item)
            bits = np.array(arrays["final_norm"]["scale"]).view(np.uint32)
            bits[3] ^= 1  # the lowest bit of the mantissa
            arrays["final_norm"]["scale"] = bits.view(np.float32)
            checkpointer.save(item, arrays, force=True)
    with pytest.raises(UserError, match="final_norm/scale is not what was saved: its checksum differs"):
        params(folder)
    for _ in range(2):  # the second start finds no checkpoint, but what is left of two
        with pytest.raises(UserError, match=r"they are 2.damaged, 4.damaged now: restore one"):
            run(tmp_path, make_config(4, checkpoint_every=2))
    for damaged in folder.checkpoints.glob("*.damaged"):
        shutil.rmtree(damaged)
    assert run(tmp_path, make_config(4, checkpoint_every=2))[0] == "finished"


def test_retention(tmp_path):
    _, folder = run(tmp_path, make_config(9, checkpoint_every=1, keep_checkpoints=2, keep_every=4))
    assert folder.saved_steps() == [4, 8, 9]

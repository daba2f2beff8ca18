"""Validation's losses: of all positions, of those after a pause, and of the others, each a mean over positions."""

import dataclasses

import jax
import numpy as np
import pytest

from pause_jax.checkpointing import checkpoints
from pause_jax.checkpointing.run_folder import RunFolder
from pause_jax.config import Config, DataConfig, MeshConfig, OptimizerConfig, PauseConfig, RunConfig, TrainConfig
from pause_jax.config.model import Execution
from pause_jax.distributed import global_batch
from pause_jax.distributed.mesh import make_mesh
from pause_jax.logging.writers import read_jsonl
from pause_jax.model import decoder
from pause_jax.training import loop
from tests.small_runs import FAMILIES, B, L, V, make_batch

ONE_DEVICE = MeshConfig(data=1)
NAMES = ("paused_loss", "after_pause_loss", "elsewhere_loss")


def losses_of(params, model, batch):
    """(loss, is the input a pause) of each position with a loss, position by position."""
    network = decoder.bind(params, dataclasses.replace(model, num_pause_tokens=1), Execution())
    hidden, _ = network(batch["inputs"], batch["positions"], batch["segment_ids"])
    log_p = np.asarray(jax.nn.log_softmax(network.logits(hidden)), np.float64)
    return [
        (-log_p[b, t, batch["targets"][b, t]], batch["inputs"][b, t] == V)
        for b in range(B)
        for t in range(L)
        if batch["loss_weights"][b, t]
    ]


def train_one_step(path, model, paused, loss_chunk=0):
    """(parameters after a step of training, its record), validated on clean text and on the batches `paused`."""
    config = Config(
        model=dataclasses.replace(model, num_pause_tokens=1),
        pauses=PauseConfig(rate=0.1),
        data=DataConfig(length=L),
        optimizer=OptimizerConfig(learning_rate=1e-2, warmup_steps=0, schedule="constant"),
        train=TrainConfig(steps=1, batch_size=B),
        run=RunConfig(
            mesh=ONE_DEVICE,
            execution=Execution(scan_layers="on"),
            loss_chunk=loss_chunk,
            validate_every=1,
            loggers=("jsonl",),
        ),
    )
    folder, mesh = RunFolder(path), make_mesh(ONE_DEVICE, jax.devices()[:1])
    folder.claim(config, {"vocabulary": "byte-259"})
    job = loop.TrainingJob(
        config=config,
        mesh=mesh,
        rows=global_batch.process_rows(B, L, mesh, 1),
        open_batches=lambda start: iter(paused),
        validation={"loss": lambda: iter([make_batch(7, 0)]), "paused_loss": lambda: iter(paused)},
        folder=folder,
        label="test",
        provenance={"code": "test", "vocabulary": "byte-259"},
    )
    loop.train(job)
    (record,) = read_jsonl(folder.metrics)
    return checkpoints.restore_params(folder.checkpoints, 1, config, mesh), record


@pytest.mark.parametrize("family", FAMILIES)
def test_losses_after_pauses_and_elsewhere_by_hand(tmp_path, family):
    """Over two batches, of which one has many more pauses: means over positions are no means of the batches' means."""
    model, paused = FAMILIES[family], [make_batch(1), make_batch(2)]
    paused[1]["loss_weights"] *= paused[1]["inputs"] < V  # its loss is elsewhere alone, but for one position
    b, t = np.argwhere((paused[1]["inputs"] == V) & (paused[1]["targets"] < V))[0]
    paused[1]["loss_weights"][b, t] = 1.0
    params, record = train_one_step(tmp_path, model, paused, loss_chunk=5)
    found = {name: record[f"validation/{name}"] for name in NAMES}
    by_batch = [losses_of(params, model, batch) for batch in paused]
    after = [loss for losses in by_batch for loss, is_after in losses if is_after]
    elsewhere = [loss for losses in by_batch for loss, is_after in losses if not is_after]
    assert sum(is_after for _, is_after in by_batch[1]) == 1 < len(after) < len(elsewhere)
    wanted = {"after_pause_loss": after, "elsewhere_loss": elsewhere, "paused_loss": after + elsewhere}
    for name, losses in wanted.items():
        np.testing.assert_allclose(found[name], np.mean(losses), rtol=1e-5, err_msg=name)
    weighted = len(after) * found["after_pause_loss"] + len(elsewhere) * found["elsewhere_loss"]
    np.testing.assert_allclose(weighted / (len(after) + len(elsewhere)), found["paused_loss"], rtol=1e-6)
    of_means = np.mean([np.mean([loss for loss, is_after in losses if is_after]) for losses in by_batch])
    assert abs(of_means / found["after_pause_loss"] - 1) > 1e-3  # the control: it would have been another number
    clean = [loss for loss, _ in losses_of(params, model, make_batch(7, 0))]
    np.testing.assert_allclose(record["validation/loss"], np.mean(clean), rtol=1e-5)


def test_a_kind_of_position_that_is_not_there_has_no_loss(tmp_path):
    """Text in which no pause was drawn; and clean text never has the two."""
    _, record = train_one_step(tmp_path, FAMILIES["gpt"], [make_batch(1, 0)])
    assert record["validation/paused_loss"] == record["validation/elsewhere_loss"]
    assert {name for name in record if name.startswith("validation/")} == {
        "validation/loss",
        "validation/paused_loss",
        "validation/elsewhere_loss",
    }

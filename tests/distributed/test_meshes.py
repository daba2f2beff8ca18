"""Whole runs on 8 virtual devices, cut in every way: the losses of one device, and checkpoints that move."""

from __future__ import annotations

import dataclasses
import functools
import shutil

import jax
import numpy as np
import pytest

from pause_jax.checkpointing.run_folder import RunFolder
from pause_jax.config import Config, DataConfig, MeshConfig, OptimizerConfig, PauseConfig, RunConfig, TrainConfig
from pause_jax.config.model import Execution
from pause_jax.distributed import global_batch
from pause_jax.distributed.mesh import make_mesh
from pause_jax.logging.writers import read_jsonl
from pause_jax.training import loop
from tests.small_runs import FAMILIES, B, L, make_batch

STEPS = 20
MESHES = {
    "one device": MeshConfig(data=1),
    "data 8": MeshConfig(data=8),
    "fsdp 8": MeshConfig(data=1, fsdp=8),
    "tensor 2 x fsdp 4": MeshConfig(data=1, fsdp=4, tensor=2),
    "sequence 2 x data 4": MeshConfig(data=4, sequence=2),
    "data 2 x fsdp 2 x tensor 2": MeshConfig(data=2, fsdp=2, tensor=2),
}


def make_job(path, family, mesh):
    """A job in `path`: two microbatches a step, checkpoints of step 10 and 20."""
    config = Config(
        model=dataclasses.replace(FAMILIES[family], num_pause_tokens=1),
        pauses=PauseConfig(rate=0.1),
        data=DataConfig(length=L),
        optimizer=OptimizerConfig(learning_rate=1e-2, warmup_steps=2, schedule="constant"),
        train=TrainConfig(steps=STEPS, batch_size=B),
        run=RunConfig(
            mesh=MESHES[mesh],
            execution=Execution(scan_layers="on"),
            accumulation=2,
            log_every=5,
            validate_every=0,
            checkpoint_every=10,
            loggers=("jsonl",),
        ),
    )
    config.validate()
    folder = RunFolder(path)
    folder.claim(config, {"vocabulary": "byte-259"})
    devices = make_mesh(config.run.mesh, jax.devices()[:1] if mesh == "one device" else None)
    return loop.TrainingJob(
        config=config,
        mesh=devices,
        rows=global_batch.process_rows(B, L, devices, config.run.accumulation),
        open_batches=lambda start: map(make_batch, range(start, 10**6)),
        validation={},
        folder=folder,
        label="test",
        provenance={"code": "test", "vocabulary": "byte-259"},
    )


def losses(job):
    assert loop.train(job) == "finished"
    return np.array([record["loss"] for record in read_jsonl(job.folder.metrics)])


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """(family, mesh) → the folder and the losses of a whole run on that mesh, made once."""

    @functools.cache
    def run(family, mesh):
        folder = tmp_path_factory.mktemp("run")
        return folder, losses(make_job(folder, family, mesh))

    return run


@pytest.mark.slow
@pytest.mark.parametrize(
    ("family", "mesh"),
    [
        *(("gpt", mesh) for mesh in MESHES if mesh != "one device"),
        ("llama", "tensor 2 x fsdp 4"),
        ("llama", "fsdp 8"),
        ("llama", "sequence 2 x data 4"),
    ],
)
def test_any_mesh_gives_the_losses_of_one_device(finished, family, mesh):
    _, wanted = finished(family, "one device")
    assert wanted[-1] < 0.8 * wanted[0]
    difference = np.abs(finished(family, mesh)[1] / wanted - 1)
    assert difference[0] < 1e-6
    assert difference[-1] < 1e-4


@pytest.mark.slow
@pytest.mark.parametrize(
    ("family", "source", "target"),
    [
        ("gpt", "data 2 x fsdp 2 x tensor 2", "one device"),
        ("gpt", "sequence 2 x data 4", "fsdp 8"),
        ("llama", "one device", "tensor 2 x fsdp 4"),
        ("llama", "fsdp 8", "sequence 2 x data 4"),
    ],
)
def test_a_checkpoint_goes_on_on_another_mesh(tmp_path, finished, family, source, target):
    """From step 10 on the losses are those of the mesh that wrote it; the moments come along, or they would not be."""
    folder, wanted = finished(family, source)
    shutil.copytree(folder, tmp_path / "moved")
    shutil.rmtree(tmp_path / "moved" / "checkpoints" / "20")
    moved = losses(make_job(tmp_path / "moved", family, target))
    np.testing.assert_array_equal(moved[:10], wanted[:10])
    assert np.abs(moved[10] / wanted[10] - 1) < 1e-6
    assert np.abs(moved[-1] / wanted[-1] - 1) < 1e-4

"""What training takes, against what a compiler says and what devices have; and the sentence where they have less."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import jax
import pytest

from experiments import accelerators, llama, paper, quickstart
from pause_jax.aot import topologies, training_step
from pause_jax.aot.chips import CHIPS
from pause_jax.config import Execution, from_config_dict
from pause_jax.distributed import kernels, memory
from pause_jax.distributed.mesh import AXES, make_mesh, mesh_shape
from pause_jax.errors import UserError
from pause_jax.system import host_memory
from pause_jax.training import initialize
from pause_jax.training import run as train
from pause_jax.training.optimizer import make_optimizer

ROOT = Path(__file__).parents[2]
SHIPPED = [
    *((paper, f"{size},{chips}", chips) for size in paper.SIZES for chips in paper.LAYOUTS[size]),
    *((llama, f"8b,{chips}", chips) for chips in llama.LAYOUTS),
]


def resolved(module, arg, platform="", **run):
    """With what a platform decides, where one is given; `check_training` asks the mesh."""
    config = train.resolve(from_config_dict(module.get_config(arg)))
    config = dataclasses.replace(config, run=dataclasses.replace(config.run, **run))
    return kernels.resolve_config(config, platform) if platform else config


def total(config, devices):
    return sum(
        memory.training_bytes(config, dict(zip(AXES, mesh_shape(config.run.mesh, devices), strict=True))).values()
    )


class Devices:
    """Stands in for a mesh of devices that are not here."""

    def __init__(self, kind, sizes, stats=None, platform="tpu"):
        device = SimpleNamespace(device_kind=kind, platform=platform, memory_stats=lambda: stats)
        self.devices = SimpleNamespace(flat=[device])
        self.shape, self.local_devices = dict(zip(AXES, sizes, strict=True)), [device]
        self.size = sizes[0] * sizes[1] * sizes[2]


def test_the_state_is_cut_as_the_table_of_shardings_says():
    config = resolved(paper, "1b", "tpu")
    whole = memory.parameter_bytes(config, dict(zip(AXES, (1, 1, 1, 1), strict=True)))
    assert whole == 4 * (1_345_085_440 + 2048)
    cut = memory.training_bytes(config, dict(zip(AXES, (2, 4, 2, 1), strict=True)))
    assert cut["parameters"] == pytest.approx(whole / 8, rel=0.01)
    assert cut["optimizer"] == 2 * cut["parameters"] + 4  # two moments and a counter
    assert memory.training_bytes(config, dict(zip(AXES, (1, 4, 1, 1), strict=True)), on_host=2)["checkpoint"] == (
        pytest.approx(3 * whole / 4, rel=0.01)
    )


@pytest.mark.parametrize("remat", ["none", "dots", "full"])
def test_the_formula_is_near_what_the_compiler_says(remat):
    config = resolved(quickstart, "pause", "cpu")
    execution = dataclasses.replace(config.run.execution, remat=remat)
    config = dataclasses.replace(config, run=dataclasses.replace(config.run, execution=execution))
    config = dataclasses.replace(config, model=dataclasses.replace(config.model, num_layers=2))
    mesh = make_mesh(config.run.mesh, jax.devices()[:1])
    state = initialize.abstract_state(config, make_optimizer(config.optimizer), mesh)
    told = training_step.lower(config, mesh, state).compile().memory_analysis()
    held = told.temp_size_in_bytes + told.argument_size_in_bytes
    assert 0.7 < total(config, 1) / held < 1.4


def test_the_formula_is_near_what_libtpu_said_of_this_code():
    """docs/scale.md: compiled for v5e:16x16 it held 9.16 GB."""
    plain = Execution(attention="xla")  # as it was then
    assert 0.8 < total(resolved(paper, "1b,v5e-256", "tpu", execution=plain), 256) / 9.16e9 < 1.3


@pytest.mark.parametrize(("module", "arg", "chips"), SHIPPED, ids=[arg for _, arg, _ in SHIPPED])
def test_every_shipped_layout_fits_its_chips(module, arg, chips):
    topology = topologies.parse(accelerators.TOPOLOGIES[chips])
    assert total(resolved(module, arg, topology.platform), topology.devices) < 0.9 * topology.chip.hbm_bytes


@pytest.mark.parametrize("chip", CHIPS)
def test_what_no_chip_holds_is_refused_on_each(chip):
    """1B with 512 rows in one piece on one device; the sentence offers what would fit, and that is true."""
    config = resolved(paper, "1b")
    mesh = Devices(CHIPS[chip].device_kinds[0], (1, 1, 1, 1))
    with pytest.raises(UserError, match=r"training takes .* GB on one device by formula") as refused:
        memory.check_training(config, mesh)
    assert f"{CHIPS[chip].hbm_bytes / 1e9:.3g} GB are there" in str(refused.value)
    memory.check_training(resolved(paper, "1b", check_memory=False), mesh)


def test_what_is_offered_fits():
    mesh = Devices("TPU v5 lite", (1, 16, 1, 1))
    with pytest.raises(UserError) as refused:
        memory.check_training(resolved(paper, "1b"), mesh)  # the example that was published for v5litepod-16
    assert ": --config.run.accumulation=8 takes " in str(refused.value)
    memory.check_training(resolved(paper, "1b", accumulation=8), mesh)


def test_copies_on_every_device_are_cut_where_that_fits():
    config = resolved(paper, "1b", accumulation=64)
    mesh = Devices("TPU v5 lite", (8, 1, 1, 1))
    with pytest.raises(UserError, match=r"--config\.run\.mesh\.data=1 --config\.run\.mesh\.fsdp=8"):
        memory.check_training(config, mesh)


def test_a_gpu_has_what_jax_takes_of_it():
    config = resolved(paper, "130m,h100-8", "gpu")
    least = total(config, 8)
    for limit in (0.9 * least, 1.1 * least):
        mesh = Devices("NVIDIA H100 80GB HBM3", (1, 8, 1, 1), {"bytes_limit": limit + 5, "bytes_in_use": 5}, "gpu")
        if limit < least:
            with pytest.raises(UserError, match="that JAX may use of a NVIDIA H100 80GB HBM3"):
                memory.check_training(config, mesh)
        else:
            memory.check_training(config, mesh)


def test_unknown_devices_are_not_judged():
    memory.check_training(resolved(paper, "1b"), Devices("Another", (1, 1, 1, 1)))


def test_a_control_groups_limit_refuses_training_and_restoring(monkeypatch):
    config = resolved(quickstart, "pause")
    mesh = make_mesh(config.run.mesh, jax.devices()[:1])
    memory.check_training(config, mesh)
    memory.check_parameters(config, mesh, "it")
    monkeypatch.setattr(host_memory, "available", lambda: (3e6, "left of this machine's control group's limit"))
    with pytest.raises(UserError, match=r"0\.003 GB are there \(left of this machine's control group's limit\)"):
        memory.check_training(config, mesh)
    with pytest.raises(UserError, match=r"the parameters of it take 0\.00331 GB on one device, but 0\.003 GB"):
        memory.check_parameters(config, mesh, "it")


def test_a_model_too_large_for_this_machine_is_refused_at_once(tmp_path):
    """It worked for minutes, until the kernel ended it without a word."""
    start = time.monotonic()
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "launch.train",
            "--config=experiments/llama.py:8b,h100-8",
            "--config.run.mesh.fsdp=1",
            f"--workdir={tmp_path / 'run'}",
            "--config.model.d_model=65536",
            "--config.train.batch_size=4096",
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        env=os.environ | {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": ""},
    )
    assert done.returncode == 2 and done.stderr.startswith("error: training takes "), done.stderr
    assert done.stderr.count("\n") == 1 and not (tmp_path / "run").exists()
    assert time.monotonic() - start < 60  # 5 s on an idle machine


def test_exhausted_memory_is_told_in_a_sentence(capsys):
    from pause_jax.command_line import cli

    assert (
        cli._tell(RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 99 bytes.\nmore")) == cli.EXIT_USER_ERROR
    )
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: there is not enough memory (RESOURCE_EXHAUSTED: Out of memory allocating 99 bytes.)")
    assert cli._tell(RuntimeError("another")) == cli.EXIT_DEFECT

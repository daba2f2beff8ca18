"""Which chips this machine has, of faked /dev trees, and what a worker of a sweep sees of them."""

from __future__ import annotations

import dataclasses
import importlib.util
import os

import pytest

from pause_jax.errors import UserError
from pause_jax.sweeps import run_job
from pause_jax.sweeps.executors import local
from pause_jax.system import local_chips
from pause_jax.system.local_chips import Chips


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """Makes files below /dev, and says which of JAX's plugins are installed."""

    def make(files, plugins=("jax_cuda13_plugin", "libtpu"), **environment):
        for file in files:
            (tmp_path / "dev" / file).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "dev" / file).touch()
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: name in plugins or None)
        return local_chips.of_this_machine(tmp_path, environment)

    return make


GPUS = [*(f"nvidia{i}" for i in range(8)), "nvidiactl", "nvidia-uvm"]


def test_gpus(machine):
    assert machine(GPUS) == Chips("gpu", tuple("01234567"))
    assert machine(GPUS, CUDA_VISIBLE_DEVICES="2, GPU-5f,MIG-1").names == ("2", "GPU-5f", "MIG-1")
    assert machine(GPUS, CUDA_VISIBLE_DEVICES="") is None
    assert machine(GPUS, JAX_PLATFORMS="cuda,cpu").kind == "gpu"


@pytest.mark.parametrize(
    "files", [[f"accel{i}" for i in range(4)], ["vfio/vfio", *(f"vfio/{i}" for i in (7, 8, 9, 10))]]
)
def test_tpus(machine, files):
    assert machine(files) == Chips("tpu", tuple("0123"))
    assert machine(files, TPU_VISIBLE_CHIPS="1,3").names == ("1", "3")


def test_none_where_jax_sees_none(machine):
    assert machine([]) is None
    assert machine(GPUS, plugins=()) is None and machine(GPUS, plugins=("libtpu",)) is None
    assert machine(GPUS, JAX_PLATFORMS="cpu") is None


@pytest.mark.parametrize(
    ("asked", "chips", "jobs", "count"),
    [
        (0, 8, 100, 8),
        (0, 8, 3, 3),
        (4, 8, 100, 4),
        (1, 8, 100, 1),
    ],
)
def test_a_worker_a_chip(asked, chips, jobs, count):
    assert local.worker_count(asked, Chips("gpu", tuple(map(str, range(chips)))), jobs) == count


def test_two_workers_never_have_one_chip(monkeypatch):
    with pytest.raises(UserError, match=r"--workers=3 is more than the 2 accelerators of this machine"):
        local.worker_count(3, Chips("gpu", ("0", "1")), 10)
    monkeypatch.setattr(local, "available_cores", lambda: list(range(6)))
    assert local.worker_count(0, None, 10) == 6 and local.worker_count(9, None, 10) == 9


def test_each_sees_its_own_but_a_single_one_all():
    gpus, tpus = Chips("gpu", ("4", "6")), Chips("tpu", ("0", "1"))
    assert [one.own_environment for one in run_job.setups(2, gpus, asked=0)] == [
        {"CUDA_VISIBLE_DEVICES": "4"},
        {"CUDA_VISIBLE_DEVICES": "6"},
    ]
    alone = [one.own_environment for one in run_job.setups(2, tpus, asked=0)]
    assert [one.pop("TPU_VISIBLE_CHIPS") for one in alone] == ["0", "1"]
    assert alone[0] == alone[1] and alone[0]["TPU_CHIPS_PER_PROCESS_BOUNDS"] == "1,1,1"
    assert run_job.setups(2, None, asked=0) == [run_job.SETUP] * 2
    assert run_job.setups(1, gpus, asked=1) == [run_job.SETUP]


def tell(job):
    """What the workers run."""
    print(os.environ["CUDA_VISIBLE_DEVICES"], os.environ["BOTH"], flush=True)
    return "done"


def test_worker_processes_have_variables_of_their_own(tmp_path):
    both = local.Setup(f"{__name__}:tell", environment={"BOTH": "x"})
    made = [dataclasses.replace(both, own_environment={"CUDA_VISIBLE_DEVICES": str(i)}) for i in range(2)]
    pool = [local.Worker(*one) for one in zip(made, local.core_groups(2), strict=True)]
    try:
        for number, worker in enumerate(pool):
            worker.send("job", tmp_path / str(number))
            assert local.ready([worker], timeout=120) == [worker] and worker.receive().outcome == "done"
    finally:
        for worker in pool:
            worker.close()
    assert [(tmp_path / str(number)).read_text() for number in range(2)] == ["0 x\n", "1 x\n"]

"""Several real processes as one run: start-up, agreement, losses, checkpoints, stops, and ends that are bad."""

import re
import threading
from pathlib import Path

import numpy as np
import pytest

from pause_jax.checkpointing.run_folder import RunFolder
from pause_jax.config import MeshConfig
from pause_jax.distributed import processes
from pause_jax.distributed.mesh import make_mesh, mesh_shape
from pause_jax.errors import UserError
from pause_jax.logging.writers import read_jsonl
from tests.distributed.process_groups import SIGKILL, SIGSTOP, SIGTERM, free_port, run_all, run_group


def assert_all_end_with(ended, code, sentence, within=60):
    for one in ended:
        assert one.code == code, one.stderr
        assert re.search(sentence, one.sentence) and one.sentence.startswith("error: "), one.stderr
        assert "Traceback" not in one.stderr and one.seconds < within


def test_the_sentence_names_who_differs_and_in_what():
    ours = {"a": "1", "b": "2", "c": "3", "d": "4"}
    assert processes._verdict(ours, {1: ours, 2: dict(ours)}) == ""
    assert processes._verdict(ours, {1: ours, 2: ours | {"b": "7"}}).startswith(
        "process 2 differs from process 0 in b (7 there, 2 here): start all"
    )
    four = {name: "9" for name in ours}
    assert processes._verdict(ours, {1: four, 2: ours, 3: four, 4: {}}).startswith(
        "process 1 differs from process 0 in a (9 there, 1 here), b (9 there, 2 here), c (9 there, 3 here) and 1 more, "
        "and so do 2 more processes: "
    )
    assert "in e (5 there, nothing here)" in processes._verdict(ours, {1: ours | {"e": "5"}})


STEP = {
    "SLURM_JOB_ID": "7",
    "SLURM_STEP_NODELIST": "node[12-13]",
    "SLURM_NTASKS": "2",
    "SLURM_PROCID": "1",
    "SLURM_LOCALID": "0",
    "SLURM_STEP_NUM_TASKS": "2",
    "SLURM_STEP_TASKS_PER_NODE": "1(x2)",
}


@pytest.mark.parametrize(
    "variables, found",
    [
        ({}, None),
        (STEP, ("node12", 2, 1, ())),
        (STEP | {"SLURM_STEP_NUM_TASKS": "1"}, None),  # srun --pty bash in an allocation for two
        ({"SLURM_JOB_ID": "7", "SLURM_NTASKS": "2", "SLURM_PROCID": "0"}, None),  # the batch script itself
        (STEP | {"SLURM_STEP_TASKS_PER_NODE": "2", "SLURM_LOCALID": "1"}, ("node12", 2, 1, (1,))),
    ],
)
def test_slurm_is_detected_by_the_step(monkeypatch, variables, found):
    for name in STEP:
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    address = processes._detected(timeout=1)
    if found is None:
        assert address is None
    else:
        assert address.coordinator.split(":")[0] == found[0]
        assert (address.num_processes, address.process_id, address.local_device_ids) == found[1:]


def test_tpu_hosts_are_detected_by_what_gke_tells_them(monkeypatch):
    """Two slices of two hosts, as GKE's variables describe them to the second host of the second slice."""
    from jax._src.clusters import cloud_tpu_cluster

    monkeypatch.setenv("JAX_PLATFORMS", "")
    monkeypatch.setattr(cloud_tpu_cluster, "running_in_cloud_tpu_vm", True)
    monkeypatch.setattr(processes.importlib.util, "find_spec", lambda name: name == "libtpu")
    told = {
        "TPU_WORKER_HOSTNAMES": "a,b",
        "TPU_WORKER_ID": "1",
        "MEGASCALE_NUM_SLICES": "2",
        "MEGASCALE_SLICE_ID": "1",
        "MEGASCALE_COORDINATOR_ADDRESS": "localhost:8080",
    }
    for name, value in told.items():
        monkeypatch.setenv(name, value)
    assert processes._detected(timeout=1) == processes.Address("localhost:8482", num_processes=4, process_id=3)
    monkeypatch.setenv("MEGASCALE_NUM_SLICES", "1")
    monkeypatch.setenv("TPU_WORKER_HOSTNAMES", "a")
    assert processes._detected(timeout=1) is None


@pytest.mark.parametrize(
    "fields, sentence",
    [
        (("node1", 2, 0), r"--coordinator=node1 is no HOST:PORT"),
        (("node1:1", 2, 2), r"--process_id=2 does not go with --num_processes=2"),
        (("node1:1", 0, 0), r"does not go with --num_processes=0"),
    ],
)
def test_an_address_that_cannot_be(fields, sentence):
    with pytest.raises(UserError, match=sentence):
        processes.Address(*fields)


class FakeTpu:
    """Enough of a device for a mesh: chip `number` of a slice of 2 x 4."""

    platform, device_kind, core_on_chip, client = "tpu", "TPU v5 lite", 0, None

    def __init__(self, number, slice_index):
        self.id, self.slice_index = 8 * slice_index + number, slice_index
        self.coords, self.process_index = (number % 2, number // 2, 0), self.id // 4

    def __repr__(self):
        return f"chip {self.id}"


SLICES = [FakeTpu(number, slice_index) for number in range(8) for slice_index in range(4)]


def test_only_the_data_axis_goes_from_slice_to_slice():
    for config in (MeshConfig(data=4, fsdp=8, dcn_data=4), MeshConfig(data=-1, fsdp=2, tensor=2, dcn_data=4)):
        mesh = make_mesh(config, SLICES)
        assert dict(mesh.shape) == dict(zip(mesh.axis_names, mesh_shape(config, 32), strict=True))
        assert len(set(mesh.devices.flat)) == 32
        slices = np.vectorize(lambda device: device.slice_index)(mesh.devices)
        per_slice = mesh.shape["data"] // 4
        for row in range(mesh.shape["data"]):
            assert (slices[row] == row // per_slice).all()


def test_devices_that_launch_compile_describes_are_one_slice():
    """They are not there, and know of no slice."""
    described = [FakeTpu(number, 0) for number in range(8)]
    for device in described:
        del device.slice_index
    assert make_mesh(MeshConfig(data=2, fsdp=4), described).shape["fsdp"] == 4


@pytest.mark.parametrize(
    "config, sentence",
    [
        (MeshConfig(), r"dcn_data = 1, but the 32 devices are those of 4 TPU slices: set --config.run.mesh.dcn_data=4"),
        (MeshConfig(dcn_data=2), r"dcn_data = 2, but the 32 devices are those of 4 TPU slices"),
        (MeshConfig(data=2, fsdp=16, dcn_data=4), r"data = 2 is not divisible by config\.run\.mesh\.dcn_data = 4"),
        (MeshConfig(data=3), r"does not fit 32 devices"),
    ],
)
def test_a_mesh_that_does_not_fit_the_slices(config, sentence):
    with pytest.raises(UserError, match=sentence):
        make_mesh(config, SLICES)


def test_one_process_has_one_slice():
    with pytest.raises(UserError, match=r"dcn_data = 2, but the 8 devices are those of 1 TPU slice: set .*dcn_data=1"):
        make_mesh(MeshConfig(dcn_data=2))
    with pytest.raises(UserError, match=r"dcn_data is 0, but must be at least 1"):
        MeshConfig(dcn_data=0).validate()


def train(folder, steps=20, **more):
    return {"train": str(folder), "steps": steps, **more}


def make_runs(root: Path) -> None:
    """Folders in `root` of runs of 20 steps: gpt_N on N processes, N_on_M moved at step 10, "stopped" and gone on.

    Each training compiles anew in each process, which is what takes the time: no family beside gpt, which
    tests/distributed/test_meshes.py has.
    """

    def start(size, *actions):
        ended = run_group(size, *actions)
        for one in ended:
            assert one.code == 0, one.stderr
        writers = [k for k, one in enumerate(ended) if re.search("^gpt_|_on_", one.stdout, re.MULTILINE)]
        assert writers == [0]  # the progress line

    def moved(size, to):
        folder = root / f"{size}_on_{to}"
        return {"move": str(root / f"gpt_{size}"), "to": str(folder)}, train(folder)

    start(2, train(root / "gpt_2"), train(root / "stopped", signal=[1, 6, SIGTERM]))
    stopped_at = RunFolder(root / "stopped").saved_steps()[-1]
    assert 6 <= stopped_at < 20
    start(1, train(root / "gpt_1"), *moved(2, to=1))
    start(4, train(root / "gpt_4"))
    start(2, *moved(1, to=2), train(root / "stopped"))


def losses(folder):
    records = read_jsonl(folder / "metrics.jsonl")
    assert [record["step"] for record in records] == list(range(1, 21))  # each written once, by one process
    return np.array([record["loss"] for record in records])


@pytest.mark.slow
def test_one_two_and_four_processes_train_alike_also_where_they_go_on_from_each_other(tmp_path):
    """One test, or several workers of pytest would make the runs each."""
    make_runs(tmp_path)
    reference = losses(tmp_path / "gpt_1")
    assert reference[-1] < 0.8 * reference[0]
    for size in (2, 4):
        ratio = losses(tmp_path / f"gpt_{size}") / reference
        assert abs(ratio[0] - 1) < 1e-6 and np.abs(ratio - 1).max() < 1e-4, (size, ratio)
        assert len(list((tmp_path / f"gpt_{size}" / "tensorboard").iterdir())) == 1  # written by one process
    for moved in ("2_on_1", "1_on_2"):
        assert np.abs(losses(tmp_path / moved) / reference - 1).max() < 1e-4, moved
    # A signal to one process has stopped both at one step.
    np.testing.assert_array_equal(losses(tmp_path / "stopped"), losses(tmp_path / "gpt_2"))


@pytest.mark.slow
@pytest.mark.parametrize("lost, number", [(1, SIGKILL), (0, SIGKILL), (1, SIGSTOP)], ids=["kill1", "kill0", "stop1"])
def test_when_a_process_is_lost_the_others_end(tmp_path, lost, number):
    ended = run_group(2, train(tmp_path / "run", signal=[lost, 6, number]), HEARTBEAT_SECONDS="10")
    assert ended[lost].code == -SIGKILL  # the one that was stopped, by the test
    assert_all_end_with(
        [ended[1 - lost]], processes.EXIT_PEER_LOST, r"another process of this run was lost", within=150
    )


@pytest.mark.slow
def test_what_differs_is_told_by_all(tmp_path):
    same, other = {"config.seed": 1, "data.checksum": "ab"}, {"config.seed": 1, "data.checksum": "cd"}
    ended = run_group(4, {"agree": [same] * 4}, {"agree": [same, same, other, same]})
    assert_all_end_with(ended, 2, r'process 2 differs from process 0 in data\.checksum \("cd" there, "ab" here\)')


@pytest.mark.slow
@pytest.mark.parametrize("who", [0, 1])
def test_a_mistake_in_one_process_ends_all(who):
    fail = [None, None]
    fail[who] = "there is no file on this machine"
    ended = run_group(2, {"fail": fail}, {"agree": [{}, {}]})
    assert_all_end_with(ended, 2, r"there is no file on this machine")
    assert ended[1 - who].sentence == f"error: process {who}: {fail[who]}"


@pytest.mark.slow
def test_one_that_is_slow_to_end_says_why_all_the_same():
    """Process 0 is gone by then, and JAX aborts the other."""
    ended = run_group(2, {"fail": ["there is no file", None]}, {"agree": [{}, {}]}, SECONDS_TO_LEAVE="3")
    assert_all_end_with(ended, 2, r"there is no file")


def test_a_service_that_goes_while_it_answers_holds_nobody(monkeypatch):
    """Process 0 ends once it knows that all have heard: it may never answer the one that told it so."""

    class Service:
        def key_value_set(self, key, value, allow_overwrite):
            if key.startswith("heard"):
                threading.Event().wait()

    monkeypatch.setattr(processes, "_group", processes._Group(Service(), size=2, index=1))
    monkeypatch.setattr(processes, "_on_abort", lambda do: None)
    monkeypatch.setattr(processes, "ENDING_SECONDS", 0.2)
    telling = threading.Thread(target=processes._tell, args=["why"], daemon=True)
    telling.start()
    telling.join(10)
    assert not telling.is_alive()


def train_commands(folder, *of_second, module="launch.train"):
    common = [
        "--config=experiments/quickstart.py:pause",
        f"--workdir={folder}",
        "--num_processes=2",
        f"--coordinator=localhost:{free_port()}",
    ]
    return [["launch.train", *common, "--process_id=0"], [module, *common, "--process_id=1", *of_second]]


@pytest.mark.slow
@pytest.mark.parametrize(
    "more, module, sentence",
    [
        (
            ["--config.train.batch_size=16", "--config.run.accumulation=2"],
            "launch.train",
            r"process 1 differs from process 0 in config\.run\.accumulation \(2 there, 1 here\), "
            r"config\.train\.batch_size \(16 there, 8 here\): start all",
        ),
        (
            [],
            "tests.distributed.train_of_other_code",
            r'process 1 differs from process 0 in the code\'s version \("another" there',
        ),
        (["--config.train.stepz=1"], "launch.train", r"config\.train\.stepz: the config has no such field"),
    ],
    ids=["config", "code", "mistake"],
)
def test_the_program_started_differently(tmp_path, more, module, sentence):
    ended = run_all(train_commands(tmp_path / "run", *more, module=module))
    assert_all_end_with(ended, 2, sentence)
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_coordinator_that_nobody_answers_at(tmp_path):
    both = [[*command, "--start_timeout=5"] for command in train_commands(tmp_path / "run")]
    other_port = [a if "coordinator" not in a else f"--coordinator=localhost:{free_port()}" for a in both[1]]
    first, second = run_all([both[0], other_port])
    assert_all_end_with([first], 2, r"not all 2 processes met at localhost:\d+ within 5 s")
    assert_all_end_with([second], 2, r"nothing answers at the coordinator's address localhost:\d+ \(.*\) after 5 s")
    assert not (tmp_path / "run").exists()


def test_flags_that_go_together(tmp_path):
    command = ["launch.train", "--config=experiments/quickstart.py:pause", f"--workdir={tmp_path}"]
    ended = run_all([[*command, "--coordinator=localhost:1"]])
    assert_all_end_with(ended, 2, r"--num_processes is missing: --coordinator, --num_processes and --process_id go")

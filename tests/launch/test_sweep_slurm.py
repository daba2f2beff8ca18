"""A sweep through a real SLURM of two nodes on this machine: disturbed, it ends with the rows of a local one."""

import json
import signal
import subprocess
import sys

import pytest

from pause_jax.checkpointing.run_folder import RunFolder
from pause_jax.logging.writers import read_jsonl
from pause_jax.report.results import read_results
from tests.launch.test_slurm import ROOT, slurm  # noqa: F401  (a fixture)
from tests.launch.test_sweep import SWEEP, trained, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]  # another SLURM may have to end first
ON_SLURM = ["--config.executor=slurm", "--retries=1"]


@pytest.fixture
def sweep(tmp_path, slurm):  # noqa: F811
    """Starts the program on the tiny sweep, in its own folder."""
    pytest.importorskip("submitit")
    text = SWEEP.replace("return sweep", 'sweep.executor, sweep.slurm = "local", {"time": 30}\n    return sweep')
    (tmp_path / "tiny.py").write_text(text)

    drivers = []

    def start(folder, *more, argument="1"):
        config = f"--config={tmp_path}/tiny.py:{argument}"
        command = [sys.executable, "-m", "launch.sweep", config, f"--workdir={folder}", *more]
        drivers.append(
            subprocess.Popen(command, cwd=ROOT, env=slurm, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        )
        return drivers[-1]

    yield start
    for driver in drivers:
        driver.kill()
        driver.wait()
    if left := list(queued(slurm).values()):
        subprocess.run(["scancel", *left], env=slurm, check=True)
        wait_for(lambda: not queued(slurm))


def queued(environment):
    """Names and numbers of SLURM's jobs that wait or run."""
    command = ["squeue", "--noheader", "--format=%i %j"]
    told = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    return {name.partition("@")[0]: number for number, name in map(str.split, told.splitlines())}


def test_killed_and_cancelled_it_ends_with_the_rows_of_a_local_sweep(tmp_path, sweep, slurm):  # noqa: F811
    folder = tmp_path / "sweep"
    killed = sweep(folder, *ON_SLURM)
    wait_for(lambda: len(queued(slurm)) == 6 and list(folder.glob("runs/*/metrics.jsonl")))
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    numbers = queued(slurm)
    lost = next(name for name in numbers if name.startswith("finetune-"))
    subprocess.run(["scancel", numbers[lost]], env=slurm, check=True)
    wait_for(lambda: len(list(folder.glob("runs/pretrain-*/checkpoints/30/commit_success.txt"))) == 2)

    again = sweep(folder, *ON_SLURM)
    output = again.communicate(timeout=300)[0]
    assert again.returncode == 0 and "6 of 6 jobs done" in output, output
    assert set(trained(folder).values()) == {30} and len(trained(folder)) == 4  # nothing twice
    kept = {entry["name"]: entry for entry in json.loads((folder / "jobs.json").read_text())["jobs"]}
    assert all(entry["status"] in ("cached", "done") for entry in kept.values())

    local = sweep(tmp_path / "local", "--workers=2")
    assert local.wait(timeout=300) == 0
    theirs, ours = (read_results(path / "results.csv") for path in (tmp_path / "local", folder))
    key = lambda row: (row.checkpoint, row.m_inf, row.task, row.metric, row.seed, row.pretrain)  # noqa: E731
    assert [key(row) for row in ours] == [key(row) for row in theirs]
    for one, other in zip(ours, theirs, strict=True):
        assert one.value == pytest.approx(other.value, rel=1e-4) and one.model_flops == other.model_flops


def test_a_mistaken_job_stops_only_what_needs_it(tmp_path, sweep, slurm):  # noqa: F811
    failing = sweep(tmp_path / "sweep", *ON_SLURM, argument="1,nonsense")
    output = failing.communicate(timeout=300)[0]
    assert failing.returncode == 1 and "2 of 6 jobs done" in output, output
    failures = json.loads((tmp_path / "sweep" / "failures.json").read_text())
    assert [f["error"][:5] for f in failures].count("needs") == 2 and len(failures) == 4
    assert "there is no task 'nonsense'" in output and not queued(slurm)


def test_a_requeued_job_saves_and_goes_on_and_ctrl_c_leaves_the_queue_alone(tmp_path, sweep, slurm):  # noqa: F811
    def state(number):
        command = ["squeue", "--noheader", f"--jobs={number}", "--format=%T"]
        return subprocess.run(command, env=slurm, capture_output=True, text=True, check=True).stdout.strip()

    config = "--config.pretrain.config"
    driver = sweep(tmp_path / "sweep", *ON_SLURM, f"{config}.train.steps=2000", f"{config}.run.checkpoint_every=2000")
    wait_for(lambda: any(RunFolder(path).metrics.is_file() for path in (tmp_path / "sweep").glob("runs/*")))
    run = next(RunFolder(path) for path in (tmp_path / "sweep").glob("runs/*") if RunFolder(path).metrics.is_file())
    number = queued(slurm)[run.path.name]
    subprocess.run(["scontrol", "requeue", number], env=slurm, check=True)
    wait_for(lambda: state(number) == "PENDING")
    (saved,) = run.saved_steps()
    assert 0 < saved < 2000 and [record["step"] for record in read_jsonl(run.metrics)] == list(range(1, saved + 1))
    driver.send_signal(signal.SIGINT)
    output = driver.communicate(timeout=60)[0]
    assert driver.returncode == 75 and "what SLURM has queued stays there" in output, output
    assert len(queued(slurm)) == 6
    subprocess.run(["scontrol", "update", f"JobId={number}", "StartTime=now"], env=slurm, check=True)
    wait_for(lambda: len(read_jsonl(run.metrics)) > saved)  # it goes on without a driver
    assert [record["step"] for record in read_jsonl(run.metrics)][: saved + 1] == list(range(1, saved + 2))

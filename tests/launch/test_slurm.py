"""A job through a real SLURM of two nodes on this machine: trained straight, and preempted in the middle."""

import fcntl
import json
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import jax
import numpy as np
import pytest

from pause_jax import trees
from pause_jax.checkpointing import checkpoints
from pause_jax.checkpointing.run_folder import RunFolder
from pause_jax.config import MeshConfig
from pause_jax.distributed.mesh import make_mesh
from pause_jax.logging.writers import read_jsonl

ROOT = Path(__file__).resolve().parents[2]
LOCAL_SLURM = Path(os.environ.get("PAUSE_JAX_LOCAL_SLURM", ROOT.parent / "shared" / "slurm" / "local_slurm.sh"))
STEPS = 300
ARGUMENTS = [
    "--config=experiments/quickstart.py:pause",
    f"--config.train.steps={STEPS}",
    "--config.model.num_layers=2",
    "--config.model.d_model=64",
    "--config.model.d_ff=128",
    "--config.data.length=128",
    "--config.run.log_every=1",
    "--config.run.validate_every=0",
    "--config.run.checkpoint_every=100000",
    "--config.run.loggers=jsonl",
]


@pytest.fixture(scope="module")
def slurm():
    """The environment in which SLURM's commands find the one that is started here."""
    if not LOCAL_SLURM.is_file():
        pytest.skip(f"no {LOCAL_SLURM}, which starts a SLURM on this machine: set PAUSE_JAX_LOCAL_SLURM")
    if os.getuid() != 0 or not (shutil.which("slurmctld") or shutil.which("apt-get")):
        pytest.skip("to install and start SLURM takes root and apt-get")
    alone = (Path(tempfile.gettempdir()) / "pause_jax_slurm.lock").open("w")
    fcntl.flock(alone, fcntl.LOCK_EX)  # its ports are fixed, and another test process may have one
    folder = Path(tempfile.mkdtemp(prefix="slurm"))  # munged, another user, is to reach it: pytest's folders are closed
    folder.chmod(0o755)
    started = subprocess.run(["bash", LOCAL_SLURM, "start", folder], capture_output=True, text=True)
    if not shutil.which("slurmctld"):
        pytest.skip(f"SLURM cannot be installed: {(folder / 'install.log').read_text()[-300:]}")
    flags = "--xla_force_host_platform_device_count=1 --xla_backend_optimization_level=0"
    try:
        assert started.returncode == 0, started.stderr
        yield os.environ | {"SLURM_CONF": str(folder / "slurm.conf"), "XLA_FLAGS": flags}
    finally:
        subprocess.run(["bash", LOCAL_SLURM, "stop", folder], check=True)
        shutil.rmtree(folder, ignore_errors=True)
        alone.close()


class Job:
    """One job of launch/slurm/train.sbatch."""

    def __init__(self, slurm, folder):
        self._slurm, self.log = slurm, folder / "job.log"
        script = ["sbatch", "--parsable", f"--output={self.log}", "launch/slurm/train.sbatch"]
        self.id = self._call(*script, *ARGUMENTS, f"--workdir={folder / 'run'}")
        self.folder = RunFolder(folder / "run")

    def state(self):
        return self._call("squeue", "--noheader", "--states=all", f"--jobs={self.id}", "--format=%T")

    def steps(self):
        return len(read_jsonl(self.folder.metrics)) if self.folder.metrics.is_file() else 0

    def wait(self, until, seconds=400):
        deadline = time.monotonic() + seconds
        while not until():
            text = self.log.read_text() if self.log.is_file() else "no log"
            assert self.state() not in ("FAILED", "CANCELLED", "NODE_FAIL"), text
            assert time.monotonic() < deadline, f"{self.state()}\n{text}"
            time.sleep(0.2)

    def requeue(self):
        self._call("scontrol", "requeue", self.id)

    def start_now(self):
        """A requeued job begins after two minutes; nobody needs to wait for that here."""
        self._call("scontrol", "update", f"JobId={self.id}", "StartTime=now")

    def _call(self, *command):
        done = subprocess.run(command, env=self._slurm, cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()


def parameters(folder):
    mesh = make_mesh(MeshConfig(data=1), jax.devices()[:1])
    return trees.flatten(jax.device_get(checkpoints.restore_params(folder.checkpoints, STEPS, folder.config(), mesh)))


@pytest.mark.slow
def test_a_preempted_job_goes_on_and_ends_as_an_undisturbed_one(slurm, tmp_path, monkeypatch):
    monkeypatch.setitem(slurm, "PAUSE_JAX_PYTHON", str(ROOT / ".venv/bin/python"))
    for name in ("straight", "preempted"):
        (tmp_path / name).mkdir()
    preempted = Job(slurm, tmp_path / "preempted")
    preempted.wait(lambda: preempted.steps() >= 20)
    preempted.requeue()
    preempted.wait(lambda: preempted.state() == "PENDING")
    stopped_at = preempted.folder.saved_steps()
    assert len(stopped_at) == 1 and 20 <= stopped_at[0] < STEPS, preempted.log.read_text()
    preempted.start_now()
    preempted.wait(lambda: preempted.state() == "COMPLETED")
    assert (
        f"stopped before the end, everything saved; run the same command again to go on from {preempted.folder.path}"
        in preempted.log.read_text()
    )
    straight = Job(slurm, tmp_path / "straight")
    straight.wait(lambda: straight.state() == "COMPLETED")
    for path, leaf in parameters(straight.folder).items():
        np.testing.assert_array_equal(leaf, parameters(preempted.folder)[path], err_msg=path)
    ours, theirs = ([(r["step"], r["loss"]) for r in read_jsonl(job.folder.metrics)] for job in (preempted, straight))
    assert ours == theirs and len(ours) == STEPS
    assert json.loads((straight.folder.path / "config.json").read_text())["train"]["steps"] == STEPS

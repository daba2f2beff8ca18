"""What goes to clusters that we have not got: manifests against their schema, scripts against stand-ins."""

import os
import re
import string
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
VALUES = {
    "NAME": "pause-1b",
    "CONFIG": "experiments/paper.py:1b,v5e-256",
    "IMAGE": "registry/pause_jax:1",
    "CLAIM": "runs",
    "FUSE": "true",
    "SERVICE_ACCOUNT": "runs",
    "SLICES": "2",
    "ACCELERATOR": "tpu-v5-lite-podslice",
    "TOPOLOGY": "16x16",
    "HOSTS": "64",
    "CHIPS": "4",
}


@pytest.fixture(scope="module")
def manifest():
    text = (ROOT / "launch/gke/jobset.yaml").read_text()
    return yaml.safe_load(string.Template(text).substitute(VALUES))  # raises where a value is missing


def test_the_jobset_is_one(manifest):
    """No field is misspelt or misplaced: those that the models do not know would be lost on the way through them."""
    from kubeflow_trainer_api import models

    jobset = models.JobsetV1alpha2JobSet.from_dict(manifest)
    assert jobset.to_dict() == manifest
    misspelt = manifest | {"spec": manifest["spec"] | {"failurePolicies": {}}}
    assert models.JobsetV1alpha2JobSet.from_dict(misspelt).to_dict() != misspelt


def test_the_jobset_restarts_what_a_restart_can_cure(manifest):
    from pause_jax.command_line import cli

    job = manifest["spec"]["replicatedJobs"][0]["template"]["spec"]
    (rule,) = job["podFailurePolicy"]["rules"]
    (container,) = job["template"]["spec"]["containers"]
    assert rule["onExitCodes"]["containerName"] == container["name"]
    assert set(rule["onExitCodes"]["values"]) == {cli.EXIT_USER_ERROR, cli.EXIT_STOPPED_ITSELF}
    assert job["backoffLimit"] == 0 and manifest["spec"]["failurePolicy"]["maxRestarts"] > 0
    assert job["template"]["spec"]["restartPolicy"] == "Never"  # Kubernetes wants it for a podFailurePolicy


def test_a_bucket_can_be_mounted_and_spot_capacity_used(manifest):
    """GKE's words for it: an annotation of the pod, its service account, the taint of spot nodes."""
    pod = manifest["spec"]["replicatedJobs"][0]["template"]["spec"]["template"]
    assert pod["metadata"]["annotations"] == {"gke-gcsfuse/volumes": "true"}
    assert pod["spec"]["serviceAccountName"] == "runs"
    spot = {"key": "cloud.google.com/gke-spot", "operator": "Equal", "value": "true", "effect": "NoSchedule"}
    assert pod["spec"]["tolerations"] == [spot]
    (container,) = pod["spec"]["containers"]
    cache = {"name": "JAX_COMPILATION_CACHE_DIR", "value": "/runs/.xla"}
    assert container["env"] == [cache] and container["volumeMounts"][0]["mountPath"] == "/runs"


def test_xpk_restarts_what_a_restart_can_cure():
    from pause_jax.command_line import cli

    readme = (ROOT / "launch/gke/README.md").read_text()
    assert f"--restart-on-exit-codes={cli.EXIT_PEER_LOST},{cli.EXIT_STOPPED} " in readme


def test_the_readme_names_every_value_of_the_template():
    template = (ROOT / "launch/gke/jobset.yaml").read_text()
    exported = re.findall(r"\b([A-Z_]+)=", (ROOT / "launch/gke/README.md").read_text())
    assert set(re.findall(r"\$\{([A-Z_]+)\}", template)) == set(VALUES) <= set(exported)
    for topology, hosts, chips in re.findall(
        r"\| ([\dx]+) \| (\d+) \| (\d+) \|", (ROOT / "launch/gke/README.md").read_text()
    ):
        assert eval(topology.replace("x", "*")) == int(hosts) * int(chips)


def test_the_containers_arguments_are_those_of_the_program(manifest):
    """The container's command line is understood, but for the config of a model that is too large for this machine."""
    (container,) = manifest["spec"]["replicatedJobs"][0]["template"]["spec"]["template"]["spec"]["containers"]
    arguments = ["--config.run.mesh.dcn_data=0" if "dcn_data" in a else a for a in container["args"]]
    done = subprocess.run([sys.executable, "-m", "launch.train", *arguments], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2 and "config.run.mesh.dcn_data is 0, but must be at least 1" in done.stderr


def test_the_image_is_made_by_the_script_alone():
    steps = [
        line.split(maxsplit=1) for line in (ROOT / "Dockerfile").read_text().splitlines() if line and line[0] != "#"
    ]
    assert [arguments for step, arguments in steps if step == "RUN"] == ["PYTHON=python3 launch/docker/install.sh"]
    assert steps[-1] == ["ENTRYPOINT", '["python3", "-m", "launch.train"]']
    ignored = (ROOT / ".dockerignore").read_text().split()
    assert ".venv" in ignored and not {"requirements.txt", "launch", "pause_jax", "experiments"} & set(ignored)


@pytest.mark.slow
def test_the_images_script_finds_all_it_installs_in_this_environment():
    """Run with the Python of the tests, into which `make` has installed the same file: nothing is left to install."""
    done = subprocess.run(
        ["bash", "launch/docker/install.sh"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHON": sys.executable, "PIP_DRY_RUN": "1"},
    )
    assert done.returncode == 0, done.stderr + done.stdout
    assert "Would install" not in done.stdout and "No broken requirements found" in done.stdout
    for accelerator in ("tpu", "gpu"):
        assert (
            f"jax[{accelerator.replace('gpu', 'cuda13')}]==" in (ROOT / f"requirements-{accelerator}.txt").read_text()
        )


GCLOUD = """#!/usr/bin/env bash
# Stands in for gcloud: one machine, which is this one, and whose home is $FAKE_HOME.
cd "$FAKE_HOME"
case "$4" in
ssh) for argument; do case $argument in --command=*) exec bash -c "${argument#--command=}" ;; esac done ;;
scp) cp "$5" "${6#*:}" ;;
esac
"""

PYTHON = """#!/usr/bin/env bash
# Stands in for Python: tells what it was called with; makes virtual environments; trains until it is stopped.
if [ "$1" = -c ]; then echo "$0"; exit; fi # asked what it is
echo "$@" >>TOLD
if [ "$2" = venv ]; then mkdir -p "$3/bin" && cp "$0" "$3/bin/python"; fi
if [ "$2" = launch.train ] && [ "$3" != --help ]; then trap "echo stopped >>TOLD; exit 75" TERM; sleep 30 & wait; fi
"""


def test_the_tpu_vms_script(tmp_path):
    """install, start, start again, stop: with a gcloud that runs all on this machine, and programs that only tell."""
    home, tools = tmp_path / "home", tmp_path / "tools"
    home.mkdir(), tools.mkdir()
    told = home / "told"
    python = tools / "python3.12"  # as on the images of TPU machines, `python3` is another
    python.write_text(PYTHON.replace("TOLD", str(told)))
    (tools / "gcloud").write_text(GCLOUD)
    for tool in tools.iterdir():
        tool.chmod(0o755)

    def script(*arguments):
        return subprocess.run(
            ["bash", ROOT / "launch/tpu_vm/train.sh", *arguments],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=60,
            env=os.environ | {"PATH": f"{tools}:{os.environ['PATH']}", "FAKE_HOME": str(home)},
        )

    def wait_for(text):
        for _ in range(100):
            if text in told.read_text():
                return True
            subprocess.run(["sleep", "0.1"])
        return False

    assert script("install", "tpu", "zone").returncode == 0
    assert (home / "pause_jax/launch/train.py").is_file()
    assert "-m pip install --progress-bar=off -r requirements-tpu.txt" in told.read_text()
    assert script("start", "tpu", "zone", "--config=a", "--config.data.files=*.txt").returncode == 0
    assert wait_for("-m launch.train --config=a --config.data.files=*.txt\n")
    again = script("start", "tpu", "zone", "--config=a")
    assert again.returncode == 2 and "it runs already" in again.stderr
    assert script("stop", "tpu", "zone").returncode == 0 and wait_for("stopped")
    assert script("restart", "tpu", "zone").returncode == 2

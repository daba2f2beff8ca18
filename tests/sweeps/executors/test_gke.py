"""JobSets of a sweep: against their schema, and the script that applies them, with a kubectl that only tells."""

from __future__ import annotations

import dataclasses
import os
import subprocess
from pathlib import Path

import pytest
import yaml

from pause_jax.config import Config
from pause_jax.errors import UserError
from pause_jax.evaluation.spec import EvaluationSpec
from pause_jax.sweeps.execution import Gke, Resources
from pause_jax.sweeps.executors import gke as gke_lib
from pause_jax.sweeps.graph import Job

TEMPLATE = (Path(__file__).resolve().parents[3] / "launch/gke/jobset.yaml").read_text()
GKE = Gke(image="registry/pause_jax:1", claim="runs", queue="tpus", namespace="lm")
TAKES = Resources(chip="v5e", topology="4x4", slices=2)
JOBS = [
    Job("pretrain-rate0.1-aaaaaaaa", "pretrain", "", Config()),
    Job("pretrain-rate0.0-bbbbbbbb", "pretrain", "", Config()),
    Job("finetune-rate0.1-taskGSM_8K-cccccccc", "finetune", "pretrain-rate0.1-aaaaaaaa", Config()),
    Job("evaluate-x-dddddddd", "evaluate", "finetune-rate0.1-taskGSM_8K-cccccccc", Config(), EvaluationSpec()),
]


@pytest.fixture
def written(tmp_path):
    folder = tmp_path / "My_Sweep.2"
    return gke_lib.write(JOBS, folder, gke=GKE, takes=lambda job: TAKES, template=TEMPLATE)


def test_each_job_is_a_jobset_of_its_stage(written):
    from kubeflow_trainer_api import models

    *files, script = written
    assert [file.name for file in files] == ["1-pretrain.yaml", "2-finetune.yaml", "3-evaluate.yaml"]
    stages = [list(yaml.safe_load_all(file.read_text())) for file in files]
    assert [len(stage) for stage in stages] == [2, 1, 1] and script.name == "apply.sh"
    for job, manifest in zip(JOBS, [one for stage in stages for one in stage], strict=True):
        assert models.JobsetV1alpha2JobSet.from_dict(manifest).to_dict() == manifest
        metadata, (slices,) = manifest["metadata"], manifest["spec"]["replicatedJobs"]
        assert metadata["name"] == f"my-sweep-2-{job.kind}-{job.name[-8:]}" and metadata["namespace"] == "lm"
        assert metadata["labels"] == {
            "pause-jax/sweep": "my-sweep-2",
            "pause-jax/stage": job.kind,
            "kueue.x-k8s.io/queue-name": "tpus",
        }
        assert metadata["annotations"]["pause-jax/job"] == job.name
        spec = slices["template"]["spec"]
        assert (slices["replicas"], spec["parallelism"]) == (1 if job.kind == "evaluate" else 2, 4)
        (container,) = spec["template"]["spec"]["containers"]
        assert [*container["command"], *container["args"]] == [
            "python3",
            "-m",
            "pause_jax",
            "run_job",
            f"--job=/runs/My_Sweep.2/jobs/{job.name}.json",
        ]
        assert container["image"] == GKE.image and container["volumeMounts"][0]["mountPath"] == gke_lib.MOUNT


def test_a_claim_that_is_a_bucket_is_mounted(tmp_path):
    bucket = dataclasses.replace(GKE, gcsfuse=True, service_account="writer")
    for gke, annotation, account in ((GKE, "false", "default"), (bucket, "true", "writer")):
        made = gke_lib.manifest(JOBS[0], "sweep", gke, TAKES, TEMPLATE)
        pod = made["spec"]["replicatedJobs"][0]["template"]["spec"]["template"]
        assert pod["metadata"]["annotations"]["gke-gcsfuse/volumes"] == annotation
        assert pod["spec"]["serviceAccountName"] == account


def test_names_fit_into_those_of_pods(tmp_path):
    name = gke_lib.manifest(JOBS[2], "9_" + 100 * "A", GKE, TAKES, TEMPLATE)["metadata"]["name"]
    assert len(name) <= 40 and name.startswith("aaa") and name.endswith("-finetune-cccccccc")
    with pytest.raises(UserError, match="give it a name with letters"):
        gke_lib.manifest(JOBS[0], "123", GKE, TAKES, TEMPLATE)


def test_what_is_finished_by_now_is_not_written_again(written, tmp_path):
    folder = written[0].parent
    files = gke_lib.write(JOBS[2:], folder.parent, gke=GKE, takes=lambda job: TAKES, template=TEMPLATE)
    assert sorted(path.name for path in folder.iterdir()) == ["1-finetune.yaml", "2-evaluate.yaml", "apply.sh"]
    assert "1-finetune.yaml 2-evaluate.yaml" in files[-1].read_text()


KUBECTL = """#!/usr/bin/env bash
# Tells what it was called with; the first looks at a stage: no answer, one under way, then all ended, one failed.
echo "$@" >>"$TOLD"
[ "$2" = get ] || exit 0
case $(grep -c " get .*stage=${5##*=} " "$TOLD") in
1) exit 1 ;;
2) printf 'a Completed\\nb\\nc StartupPolicyCompleted\\n\\n' ;;
3) printf 'a Completed\\nb StartupPolicyCompleted\\n' ;;
*) printf 'a Completed\\nb StartupPolicyCompleted Failed\\n' ;;
esac
"""


def test_a_stage_is_applied_when_the_one_before_has_ended(written, tmp_path):
    tool, told = tmp_path / "kubectl", tmp_path / "told"
    tool.write_text(KUBECTL)
    tool.chmod(0o755)
    environment = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}", "TOLD": str(told)}
    done = subprocess.run([written[-1]], env=environment | {"SECONDS_BETWEEN_LOOKS": "0"}, timeout=60)
    assert done.returncode == 0
    calls = [line.split()[:5] for line in told.read_text().splitlines()]
    looks = ["--namespace=lm", "get", "jobsets", "-l"]
    assert calls == [
        call
        for number, stage in enumerate(("pretrain", "finetune", "evaluate"), 1)
        for call in [
            ["--namespace=lm", "apply", "-f", f"{number}-{stage}.yaml"],
            *[[*looks, f"pause-jax/sweep=my-sweep-2,pause-jax/stage={stage}"]] * 4,
        ]
    ]

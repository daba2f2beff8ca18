"""A sweep as JobSets on GKE: one manifest for each job, one file for each stage, and a script that applies them.

A JobSet cannot wait for another one, so the stages wait: `apply.sh` applies a stage's file and polls every half minute
until each of its JobSets has ended. One that failed stops nothing else: jobs that depend on it end at once with an
error. Nothing is applied here.
"""

from __future__ import annotations

import re
import string
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pause_jax.errors import UserError
from pause_jax.sweeps.execution import GKE_ACCELERATORS, Gke, Resources
from pause_jax.sweeps.graph import Job
from pause_jax.system.files import write_atomically

MOUNT = "/runs"  # where the template mounts the claim
LONGEST_NAME = 40  # of a JobSet: its pods' names, of 63 characters at most, begin with it

APPLY = """#!/usr/bin/env bash
# Applies the JobSets of this folder, a stage after the other, and waits until all of a stage have ended.
set -euo pipefail
cd "$$(dirname "$$0")"
kubectl=(kubectl${namespace})
conditions='{range .items[*]}{.metadata.name}{range .status.conditions[?(@.status=="True")]} {.type}{end}{"\\n"}{end}'

under_way() { # whether a JobSet of the stage has not ended; a cluster that does not answer has said nothing
  local told
  told=$$("$${kubectl[@]}" get jobsets -l "pause-jax/sweep=${sweep},pause-jax/stage=$$1" \\
    -o jsonpath="$$conditions") || return 0
  grep -qvE ' (Completed|Failed)( |$$)|^$$' <<<"$$told"
}

for file in ${files}; do
  "$${kubectl[@]}" apply -f "$$file"
  stage=$${file#*-}
  while under_way "$${stage%.yaml}"; do sleep "$${SECONDS_BETWEEN_LOOKS:-30}"; done
done
"""


def write(
    jobs: Sequence[Job], workdir: Path, *, gke: Gke, takes: Callable[[Job], Resources], template: str
) -> list[Path]:
    """Write WORKDIR/gke/: the stages' files and apply.sh; return their paths, apply.sh last.

    Args:
      jobs: the jobs that are left, each after the one that it depends on.
      takes: the resources that a job takes.
      template: the text of launch/gke/jobset.yaml.
    """
    import yaml

    folder = workdir / "gke"
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*-*.yaml"):  # from an earlier call; some of its jobs are finished by now
        old.unlink()
    files = []
    for number, kind in enumerate(dict.fromkeys(job.kind for job in jobs), 1):
        manifests = [manifest(job, workdir.name, gke, takes(job), template) for job in jobs if job.kind == kind]
        file = folder / f"{number}-{kind}.yaml"
        write_atomically(file, yaml.safe_dump_all(manifests, sort_keys=False))
        files.append(file)
    script = folder / "apply.sh"
    namespace = f" --namespace={gke.namespace}" if gke.namespace else ""
    names = " ".join(file.name for file in files)
    text = string.Template(APPLY).substitute(files=names, sweep=_slug(workdir.name), namespace=namespace)
    write_atomically(script, text)
    script.chmod(0o755)
    return [*files, script]


def workdir_in_pods(workdir: Path, gke: Gke) -> Path:
    """The sweep's folder as pods see it."""
    return Path(gke.workdir or f"{MOUNT}/{workdir.name}")


def manifest(job: Job, sweep: str, gke: Gke, takes: Resources, template: str) -> dict[str, Any]:
    """The JobSet of a job: the template's, which runs `pause-jax run_job` on the job's file.

    Raises:
      UserError: no JobSet's name can be made of the name of the sweep's folder.
    """
    import yaml

    prefix = _slug(sweep)
    if not prefix:
        raise UserError(f"--workdir=…/{sweep}: JobSets are named after the folder, so give it a name with letters")
    name = f"{prefix}-{job.kind}-{job.name.rpartition('-')[2]}"
    slices = takes.slices if job.evaluation is None else 1  # an evaluation uses one slice: more do not help it
    made: dict[str, Any] = yaml.safe_load(
        string.Template(template).substitute(
            NAME=name,
            CONFIG="",
            IMAGE=gke.image,
            CLAIM=gke.claim,
            SLICES=slices,
            ACCELERATOR=GKE_ACCELERATORS[takes.chip],
            TOPOLOGY=takes.topology,
            HOSTS=takes.hosts(),
            CHIPS=takes.chips_per_host,
            FUSE=str(gke.gcsfuse).lower(),
            SERVICE_ACCOUNT=gke.service_account or "default",
        )
    )
    queue = {"kueue.x-k8s.io/queue-name": gke.queue} if gke.queue else {}
    metadata = made["metadata"]
    metadata["labels"] = {"pause-jax/sweep": prefix, "pause-jax/stage": job.kind, **queue}
    metadata["annotations"]["pause-jax/job"] = job.name
    if gke.namespace:
        metadata["namespace"] = gke.namespace
    container = _pod(made)["containers"][0]
    folder = workdir_in_pods(Path(sweep), gke)
    container["command"] = ["python3", "-m", "pause_jax", "run_job"]
    container["args"] = [f"--job={folder}/jobs/{job.name}.json"]
    return made


def _pod(jobset: Mapping[str, Any]) -> dict[str, Any]:
    return jobset["spec"]["replicatedJobs"][0]["template"]["spec"]["template"]["spec"]


def _slug(text: str) -> str:
    """`text` as a name for Kubernetes: lower case, digits and single hyphens, a letter first."""
    longest = LONGEST_NAME - len("-evaluate-12345678")
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).lstrip("-0123456789")[:longest].strip("-")

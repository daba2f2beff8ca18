"""The config of where a sweep's jobs run (this machine, SLURM or GKE) and what each job takes there.

config.executor    "local" (the default), "slurm" or "gke"
config.slurm       settings of sbatch as submitit calls them: partition, time (minutes), mem ("8GB"), account, qos,
                   setup (lines of the shell before each job), signal_delay_s, …
config.gke         image, claim, workdir, gcsfuse, service_account, queue, namespace (launch/gke/README.md)
config.resources   name of a size, or "default" → what a job takes: the fields of `Resources`
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

from pause_jax.aot.chips import CHIPS, Chip
from pause_jax.errors import UserError, did_you_mean

EXECUTORS = ("local", "slurm", "gke")
GKE_ACCELERATORS = {
    "v4": "tpu-v4-podslice",
    "v5e": "tpu-v5-lite-podslice",
    "v5p": "tpu-v5p-slice",
    "v6e": "tpu-v6e-slice",
}  # cloud.google.com/kubernetes-engine/docs/concepts/plan-tpus


@dataclasses.dataclass(frozen=True)
class Resources:
    """What a job takes. 0 and "" leave it to the cluster."""

    cpus: int = 0  # of each task
    gpus: int = 0  # of each node
    nodes: int = 1
    tasks_per_node: int = 1  # processes
    chip: str = ""  # a name of `CHIPS`: device-hours are computed for it, and on GKE it is requested
    topology: str = ""  # GKE: of a slice, such as 4x4
    slices: int = 1  # GKE
    chips_per_host: int = 4  # GKE

    def chips(self) -> int:
        """GKE: chips of a slice."""
        return math.prod(map(int, self.topology.split("x")))

    def hosts(self) -> int:
        """GKE: machines of a slice."""
        return self.chips() // self.chips_per_host


@dataclasses.dataclass(frozen=True)
class Gke:
    """Settings that all JobSets have in common."""

    image: str = ""
    claim: str = ""  # the PersistentVolumeClaim that is mounted on /runs
    workdir: str = ""  # the sweep's folder as the pods see it; "": /runs/NAME
    gcsfuse: bool = False  # the claim is a bucket, through Cloud Storage FUSE
    service_account: str = ""  # of Kubernetes, which may write to the bucket; "": "default"
    queue: str = ""  # of Kueue; "": none
    namespace: str = ""  # "": kubectl's


@dataclasses.dataclass(frozen=True)
class ExecutorConfig:
    """How a sweep is run."""

    executor: str
    slurm: Mapping[str, Any]  # settings of sbatch, as submitit calls them
    gke: Gke
    resources: Mapping[str, Resources]  # size → what its jobs take

    def of(self, size: str) -> Resources:
        """What a job of a model of this size takes; `size` is "" where the sweep has no sizes."""
        return self.resources.get(size) or self.resources.get("default") or Resources()

    def chip(self, size: str) -> Chip | None:
        """The chip that a job of this size runs on, as far as config.resources says."""
        return CHIPS.get(self.of(size).chip)


def parse(values: Mapping[str, Any], sizes: Iterable[str] = ()) -> ExecutorConfig:
    """The config made from a sweep's `executor`, `slurm`, `gke` and `resources`.

    Args:
      sizes: names that `resources` may have beside "default".

    Raises:
      UserError: there is no such executor, setting, size or chip, or a value is out of range.
    """
    executor = values.get("executor", "local")
    if executor not in EXECUTORS:
        raise UserError(f"config.executor is {executor!r}, but must be one of {', '.join(EXECUTORS)}")
    for name in ("slurm", "gke", "resources"):
        if not isinstance(values.get(name, {}), Mapping):
            raise UserError(f"config.{name} is {values[name]!r}, but must be a dict of settings")
    known = ["default", *sizes]
    resources: dict[str, Resources] = {}
    for size, asked in values.get("resources", {}).items():
        if size not in known:
            raise UserError(f"config.resources.{size} names no size: there are {', '.join(known)}")
        resources[size] = _resources(asked, f"config.resources.{size}")
    made = ExecutorConfig(
        executor, dict(values.get("slurm", {})), _build(Gke, values.get("gke", {}), "config.gke"), resources
    )
    if executor == "gke":
        _check_gke(made, known)
    return made


def _resources(asked: Any, where: str) -> Resources:
    made = _build(Resources, asked, where)
    for name, least in (
        ("cpus", 0),
        ("gpus", 0),
        ("nodes", 1),
        ("tasks_per_node", 1),
        ("slices", 1),
        ("chips_per_host", 1),
    ):
        if getattr(made, name) < least:
            raise UserError(f"{where}.{name} is {getattr(made, name)}, but must be at least {least}")
    if made.chip and made.chip not in CHIPS:
        raise UserError(f"{where}.chip is {made.chip!r}, which is not known: there are {', '.join(CHIPS)}")
    if made.topology and not re.fullmatch(r"[1-9]\d*(x[1-9]\d*){1,2}", made.topology):
        raise UserError(f"{where}.topology is {made.topology!r}, but must be such as 4x4 or 2x4x4")
    return made


def _check_gke(made: ExecutorConfig, sizes: Iterable[str]) -> None:
    for name in ("image", "claim"):
        if not getattr(made.gke, name):
            raise UserError(f"config.gke.{name} is missing: launch/gke/README.md says what JobSets need")
    if made.gke.workdir and not made.gke.workdir.startswith("/runs/"):
        raise UserError(
            f"config.gke.workdir is {made.gke.workdir!r}, but the claim is mounted on /runs: give /runs/FOLDER"
        )
    for size in sizes:
        if size == "default" and "default" not in made.resources and made.resources:
            continue
        asked, where = made.of(size), f"config.resources.{size if size in made.resources else 'default'}"
        if asked.chip not in GKE_ACCELERATORS or not asked.topology:
            raise UserError(
                f"{where} must have chip ({', '.join(GKE_ACCELERATORS)}) and topology (such as 4x4) for JobSets on GKE"
            )
        if not asked.hosts():
            raise UserError(f"{where}: topology {asked.topology} has fewer chips than chips_per_host says")


def _build(cls: type, values: Any, where: str) -> Any:
    """The dataclass with these values. Raises UserError for unknown fields and values of other types."""
    if not isinstance(values, Mapping):
        raise UserError(f"{where} is {values!r}, but must be a dict of settings")
    defaults = cls()
    known = [field.name for field in dataclasses.fields(cls)]
    for name, value in values.items():
        if name not in known:
            hint = did_you_mean(name, known) or f": there are {', '.join(known)}"
            raise UserError(f"{where}.{name} is no setting{hint}")
        wanted = type(getattr(defaults, name))
        if type(value) is not wanted:
            kind = {int: "a whole number", bool: "True or False"}.get(wanted, "text")
            raise UserError(f"{where}.{name} is {value!r}, but must be {kind}")
    return cls(**values)

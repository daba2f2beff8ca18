"""Topologies by name (`v5e:16x16`, `h100:8x8`): devices that can be compiled for without being here."""

from __future__ import annotations

import dataclasses
import importlib.util
import math
import os
import re
from typing import TYPE_CHECKING

from pause_jax.aot.chips import CHIPS, Chip
from pause_jax.errors import UserError

if TYPE_CHECKING:  # JAX reads the environment when it is imported
    import jax

LIBTPU = "libtpu==0.0.50.1"  # as in requirements-tpu.txt
FORMS = "v4:AxBxC, v5p:AxBxC, v5e:AxB, v6e:AxB (chips), or h100, h200, a100 with :GPUS or :NODESxGPUS, as in h100:8x8"

_MOST_CHIPS = {"v4": 4096, "v5e": 256, "v5p": 8960, "v6e": 256}  # of a pod; no slice is larger
_DIMENSIONS = {"v4": (3,), "v5e": (2,), "v5p": (3,), "v6e": (2,), "h100": (1, 2), "h200": (1, 2), "a100": (1, 2)}


@dataclasses.dataclass(frozen=True)
class Topology:
    """How many devices of which kind, and how they are connected."""

    name: str
    chip_name: str
    shape: tuple[int, ...]  # of a TPU slice its torus, of GPUs (GPUs,) or (nodes, GPUs of each)

    @property
    def chip(self) -> Chip:
        return CHIPS[self.chip_name]

    @property
    def devices(self) -> int:
        return math.prod(self.shape)

    @property
    def is_tpu(self) -> bool:
        return self.chip_name in _MOST_CHIPS

    @property
    def platform(self) -> str:
        """JAX's name for the platform of its devices."""
        return platform_of_chip(self.chip_name)

    @property
    def node_size(self) -> int:
        """How many devices are connected by links: those of a TPU slice, or the GPUs of one node."""
        return self.devices if self.is_tpu else self.shape[-1]


def platform_of_chip(name: str) -> str:
    """JAX's name for the platform of a key of `chips.CHIPS`."""
    return "tpu" if name in _MOST_CHIPS else "gpu"


def parse(name: str) -> Topology:
    """The topology called `name`.

    Raises:
      UserError: the name has none of `FORMS`, or no such slice exists.
    """
    match = re.fullmatch(r"(\w+):([1-9]\d*(?:x[1-9]\d*)*)", name)
    shape = tuple(map(int, match[2].split("x"))) if match else ()
    if match is None or match[1] not in CHIPS or len(shape) not in _DIMENSIONS[match[1]]:
        raise UserError(f"--topology={name} is not known: give {FORMS}")
    topology = Topology(name, match[1], shape)
    most = _MOST_CHIPS.get(topology.chip_name)
    if most and topology.devices > most:
        raise UserError(f"--topology={name} has {topology.devices} chips, but a pod of {topology.chip_name} has {most}")
    return topology


def prepare_environment(topologies: list[Topology]) -> None:
    """Set the environment variables that JAX and libtpu read at their start; call it before JAX is imported.

    Raises:
      UserError: libtpu is not installed, and one of the topologies is a TPU's.
    """
    if any(t.is_tpu for t in topologies) and importlib.util.find_spec("libtpu") is None:
        raise UserError(
            f"compiling for TPUs takes their compiler, and libtpu is not installed: python -m pip install {LIBTPU}"
        )
    # They keep libtpu from looking for a chip of this machine, which another process may be using.
    os.environ.update(
        JAX_PLATFORMS="cpu",
        TPU_SKIP_MDS_QUERY="1",
        TPU_ACCELERATOR_TYPE="v5litepod-16",
        TPU_WORKER_HOSTNAMES="localhost",
        TPU_WORKER_ID="0",
        ALLOW_MULTIPLE_LIBTPU_LOAD="true",
    )
    os.environ["JAX_ENABLE_COMPILATION_CACHE"] = "false"  # it cannot read what was compiled for devices not here
    if virtual := max((t.devices for t in topologies if not t.is_tpu), default=0):
        flags = re.sub(r"--xla_force_host_platform_device_count=\d+", "", os.environ.get("XLA_FLAGS", ""))
        os.environ["XLA_FLAGS"] = f"{flags} --xla_force_host_platform_device_count={virtual}".strip()


def devices_of(topology: Topology) -> list[jax.Device]:
    """Devices that programs can be compiled for but not run on; in place of GPUs, virtual devices of the CPU.

    Raises:
      UserError: the TPU's compiler knows no such slice.
    """
    import jax
    from jax.experimental import topologies

    if not topology.is_tpu:
        return jax.devices("cpu")[: topology.devices]

    more = {"chip_config_name": "megacore", "chips_per_host_bounds": (2, 2, 1)} if topology.chip_name == "v4" else {}
    try:
        return topologies.get_topology_desc(topology.name, platform="tpu", **more).devices
    except jax.errors.JaxRuntimeError as error:
        raise UserError(f"--topology={topology.name} is no slice that libtpu knows: {error}") from error

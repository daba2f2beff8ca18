"""The least time of a training step: its FLOPs, and its bytes through memory and links, at the chip's peak rates."""

from __future__ import annotations

import dataclasses

from pause_jax.aot.hlo import Collective
from pause_jax.aot.topologies import Topology


@dataclasses.dataclass(frozen=True)
class Roofline:
    """Seconds of a step if only this one thing took time; the step takes at least the longest."""

    compute: float  # model FLOPs at the chip's peak; recomputation not counted
    hbm: float  # matmuls' operands and results, and the optimizer's state, through memory
    links: float  # bytes of collectives through ICI, or NVLink and network

    @property
    def seconds(self) -> float:
        return max(self.compute, self.hbm, self.links)

    def bound_by(self, topology: Topology) -> str:
        """Which of them is the longest: "compute", "HBM", and "ICI" of a TPU or "network" of GPUs."""
        links = "ICI" if topology.is_tpu else "network"
        return max((self.compute, "compute"), (self.hbm, "HBM"), (self.links, links))[1]


def roofline(flops_per_step: float, hbm_traffic: float, collectives: list[Collective], topology: Topology) -> Roofline:
    """The roofline from the FLOPs of all devices together, and one device's bytes through memory and links."""
    chip = topology.chip
    return Roofline(
        compute=flops_per_step / (topology.devices * chip.flops),
        hbm=hbm_traffic / chip.hbm_bandwidth,
        links=sum(c.bytes_sent * c.times / bandwidth(c.group, topology) for c in collectives),
    )


def bandwidth(group: tuple[int, ...], topology: Topology) -> float:
    """Bytes/s that a device can send within a group of devices, at best.

    Within a TPU slice or a node: over all its links at once. Across nodes a ring through all GPUs of the group leaves
    each node once, over the adapters of all of the group's GPUs there.
    """
    chip = topology.chip
    nodes = {device // topology.node_size for device in group}
    if len(nodes) < 2:
        return chip.link_bandwidth
    return min(chip.link_bandwidth, chip.network_bandwidth * len(group) / len(nodes))

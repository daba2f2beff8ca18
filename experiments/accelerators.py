"""How the shipped configs are cut over accelerators. Nothing here changes what is learned, only where and how fast.

Names of slices are Google's: v4-128 and v5p-64 count TensorCores, two a chip, v5e-256 chips; h100-8 counts GPUs.
"""

from __future__ import annotations

import dataclasses
from typing import Any

TOPOLOGIES = {  # what launch.compile calls them
    "v4-128": "v4:4x4x4",
    "v5e-256": "v5e:16x16",
    "v5p-64": "v5p:2x4x4",
    "h100-8": "h100:8",
    "h100-64": "h100:8x8",
}


@dataclasses.dataclass(frozen=True)
class Layout:
    """Fields of config.run that depend on the chips' number and memory; what is left out is as the platform has it."""

    data: int
    fsdp: int
    tensor: int = 1
    accumulation: int = 1
    remat: str = "auto"
    loss_chunk: int = -1

    def apply(self, config: Any) -> None:
        config.run.mesh.update({"data": self.data, "fsdp": self.fsdp, "tensor": self.tensor})
        config.run.accumulation = self.accumulation
        config.run.execution.remat = self.remat
        config.run.loss_chunk = self.loss_chunk

"""The accelerators of this machine, found without JAX: a process that asks JAX for one takes all of them."""

from __future__ import annotations

import dataclasses
import importlib.util
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

_PLUGINS = {"gpu": ("jax_cuda12_plugin", "jax_cuda13_plugin"), "tpu": ("libtpu",)}  # without it JAX sees none
_FILES: dict[Literal["gpu", "tpu"], tuple[str, ...]] = {
    "gpu": (r"nvidia(\d+)",),
    "tpu": (r"accel(\d+)", r"vfio/(\d+)"),
}
_VISIBLE = {"gpu": "CUDA_VISIBLE_DEVICES", "tpu": "TPU_VISIBLE_CHIPS"}


@dataclasses.dataclass(frozen=True)
class Chips:
    """The accelerators that a process started from this one may use."""

    kind: Literal["gpu", "tpu"]
    names: tuple[str, ...]  # numbers, or the names in CUDA_VISIBLE_DEVICES

    def alone(self, index: int) -> dict[str, str]:
        """Environment variables for a process that is to see this chip only, set before it asks JAX for devices."""
        one = {_VISIBLE[self.kind]: self.names[index]}
        if self.kind == "tpu":  # to libtpu a process with one of a machine's chips is a machine of its own
            one |= {
                "TPU_CHIPS_PER_PROCESS_BOUNDS": "1,1,1",
                "TPU_PROCESS_BOUNDS": "1,1,1",
                "ALLOW_MULTIPLE_LIBTPU_LOAD": "true",
            }
        return one


def of_this_machine(root: Path = Path("/"), environment: Mapping[str, str] = os.environ) -> Chips | None:
    """The chips that JAX would take, limited by the environment as JAX is; None on a machine without any."""
    wanted = environment.get("JAX_PLATFORMS", "")
    for kind, patterns in _FILES.items():
        if wanted and not {kind, "cuda" if kind == "gpu" else kind} & set(wanted.split(",")):
            continue
        if not any(importlib.util.find_spec(plugin) for plugin in _PLUGINS[kind]):
            continue
        names = _numbers(root / "dev", patterns)
        if names and _VISIBLE[kind] in environment:
            names = tuple(name.strip() for name in environment[_VISIBLE[kind]].split(",") if name.strip())
        if names:
            return Chips(kind, names)
    return None


def _numbers(folder: Path, patterns: tuple[str, ...]) -> tuple[str, ...]:
    """Numbers of the device files; TPUs are /dev/accel* or, for later kinds, those of /dev/vfio counted from 0."""
    for pattern in patterns:
        files = (str(file.relative_to(folder)) for file in folder.glob("*/*" if "/" in pattern else "*"))
        found = sorted(int(match[1]) for file in files if (match := re.fullmatch(pattern, file)))
        if found:
            return tuple(map(str, range(len(found)) if "/" in pattern else found))
    return ()

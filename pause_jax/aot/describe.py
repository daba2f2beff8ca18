"""Describes a config's network: parameters, FLOPs and the memory of training, with nothing allocated."""

from __future__ import annotations

import math
from typing import Any

from pause_jax.aot import topologies
from pause_jax.config import Config
from pause_jax.report import tables
from pause_jax.system import local_chips


def describe(config: Config, topology: str | None = None) -> dict[str, Any]:
    """The content of `launch.describe --json`; the config's vocabulary size must be known.

    Raises:
      UserError: there is no such topology, or mesh, batch or a parameter cannot be cut over its devices.
    """
    from pause_jax.model import counts
    from pause_jax.training import flops

    parameters, pause_parameters = counts.parameter_counts(config.model)
    return {
        "parameters": parameters,
        "pause_parameters": pause_parameters,
        "flops_per_token": flops.flops_per_row(config) / config.length,
        "memory": memory_of(config, topology),
        "table": parameter_table(config),
    }


def memory_of(config: Config, topology: str | None) -> dict[str, float]:
    """The `memory` of `describe`."""
    from pause_jax.distributed import kernels, memory
    from pause_jax.distributed.mesh import AXES, mesh_shape

    chips = local_chips.of_this_machine()
    asked = topologies.parse(topology) if topology else None
    config = kernels.resolve_config(config, asked.platform if asked else chips.kind if chips else "cpu")
    mesh = config.run.mesh
    fewest = mesh.dcn_data * (mesh.data == -1) or 1
    devices = asked.devices if asked else fewest * math.prod(n for n in mesh.sizes.values() if n != -1)
    sizes = dict(zip(AXES, mesh_shape(mesh, devices), strict=True))
    parts = memory.training_bytes(config, sizes)
    chip = {"hbm_bytes": asked.chip.hbm_bytes} if asked else {}
    return {**parts, "total": sum(parts.values()), "devices": devices, **chip}


def parameter_table(config: Config) -> list[dict[str, Any]]:
    """A row for each parameter: path, shape, logical axes (one a dimension), count."""
    from pause_jax import trees
    from pause_jax.model import decoder

    axes = decoder.logical_axes(config.model)
    shapes = trees.flatten(decoder.abstract_params(config.model))
    return [
        {"path": path, "shape": list(leaf.shape), "axes": list(axes[path]), "count": math.prod(leaf.shape)}
        for path, leaf in shapes.items()
    ]


def show(config: Config, description: dict[str, Any]) -> None:
    """Print the result of `describe`, as a table and four lines."""
    rows = [
        [r["path"], " × ".join(map(str, r["shape"])), ", ".join(axis or "-" for axis in r["axes"]), f"{r['count']:,}"]
        for r in description["table"]
    ]
    tables.print_table("Parameters", ["path", "shape", "logical axes", "count"], rows)
    print(f"parameters        {description['parameters']:,}")
    print(f"pause parameters  {description['pause_parameters']:,}")
    flops = tables.human_flops(description["flops_per_token"])
    print(f"FLOPs per token   {flops} of training, in rows of {config.length}")
    print(f"memory            {_memory_line(description['memory'])}")


def _memory_line(memory: dict[str, float]) -> str:
    not_parts = "total", "devices", "hbm_bytes"
    parts = ", ".join(f"{name} {size / 1e9:.3g}" for name, size in memory.items() if name not in not_parts)
    each = f"on each of {memory['devices']} devices" if memory["devices"] > 1 else "on one device"
    line = f"{memory['total'] / 1e9:.3g} GB {each} in training, by formula: {parts}"
    if "hbm_bytes" not in memory:
        return line
    fits = "fits" if memory["total"] <= memory["hbm_bytes"] else "does not fit"
    return f"{line}; {fits} {memory['hbm_bytes'] / 1e9:.3g} GB"

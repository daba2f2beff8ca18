"""From logical axes to mesh axes: one table, and what follows from it for parameters, batches and activations."""

from __future__ import annotations

import contextlib
import math
from typing import Any

import jax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from pause_jax import trees
from pause_jax.errors import UserError
from pause_jax.model import decoder
from pause_jax.model.config import ModelConfig
from pause_jax.model.partitioning import Axes, constraining

# Rows are cut over "fsdp" too: it is data parallelism whose parameters are cut as well.
RULES: dict[str, str | tuple[str, ...] | None] = {
    "batch": ("data", "fsdp"),
    "length": "sequence",
    "embed": "fsdp",
    "vocab": "tensor",
    "heads": "tensor",
    "kv_heads": "tensor",
    "mlp": "tensor",
    "head": None,
    "layers": None,
    "positions": None,
    "pauses": None,
}


def partition_spec(name: str, shape: tuple[int, ...], axes: Axes, mesh: Mesh) -> PartitionSpec:
    """How the array called `name` lies on `mesh`.

    Raises:
      UserError: a dimension is not divisible by the devices it is cut over.
      ValueError: two dimensions claim one mesh axis, or a logical axis has no rule (a defect of ours).
    """
    spec = []
    for dim, axis in enumerate(axes):
        if axis is not None and axis not in RULES:
            raise ValueError(f"{name}: logical axis {axis!r} of dimension {dim} has no rule in {sorted(RULES)}")
        rule = RULES[axis] if axis is not None else None
        mesh_axes = (rule,) if isinstance(rule, str) else rule or ()
        parts = math.prod(mesh.shape[a] for a in mesh_axes)
        if shape[dim] % parts:
            raise UserError(
                f"{name}, of shape {shape}, cannot be cut: its {axis} = {shape[dim]} is not divisible by "
                f"{' x '.join(f'config.run.mesh.{a}' for a in mesh_axes)} = {parts}"
            )
        spec.append(rule)
    used = [a for rule in spec for a in ((rule,) if isinstance(rule, str) else rule or ())]
    if len(used) != len(set(used)):
        raise ValueError(f"{name}: logical axes {axes} use a mesh axis twice: {spec}")
    return PartitionSpec(*spec)


def param_shardings(config: ModelConfig, n_pauses: int, mesh: Mesh) -> dict[str, Any]:
    """A NamedSharding for each parameter, in the tree of `decoder.init`."""
    axes = decoder.logical_axes(config, n_pauses)
    return trees.map_with_path(
        lambda path, leaf: NamedSharding(mesh, partition_spec(path, leaf.shape, axes[path], mesh)),
        decoder.abstract_params(config, n_pauses),
    )


def replicated(mesh: Mesh) -> NamedSharding:
    return NamedSharding(mesh, PartitionSpec())


def batch_sharding(mesh: Mesh, ndim: int = 2) -> NamedSharding:
    """Of each [rows, positions] array of a batch, or with `ndim` 1 of each [rows] array."""
    return NamedSharding(mesh, PartitionSpec(*(RULES["batch"], RULES["length"])[:ndim]))


def activation_constraints(mesh: Mesh) -> contextlib.AbstractContextManager[None]:
    """Trace the network within this, and its activations lie on `mesh` as the rules say."""

    def constrain(x: jax.Array, axes: Axes) -> jax.Array:
        spec = partition_spec("activation", x.shape, axes, mesh)
        return jax.lax.with_sharding_constraint(x, NamedSharding(mesh, spec))

    return constraining(constrain)

"""Logical axes to mesh axes: the one table of rules, and shardings of parameters, batches and activations from it."""

from __future__ import annotations

import contextlib
import dataclasses
import math
from typing import Any

import jax
from jax.sharding import AbstractMesh, Mesh, NamedSharding, PartitionSpec

from pause_jax import trees
from pause_jax.config.model import ModelConfig
from pause_jax.errors import UserError
from pause_jax.model import decoder
from pause_jax.model.partitioning import Axes, Function, activation_sharding

ROW_AXES = ("data", "fsdp")  # fsdp too: it is data parallelism with parameters cut as well
RULES: dict[str, str | tuple[str, ...] | None] = {
    "batch": ROW_AXES,
    "length": "sequence",
    "embed": "fsdp",
    "vocab": "tensor",
    "heads": "tensor",
    "kv_heads": "tensor",
    "row_heads": ("tensor", "sequence"),  # kernels that want whole rows: positions are exchanged for heads and back
    "mlp": "tensor",
    "head": None,
    "layers": None,
    "positions": None,
    "pauses": None,
}


def partition_spec(name: str, shape: tuple[int, ...], axes: Axes, mesh: Mesh | AbstractMesh) -> PartitionSpec:
    """The PartitionSpec on `mesh` of the array called `name`.

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
                + (f": set --config.model.vocab_size={-(-shape[dim] // parts) * parts}" if axis == "vocab" else "")
            )
        spec.append(rule)
    used = [a for rule in spec for a in ((rule,) if isinstance(rule, str) else rule or ())]
    if len(used) != len(set(used)):
        raise ValueError(f"{name}: logical axes {axes} use a mesh axis twice: {spec}")
    return PartitionSpec(*spec)


def param_shardings(config: ModelConfig, mesh: Mesh | AbstractMesh) -> dict[str, Any]:
    """A NamedSharding for each parameter, in the tree of `decoder.init`."""
    axes = decoder.logical_axes(config)
    return trees.map_with_path(
        lambda path, leaf: NamedSharding(mesh, partition_spec(path, leaf.shape, axes[path], mesh)),
        decoder.abstract_params(config),
    )


def replicated(mesh: Mesh) -> NamedSharding:
    return NamedSharding(mesh, PartitionSpec())


def row_parts(mesh: Mesh) -> int:
    """How many parts the rows of a batch are cut into."""
    return math.prod(mesh.shape[axis] for axis in ROW_AXES)


def batch_sharding(mesh: Mesh, ndim: int = 2) -> NamedSharding:
    """The sharding of a batch's [rows, positions] arrays, or with `ndim` 1 of its [rows] arrays."""
    return NamedSharding(mesh, PartitionSpec(*(RULES["batch"], RULES["length"])[:ndim]))


def with_mesh(mesh: Mesh | None) -> contextlib.AbstractContextManager[None]:
    """Within this context a network is traced with its activations on `mesh` as the rules say; None: unconstrained.

    The mesh must be a static argument of the traced function, or part of one.
    """
    return contextlib.nullcontext() if mesh is None else activation_sharding(_OnMesh(mesh))


@dataclasses.dataclass(frozen=True)
class _OnMesh:
    mesh: Mesh

    def constrain(self, x: jax.Array, axes: Axes) -> jax.Array:
        return jax.lax.with_sharding_constraint(x, NamedSharding(self.mesh, self._spec(x, axes)))

    def shard_map_over(self, function: Function, axes: tuple[Axes, ...]) -> Function:
        def on_parts(*args: jax.Array) -> jax.Array:
            specs = tuple(map(self._spec, args, axes))
            # check_vma: kernels do not say over which mesh axes their results vary
            parts = jax.shard_map(function, mesh=self.mesh, in_specs=specs, out_specs=specs[0], check_vma=False)
            return parts(*args)

        return on_parts

    def _spec(self, x: jax.Array, axes: Axes) -> PartitionSpec:
        # a length that does not divide stays whole: that of a chunk of the loss, or of an answer's next token
        parts = self.mesh.shape["sequence"]
        axes = tuple(None if axis == "length" and n % parts else axis for n, axis in zip(x.shape, axes, strict=True))
        return partition_spec("an activation", x.shape, axes, self.mesh)

"""Which rows of the global batch this process reads, and how they become one global array."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping

import jax
import numpy as np
from jax.sharding import Mesh

from pause_jax.distributed.sharding import batch_sharding, row_parts
from pause_jax.errors import UserError


def process_rows(batch_size: int, length: int, mesh: Mesh, accumulation: int = 1) -> list[int]:
    """Rows of a [batch_size, length] batch of which this process's devices hold a part, ascending.

    Raises:
      UserError: rows or positions cannot be cut evenly over the mesh.
    """
    parts = row_parts(mesh)
    if batch_size % (parts * accumulation):
        raise UserError(
            f"config.train.batch_size = {batch_size} is not divisible by config.run.mesh.data x config.run.mesh.fsdp "
            f"= {parts} devices times config.run.accumulation = {accumulation}"
        )
    if length % mesh.shape["sequence"]:
        raise UserError(
            f"a row of {length} positions is not divisible by config.run.mesh.sequence = {mesh.shape['sequence']}"
        )
    mine = {device for device in mesh.devices.flat if device.process_index == jax.process_index()}
    return rows_of(mine, batch_size, length, mesh)


def rows_of(devices: Collection[jax.Device], batch_size: int, length: int, mesh: Mesh) -> list[int]:
    """Rows of a [batch_size, length] batch of which some of the mesh's devices hold a part, ascending."""
    indices = batch_sharding(mesh).devices_indices_map((batch_size, length))
    return sorted({row for device in devices for row in range(batch_size)[indices[device][0]]})


def prefetch(
    batches: Iterator[dict[str, np.ndarray]], put: Callable[[dict[str, np.ndarray]], dict[str, jax.Array]]
) -> Iterator[dict[str, jax.Array]]:
    """The batches on the devices, one ahead: the next one is sent before the current one is used.

    So the devices need not wait for a batch after a step at which the host waited for them.
    """
    batch = put(next(batches))
    for local in batches:
        following = put(local)
        yield batch
        batch = following
    yield batch


def to_global(local: Mapping[str, np.ndarray], rows: list[int], batch_size: int, mesh: Mesh) -> dict[str, jax.Array]:
    """The global batch, arrays [batch_size, length] or [batch_size]; `local` has the `rows` of this process."""
    place = {row: i for i, row in enumerate(rows)}

    def put(array: np.ndarray) -> jax.Array:
        def part(index: tuple[slice, ...] | None) -> np.ndarray:
            assert index is not None  # it is None only for devices of other processes
            return array[[place[row] for row in range(batch_size)[index[0]]]][(slice(None), *index[1:])]

        shape = (batch_size, *array.shape[1:])
        return jax.make_array_from_callback(shape, batch_sharding(mesh, array.ndim), part)

    return {name: put(array) for name, array in local.items()}


def abstract_batch(batch_size: int, length: int, finetuning: bool, mesh: Mesh) -> dict[str, jax.ShapeDtypeStruct]:
    """Shapes, dtypes and shardings of a global batch (training/step.py has its features)."""
    names = (
        "inputs",
        "targets",
        "loss_weights",
        "positions",
        "segment_ids",
        *(("prefix_lm_length",) if finetuning else ()),
    )

    def feature(name: str) -> jax.ShapeDtypeStruct:
        shape = (batch_size,) if name == "prefix_lm_length" else (batch_size, length)
        dtype = np.float32 if name == "loss_weights" else np.int32
        return jax.ShapeDtypeStruct(shape, dtype, sharding=batch_sharding(mesh, len(shape)))

    return {name: feature(name) for name in names}

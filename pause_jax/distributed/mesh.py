"""The device mesh. `jax.jit` with shardings on it is what used to be called pjit."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import jax

from pause_jax.config import MeshConfig
from pause_jax.errors import UserError

AXES = ("data", "fsdp", "tensor", "sequence")


def make_mesh(config: MeshConfig, devices: Sequence[jax.Device] | None = None) -> jax.sharding.Mesh:
    """A mesh over all devices (or those given) with the axes of `AXES`, sizes as configured.

    Raises:
      UserError: the sizes do not multiply to the number of devices.
    """
    devices = list(jax.devices() if devices is None else devices)
    sizes = mesh_shape(config, len(devices))
    types = (jax.sharding.AxisType.Auto,) * len(AXES)  # layouts come from sharding.RULES alone
    return jax.make_mesh(sizes, AXES, axis_types=types, devices=devices)


def mesh_shape(config: MeshConfig, num_devices: int) -> tuple[int, ...]:
    """Sizes of `AXES`, the -1 among them replaced by what is left of `num_devices`."""
    sizes = dataclasses.asdict(config)
    given = math.prod(size for size in sizes.values() if size != -1)
    left, remainder = divmod(num_devices, given)
    full = tuple(left if sizes[axis] == -1 else sizes[axis] for axis in AXES)
    if remainder or math.prod(full) != num_devices:
        raise UserError(
            f"config.run.mesh = {sizes} does not fit {num_devices} devices: the sizes must multiply to it; "
            "one axis may be -1 to take what is left"
        )
    return full

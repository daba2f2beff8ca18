"""The device mesh."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import jax
from jax.experimental import mesh_utils

from pause_jax.config import MeshConfig
from pause_jax.errors import UserError

AXES = ("data", "fsdp", "tensor", "sequence")


def make_mesh(config: MeshConfig, devices: Sequence[jax.Device] | None = None) -> jax.sharding.Mesh:
    """A mesh over all devices (or those given) with the axes of `AXES`, sizes as configured.

    On several TPU slices the outer `config.dcn_data` parts of the data axis lie on different slices: only sums of
    gradients cross the slow network between them.

    Raises:
      UserError: the sizes do not multiply to the number of devices, or `dcn_data` is not the number of slices.
    """
    devices = list(jax.devices() if devices is None else devices)
    try:
        sizes = mesh_shape(config, len(devices))
    except UserError as error:
        if devices[0].platform != "cpu":
            raise
        raise UserError(
            f"{error}; a CPU counts as several where the environment has "
            "XLA_FLAGS=--xla_force_host_platform_device_count=8 (docs/scale.md)"
        ) from None
    types = (jax.sharding.AxisType.Auto,) * len(AXES)  # layouts come from sharding.RULES alone
    slices = _count_slices(devices)
    if slices != config.dcn_data:
        raise UserError(
            f"config.run.mesh.dcn_data = {config.dcn_data}, but the {len(devices)} devices are those of {slices} TPU "
            f"slice{'s' if slices > 1 else ''}: set --config.run.mesh.dcn_data={slices}"
        )
    if slices == 1:
        return jax.make_mesh(sizes, AXES, axis_types=types, devices=devices)
    within = (sizes[0] // slices, *sizes[1:])
    across = (slices, *(1 for _ in sizes[1:]))
    return jax.sharding.Mesh(mesh_utils.create_hybrid_device_mesh(within, across, devices), AXES, axis_types=types)


def mesh_shape(config: MeshConfig, num_devices: int) -> tuple[int, ...]:
    """Sizes of `AXES`, the -1 among them replaced by what is left of `num_devices`. Raises UserError as `make_mesh`."""
    sizes = config.sizes
    given = math.prod(size for size in sizes.values() if size != -1)
    left, remainder = divmod(num_devices, given)
    full = tuple(left if sizes[axis] == -1 else sizes[axis] for axis in AXES)
    if remainder or math.prod(full) != num_devices:
        raise UserError(
            f"config.run.mesh = {sizes} does not fit {num_devices} devices: the sizes must multiply to it; "
            "one axis may be -1 to take what is left"
        )
    if full[0] % config.dcn_data:
        raise UserError(
            f"config.run.mesh.data = {full[0]} is not divisible by config.run.mesh.dcn_data = {config.dcn_data}, the "
            "slices over which it goes"
        )
    return full


def over_slices(config: MeshConfig, slices: int, chips: int) -> MeshConfig:
    """The mesh of `slices` TPU slices of `chips` chips each, all sizes given; `config` may be meant for a single slice.

    If so, the data axis becomes `slices` times as long. Raises UserError where `config` fits neither.
    """
    whole = dataclasses.replace(config, dcn_data=slices)
    try:
        sizes = mesh_shape(whole, slices * chips)
    except UserError:
        of_one = mesh_shape(dataclasses.replace(config, dcn_data=1), chips)
        sizes = (of_one[0] * slices, *of_one[1:])
    return MeshConfig(**dict(zip(AXES, sizes, strict=True)), dcn_data=slices)


def _count_slices(devices: Sequence[jax.Device]) -> int:
    """How many TPU slices the devices are of; other devices count as of one."""
    if devices[0].platform != "tpu":  # GPUs have the attribute too: there it is the machine
        return 1
    return len({getattr(device, "slice_index", 0) for device in devices})  # compile-only devices have none

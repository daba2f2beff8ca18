"""Resolves what a config leaves to the platform ("auto"), and checks that the devices can run it."""

from __future__ import annotations

import dataclasses

from jax.sharding import Mesh

from pause_jax.config import Config
from pause_jax.config.model import resolve
from pause_jax.distributed.sharding import partition_spec
from pause_jax.errors import UserError

_PLATFORM = {"splash": "tpu", "cudnn": "gpu"}  # of attention kernels that are written for one platform
_LOSS_CHUNK = 1024  # on accelerators, where all logits of a batch would fill the memory


def resolve_config(config: Config, platform: str) -> Config:
    """`config` with everything that `config.run` leaves open ("auto", `loss_chunk` -1) resolved for `platform`.

    An "auto" attention kernel becomes one that can serve the config: XLA's where each row has a mask of its own.
    """
    execution = config.run.execution
    if execution.attention == "auto" and config.prefix_lm_length is None:
        execution = dataclasses.replace(execution, attention="xla")
    chunk = config.run.loss_chunk
    if chunk == -1:
        chunk = 0 if platform == "cpu" else _LOSS_CHUNK
    run = dataclasses.replace(config.run, execution=resolve(execution, platform), loss_chunk=chunk)
    return dataclasses.replace(config, run=run)


def platform_of(mesh: Mesh) -> str:
    """JAX's name for the platform of the mesh's devices: "cpu", "gpu" or "tpu"."""
    platform: str = mesh.devices.flat[0].platform
    return platform


def check_kernels(config: Config, mesh: Mesh) -> None:
    """Check `config.run.execution.attention` against the mesh; `Config.validate` checks it against the config.

    Raises:
      UserError: the kernel is for other devices, or its heads cannot be cut over them.
    """
    kernel = config.run.execution.attention
    if kernel not in _PLATFORM:
        return
    platform = platform_of(mesh)
    if platform != _PLATFORM[kernel]:
        raise UserError(
            f"config.run.execution.attention = {kernel!r} is a kernel for devices of kind {_PLATFORM[kernel]!r}, but "
            f"those of this run are {platform!r}: set --config.run.execution.attention=xla"
        )
    for name, heads in (("num_heads", config.model.num_heads), ("num_kv_heads", config.model.num_kv_heads)):
        partition_spec(f"config.model.{name} under the kernel {kernel!r}", (heads,), ("row_heads",), mesh)

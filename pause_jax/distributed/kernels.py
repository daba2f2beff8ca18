"""Whether the devices of a run can run its attention kernel."""

from __future__ import annotations

from jax.sharding import Mesh

from pause_jax.config import Config
from pause_jax.distributed.sharding import partition_spec
from pause_jax.errors import UserError

_PLATFORM = {"splash": "tpu", "cudnn": "gpu"}  # of those that are written for one


def check_kernels(config: Config, mesh: Mesh) -> None:
    """What `config.run.execution.attention` asks of the mesh; what it asks of the config is checked there.

    Raises:
      UserError: the kernel is for other devices, or its heads cannot be cut over them.
    """
    kernel = config.run.execution.attention
    if kernel not in _PLATFORM:
        return
    platform = mesh.devices.flat[0].platform
    if platform != _PLATFORM[kernel]:
        raise UserError(
            f"config.run.execution.attention = {kernel!r} is a kernel for devices of kind {_PLATFORM[kernel]!r}, but "
            f"those of this run are {platform!r}: set --config.run.execution.attention=xla"
        )
    for name, heads in (("num_heads", config.model.num_heads), ("num_kv_heads", config.model.kv_heads)):
        partition_spec(f"config.model.{name} under the kernel {kernel!r}", (heads,), ("row_heads",), mesh)

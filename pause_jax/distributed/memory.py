"""Whether a run fits the memory of each device, by formula, before anything is allocated."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
from collections.abc import Mapping
from typing import Any

import jax
from jax.sharding import AbstractMesh, Mesh

from pause_jax.aot import chips, estimates
from pause_jax.config import Config, ModelConfig, OptimizerConfig
from pause_jax.distributed import kernels, sharding
from pause_jax.distributed.mesh import AXES
from pause_jax.distributed.optimizer_sharding import shardings_like_parameters
from pause_jax.errors import UserError
from pause_jax.model import decoder
from pause_jax.system import host_memory
from pause_jax.training.optimizer import make_optimizer

# TensorFlow, compiling and the data, on a CPU: a small model's training takes 0.7 GB more in the end than at the check.
_PROGRAMS = 0.7e9
_MOST_DEVICES = 2**16  # beyond which no remedy is sought


def training_bytes(config: Config, sizes: Mapping[str, int], on_host: int = 0) -> dict[str, float]:
    """Bytes of one device in training, by what they are for (`estimates.temporaries` describes the last of them).

    Args:
      config: resolved (kernels.resolve_config).
      sizes: of the mesh's axes (mesh.AXES), none of them -1.
      on_host: how many of the devices are CPUs of one process, 0 for other devices. In that memory lie Orbax's copy of
        the state that is being saved, and the programs, too.

    Raises:
      UserError: a parameter cannot be cut over the mesh.
    """
    params, optimizer = parameter_bytes(config, sizes), optimizer_bytes(config, sizes)
    share = estimates.Share.of(config, dict(sizes))
    parts = {"parameters": params, "optimizer": optimizer, **estimates.temporaries(config, share, params)}
    return parts | ({"checkpoint": params + optimizer, "programs": _PROGRAMS / on_host} if on_host else {})


def parameter_bytes(config: Config, sizes: Mapping[str, int]) -> float:
    """Bytes of one device's part of the parameters. Raises as `training_bytes`."""
    shapes, shardings = _parameters(config, sizes)
    return _bytes(shapes, shardings)


def optimizer_bytes(config: Config, sizes: Mapping[str, int]) -> float:
    """Bytes of one device's part of the optimizer's state. Raises as `training_bytes`."""
    shapes, shardings = _parameters(config, sizes)
    state = _optimizer_state(config.model, config.optimizer)
    return _bytes(state, shardings_like_parameters(state, shapes, shardings))


def _parameters(config: Config, sizes: Mapping[str, int]) -> tuple[Any, Any]:
    """Shapes and shardings of the parameters."""
    mesh = AbstractMesh(tuple(sizes[axis] for axis in AXES), AXES)
    return (
        decoder.abstract_params(config.model),
        sharding.param_shardings(config.model, mesh),
    )


@functools.cache  # `_remedy` asks again and again
def _optimizer_state(model: ModelConfig, optimizer: OptimizerConfig) -> Any:
    """Shapes of the optimizer's state."""
    return jax.eval_shape(make_optimizer(optimizer).init, decoder.abstract_params(model))


def _bytes(shapes: Any, shardings: Any) -> float:
    """Bytes of one device's part."""
    parts = zip(jax.tree.leaves(shapes), jax.tree.leaves(shardings), strict=True)
    return sum(math.prod(there.shard_shape(x.shape)) * x.dtype.itemsize for x, there in parts)


def check_training(config: Config, mesh: Mesh) -> None:
    """Check that the devices hold what training takes by formula; passes where their memory is not known.

    Raises:
      UserError: they don't; it says what there is, what is needed and for what, and settings that would fit.
    """
    config = kernels.resolve_config(config, kernels.platform_of(mesh))
    if there := _room(mesh):
        check_chips(config, mesh.shape, *there, on_host=len(mesh.local_devices) * _are_cpus(mesh))


def check_chips(config: Config, sizes: Mapping[str, int], room: float, whose: str, on_host: int = 0) -> None:
    """As `check_training`, for a mesh of these sizes whose devices have `room` bytes each.

    Args:
      whose: what the room is, for the message.
      on_host: of `training_bytes`.
    """
    if not config.run.check_memory:
        return
    parts = training_bytes(config, sizes, on_host)
    if sum(parts.values()) <= room:
        return
    listed = ", ".join(f"{name} {_gb(size)}" for name, size in parts.items())
    raise UserError(
        f"training takes {_gb(sum(parts.values()))} GB on {_devices(sizes)} by formula "
        f"({listed}), but {_gb(room)} GB are there ({whose}): {_remedy(config, sizes, room, on_host)}, or try it all "
        "the same with --config.run.check_memory=False"
    )


def check_parameters(config: Config, mesh: Mesh, what: str) -> None:
    """Raises UserError where the devices do not hold the parameters alone."""
    there = _room(mesh)
    held = parameter_bytes(config, mesh.shape)
    if there is None or held <= there[0]:
        return
    devices = math.ceil(held * mesh.shape["fsdp"] * mesh.shape["tensor"] / there[0])
    raise UserError(
        f"the parameters of {what} take {_gb(held)} GB on {_devices(mesh.shape)}, but {_gb(there[0])} GB are there "
        f"({there[1]}): cut them over {devices} such devices or more (launch.evaluate --mesh=fsdp={devices}), or take "
        "a machine with more memory"
    )


def _room(mesh: Mesh) -> tuple[float, str] | None:
    """(free bytes of a device, what memory it is, for messages); None where that is not known."""
    devices = mesh.local_devices
    if _are_cpus(mesh):
        there, whose = host_memory.available()
        shared = f", shared by {len(devices)} devices" if len(devices) > 1 else ""
        return there / len(devices), whose + shared
    kind = devices[0].device_kind
    stats: dict[str, Any] = devices[0].memory_stats() or {}
    if "bytes_limit" in stats:  # GPUs: the part of their memory that JAX takes
        return stats["bytes_limit"] - stats.get("bytes_in_use", 0), f"that JAX may use of a {kind}"
    chip = chips.of(kind)
    return None if chip is None else (chip.hbm_bytes, f"the memory of a {kind}")


def _devices(sizes: Mapping[str, int]) -> str:
    count = math.prod(sizes.values())
    return "one device" if count == 1 else f"each of {count} devices"


def _are_cpus(mesh: Mesh) -> bool:
    return mesh.devices.flat[0].platform == "cpu"


def _remedy(config: Config, sizes: Mapping[str, int], room: float, on_host: int) -> str:
    """Settings that fit by formula, with as few changes as possible: on these devices, or on more of them."""
    cut = {**sizes, "data": config.run.mesh.dcn_data, "fsdp": sizes["data"] * sizes["fsdp"] // config.run.mesh.dcn_data}
    for layout in (dict(sizes), cut):
        if fitting := _fitting(config, layout, room, on_host):
            changed, held = fitting
            axes = [f"--config.run.mesh.{axis}={n}" for axis, n in layout.items() if n != sizes[axis]]
            return f"{' '.join([*axes, *changed])} takes {_gb(held)} GB"
    while math.prod(cut.values()) < _MOST_DEVICES:
        cut = {**cut, "fsdp": cut["fsdp"] * 2}
        if _fitting(config, cut, room, on_host):
            return (
                f"it takes {math.prod(cut.values())} such devices or more, with --config.run.mesh.fsdp={cut['fsdp']} "
                "(of a shipped config, a layout for the chips that you have)"
            )
    return "make config.model smaller"


def _fitting(config: Config, sizes: Mapping[str, int], room: float, on_host: int) -> tuple[list[str], float] | None:
    """(flags, bytes) of the first remat and accumulation that fit on a mesh of these sizes."""
    run, row_parts = config.run, sizes["data"] * sizes["fsdp"]
    remats = dict.fromkeys([run.execution.remat, *(("dots",) if run.execution.remat == "none" else ()), "full"])
    doublings = (run.accumulation * 2**k for k in range(32))
    counts = [
        n
        for n in itertools.takewhile(lambda n: n * row_parts <= config.train.batch_size, doublings)
        if config.train.batch_size % (n * row_parts) == 0
    ]
    for remat, accumulation in itertools.product(remats, counts):
        execution = dataclasses.replace(run.execution, remat=remat)
        changed = dataclasses.replace(
            config, run=dataclasses.replace(run, execution=execution, accumulation=accumulation)
        )
        try:
            held = sum(training_bytes(changed, sizes, on_host).values())
        except UserError:  # a parameter cannot be cut so
            return None
        if held <= room:
            flags = [f"--config.run.execution.remat={remat}"] * (remat != run.execution.remat)
            return flags + [f"--config.run.accumulation={accumulation}"] * (accumulation != run.accumulation), held
    return None


def _gb(size: float) -> str:
    return f"{size / 1e9:.3g}" if size < 1e12 else f"{size / 1e9:.0f}"

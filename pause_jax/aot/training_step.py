"""Compiles the training step ahead of time for devices that are not here: what it holds, computes and sends."""

from __future__ import annotations

import dataclasses
import math
import re
from typing import Any

import jax

from pause_jax.aot import estimates, hlo, roofline, topologies
from pause_jax.aot.topologies import Topology
from pause_jax.config import Config
from pause_jax.distributed import global_batch, kernels
from pause_jax.distributed.mesh import make_mesh
from pause_jax.errors import UserError
from pause_jax.model import counts
from pause_jax.training import initialize, loop
from pause_jax.training.flops import flops_per_step
from pause_jax.training.optimizer import make_optimizer

# Virtual devices of the CPU in place of GPUs show that the step can be partitioned, not what it takes.
_PARTITION_ONLY: dict[str, str | bool] = {"xla_backend_optimization_level": "0"}


def analyze_step(config: Config, topology: Topology) -> dict[str, Any]:
    """Compile the step of `config` for `topology`, and say whether it fits and what bounds it (launch/compile.py).

    Where it does not fit a TPU, the compiler stops, and what is read from the program is None.

    Raises:
      UserError: mesh, batch or a parameter cannot be cut over the topology's devices.
    """
    config = kernels.resolve_config(config, topology.platform)  # not this machine's
    mesh = _mesh(config, topology)
    if not topology.is_tpu and mesh.shape["sequence"] > 1:
        raise UserError(
            "no formula here tells what sequence parallelism sends: make config.run.mesh.sequence 1 for GPUs"
        )
    global_batch.process_rows(config.train.batch_size, config.length, mesh, config.run.accumulation)  # or it raises
    state = initialize.abstract_state(config, make_optimizer(config.optimizer), mesh)
    share = estimates.Share.of(config, dict(mesh.shape))
    flops = flops_per_step(config)
    found: list[hlo.Collective] | None
    if topology.is_tpu:
        held, program = _compile(config, mesh, state)
        found = None if program is None else hlo.collectives(program)
    else:
        lower(config, mesh, state).compile(_PARTITION_ONLY)
        held = estimates.formula_bytes(config, share, _bytes(state), _bytes(state["params"])) | {"by": "formula"}
        found = estimates.formula_collectives(config, share, _along_axes(mesh))
    line = None
    if found is not None:
        line = roofline.roofline(flops, estimates.hbm_traffic(config, share, _bytes(state)), found, topology)
    return {
        "topology": topology.name,
        "devices": topology.devices,
        "parameters": counts.parameter_counts(config.model)[0],
        "bytes_per_device": held,
        "hbm_bytes": topology.chip.hbm_bytes,
        "fits": held["total"] <= topology.chip.hbm_bytes,
        "flops_per_step": flops,
        "collective_bytes_per_step": None if found is None else hlo.bytes_by_kind(found),
        "roofline_step_seconds": line and line.seconds,
        "bound_by": line and line.bound_by(topology),
    }


def _mesh(config: Config, topology: Topology) -> jax.sharding.Mesh:
    try:
        return make_mesh(config.run.mesh, topologies.devices_of(topology))
    except NotImplementedError as error:  # JAX's, where an axis of the mesh is no product of the torus's axes
        raise UserError(
            f"config.run.mesh = {dataclasses.asdict(config.run.mesh)} cannot be laid on --topology={topology.name}: "
            f"make each axis a product of some of {', '.join(map(str, topology.shape))}"
        ) from error


def _along_axes(mesh: jax.sharding.Mesh) -> dict[str, tuple[int, ...]]:
    """For each axis of the mesh, the devices along it that device 0 is among; "rows": along data and fsdp."""
    ids = mesh.device_ids
    axes = {"data": ids[:, 0, 0, 0], "fsdp": ids[0, :, 0, 0], "tensor": ids[0, 0, :, 0], "rows": ids[:, :, 0, 0]}
    return {axis: tuple(along.ravel().tolist()) for axis, along in axes.items()}


def lower(config: Config, mesh: jax.sharding.Mesh, state: Any) -> jax.stages.Lowered:
    """The trainer's own step lowered on `mesh`, for an abstract state (`initialize.abstract_state`) and batch."""
    train_step, _, _ = loop.jit_steps(config, mesh)
    return train_step.lower(
        state, global_batch.abstract_batch(config.train.batch_size, config.length, bool(config.finetune.task), mesh)
    )


def _compile(config: Config, mesh: jax.sharding.Mesh, state: Any) -> tuple[dict[str, Any], str | None]:
    """(bytes of one device, the program's HLO), without a program where the chip's memory does not hold it."""
    try:
        compiled = lower(config, mesh, state).compile()
    except jax.errors.JaxRuntimeError as error:
        return {"total": _wanted(error), "by": "compiled"}, None
    memory = compiled.memory_analysis()
    assert memory is not None  # the compilers for CPUs and TPUs always give it
    held = {
        "arguments": memory.argument_size_in_bytes,
        "temporaries": memory.temp_size_in_bytes,
        "outputs": memory.output_size_in_bytes - memory.alias_size_in_bytes,  # not in arguments' memory
        "program": memory.generated_code_size_in_bytes,
    }
    return held | {"total": sum(held.values()), "by": "compiled"}, compiled.as_text()


def _wanted(error: Exception) -> float:
    """Bytes that the program would take, from the compiler's complaint that the memory does not hold them."""
    match = re.search(r"Used ([\d.]+)([KMGT]) of [\d.]+[KMGT] hbm", str(error))
    if "RESOURCE_EXHAUSTED" not in str(error) or match is None:
        raise error
    return float(match[1]) * 1024 ** ("KMGT".index(match[2]) + 1)


def _bytes(tree: Any) -> float:
    """Bytes that one device holds of arrays with shardings."""
    return sum(math.prod(x.sharding.shard_shape(x.shape)) * x.dtype.itemsize for x in jax.tree.leaves(tree))

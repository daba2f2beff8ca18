"""What a training step at least takes on a chip, and what it holds there by formula.

All counts are of one device. Letters: D width, F inner width, H heads, K key/value heads, E head size, V vocabulary.
"""

from __future__ import annotations

import dataclasses

from pause_jax.config import Config
from pause_jax.distributed.hlo import Collective
from pause_jax.distributed.topologies import Topology
from pause_jax.model import counts

_WIDTH = {"float32": 4, "bfloat16": 2}  # bytes


@dataclasses.dataclass(frozen=True)
class Roofline:
    """Seconds of a step if nothing but this one thing took time: the step takes at least the longest."""

    compute: float  # model FLOPs at the chip's peak; recomputation not counted
    hbm: float  # matmuls' operands and results, and the optimizer's state, through memory
    links: float  # bytes of collectives through ICI, or NVLink and network

    @property
    def seconds(self) -> float:
        return max(self.compute, self.hbm, self.links)

    def bound_by(self, topology: Topology) -> str:
        """Which of them is the longest: "compute", "HBM", and "ICI" of a TPU or "network" of GPUs."""
        links = "ICI" if topology.is_tpu else "network"
        return max((self.compute, "compute"), (self.hbm, "HBM"), (self.links, links))[1]


def roofline(flops_per_step: float, hbm_traffic: float, collectives: list[Collective], topology: Topology) -> Roofline:
    """From FLOPs of all devices together, and bytes through the memory and between the devices of one."""
    chip = topology.chip
    return Roofline(
        compute=flops_per_step / (topology.devices * chip.flops),
        hbm=hbm_traffic / chip.hbm_bandwidth,
        links=sum(c.bytes_sent * c.times / bandwidth(c.group, topology) for c in collectives),
    )


def bandwidth(group: tuple[int, ...], topology: Topology) -> float:
    """Bytes/s that a device can send within a group of devices, at best.

    Within a TPU slice or a node: over all its links at once. Across nodes a ring through all GPUs of the group leaves a
    node once for all of the group's GPUs there, over the adapters of all of them.
    """
    chip = topology.chip
    nodes = {device // topology.node_size for device in group}
    if len(nodes) < 2:
        return chip.link_bandwidth
    return min(chip.link_bandwidth, chip.network_bandwidth * len(group) / len(nodes))


@dataclasses.dataclass(frozen=True)
class Share:
    """The part of a step that one device does: how many ways mesh and accumulation cut it."""

    rows: float  # of a microbatch
    positions: float  # of a row
    microbatches: int
    tensor: int

    @staticmethod
    def of(config: Config, mesh_shape: dict[str, int]) -> Share:
        row_parts = mesh_shape["data"] * mesh_shape["fsdp"] * config.run.accumulation
        return Share(config.train.batch_size / row_parts, config.length / mesh_shape["sequence"],
                     config.run.accumulation, mesh_shape["tensor"])  # fmt: skip


def hbm_traffic(config: Config, share: Share, state_bytes: float) -> float:
    """Bytes a step through the memory: each matmul's operands and result, three times over (forward, and the two
    products of the backward pass; four with full recomputation), and the state read and written.

    What lies between matmuls is left out, as if fused into them: a lower bound.
    """
    model, width = config.model, _WIDTH[config.model.dtype]
    positions = share.rows * share.positions
    weights = _layer_weights(config, share.tensor) * model.num_layers
    activations = positions * model.num_layers * _matmul_elements(config, share.tensor)
    scores = model.num_layers * _score_elements(config, share)
    body = (weights + activations) * width + scores * 2 * (4 + width)  # scores and their softmax, written and read
    passes = 4 if config.run.execution.remat == "full" else 3
    head = model.vocab_size / share.tensor
    chunks = -(-config.length // config.run.loss_chunk) if config.run.loss_chunk else 1
    loss = 3 * (chunks * head * model.d_model * width + positions * (head * 4 + model.d_model * width))
    return share.microbatches * (passes * body + loss) + 2 * state_bytes


def formula_bytes(config: Config, share: Share, state_bytes: float, params_bytes: float) -> dict[str, float]:
    """What a device holds, by formula: `arguments` (the state), `temporaries` and `total`.

    Temporaries: gradients (twice with accumulation), what layers keep for the backward pass, one layer at work, the
    embedding gathered over fsdp with its gradient, and the logits of a chunk with their gradient.
    """
    model, width = config.model, _WIDTH[config.model.dtype]
    positions = share.rows * share.positions
    kept = model.d_model * width
    matmul_results = _matmul_elements(config, share.tensor) - model.d_model
    if config.run.execution.remat != "full":
        kept += matmul_results * 4
    working = positions * (model.d_model * width + matmul_results * (4 + width))
    scores = _score_elements(config, share)
    if config.run.execution.remat == "none":
        kept += scores / positions * (4 + width)
    head = model.vocab_size / share.tensor
    chunk = min(config.run.loss_chunk or config.length, config.length) / config.length * positions
    temporaries = (
        params_bytes * (2 if share.microbatches > 1 else 1)
        + positions * model.num_layers * kept
        + working
        + scores * (4 + 4 + width)
        + 2 * _layer_weights(config, share.tensor) * width
        + head * model.d_model * (4 + width)
        + 2 * chunk * head * 4
    )
    return {"arguments": state_bytes, "temporaries": temporaries, "total": state_bytes + temporaries}


def _layer_weights(config: Config, tensor: int) -> float:
    """Parameters of one layer's matrices, of those that a device multiplies with."""
    model = config.model
    return (counts.matmul_parameters(model) - model.vocab_size * model.d_model) / model.num_layers / tensor


def _matmul_elements(config: Config, tensor: int) -> float:
    """Elements a position that a layer's matmuls read and write: three of D, q, k, v, attention's, the MLP's."""
    model = config.model
    heads = (2 * model.num_heads + 2 * model.kv_heads) * model.head_size / tensor
    inner = (3 if model.mlp == "swiglu" else 2) * model.d_ff / tensor
    return 3 * model.d_model + heads + inner


def _score_elements(config: Config, share: Share) -> float:
    """Attention scores of a layer's microbatch, where the back end writes them down: plain XLA does."""
    if config.run.execution.attention != "xla":
        return 0.0
    return share.rows * share.positions * config.length * config.model.num_heads / share.tensor

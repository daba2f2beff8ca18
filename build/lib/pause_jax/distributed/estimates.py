"""What one device holds, moves and sends in a training step, by formula: for chips whose compiler is not here.

What moves through memory is by formula for all. experiments/compiled shows how far the rest is from what TPUs' compiler
says (tests/distributed/test_estimates.py).
"""

from __future__ import annotations

import dataclasses

from pause_jax.config import Config
from pause_jax.distributed.hlo import Collective
from pause_jax.model import counts

_WIDTH = {"float32": 4, "bfloat16": 2}  # bytes


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
    loss = 3 * (_loss_chunks(config) * head * model.d_model * width + positions * (head * 4 + model.d_model * width))
    return share.microbatches * (passes * body + loss) + 2 * state_bytes


def formula_bytes(config: Config, share: Share, state_bytes: float, params_bytes: float) -> dict[str, float]:
    """What a device holds, by formula: `arguments` (the state), `temporaries` and `total`.

    Temporaries: gradients (twice with accumulation), what layers keep for the backward pass, one layer at work, the
    embedding gathered over fsdp with its gradient, and the logits of a chunk with their gradient.
    """
    model, width = config.model, _WIDTH[config.model.dtype]
    positions = share.rows * share.positions
    kept: float = model.d_model * width
    if config.run.execution.remat != "full":
        kept += _matmul_results(config, share.tensor) * 4
    working = positions * _matmul_elements(config, share.tensor) * (4 + width)
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
        + (1 if model.tie_embeddings else 2) * head * model.d_model * (4 + width)
        + 2 * chunk * head * 4
    )
    return {"arguments": state_bytes, "temporaries": temporaries, "total": state_bytes + temporaries}


def formula_collectives(config: Config, share: Share, mesh: dict[str, tuple[int, ...]]) -> list[Collective]:
    """What one device sends by data, FSDP and tensor parallelism, biases and norms left out.

    Each layer's weights are gathered for the forward and the backward pass in the compute dtype, their float32
    gradients scattered over fsdp and summed over data. Embedding and head are gathered once a step in float32; their
    gradients are summed over data and fsdp: the head's twice in each chunk of the loss (its logits, and the labels'
    own), the embedding's once. Tensor parallelism sums a layer's two outputs in float32, what is recomputed of
    attention's, and in the backward pass what comes out of q, k, v and the MLP's first matrices, each by itself.

    Args:
      mesh: for each axis of the mesh the devices along it, those of device 0; of "rows" those along data and fsdp.
    """
    model, width, micro = config.model, _WIDTH[config.model.dtype], share.microbatches
    f, d, r, t = (len(mesh[axis]) for axis in ("fsdp", "data", "rows", "tensor"))
    layer = _layer_weights(config, share.tensor)
    table = model.vocab_size * model.d_model / share.tensor
    tables = 1 if model.tie_embeddings else 2
    activations = share.rows * share.positions * model.d_model * 4  # summed before they are rounded
    sums = 2 + 3 + (2 if model.mlp == "swiglu" else 1) + (config.run.execution.remat == "full")
    found = [
        Collective("all-gather", 2 * layer * width * (f - 1) / f, mesh["fsdp"], micro * model.num_layers),
        Collective("all-gather", tables * table * 4 * (f - 1) / f, mesh["fsdp"], 1),
        Collective("reduce-scatter", layer * 4 * (f - 1) / f, mesh["fsdp"], micro * model.num_layers),
        Collective("all-reduce", 2 * layer * 4 / f * (d - 1) / d, mesh["data"], micro * model.num_layers),
        Collective("all-reduce", 2 * 2 * table * width * (r - 1) / r, mesh["rows"], micro * _loss_chunks(config)),
        Collective("all-reduce", 2 * table * 4 * (r - 1) / r, mesh["rows"], micro),
        Collective("all-reduce", sums * 2 * activations * (t - 1) / t, mesh["tensor"], micro * model.num_layers),
    ]
    return [collective for collective in found if collective.bytes_sent]


def _loss_chunks(config: Config) -> int:
    return -(-config.length // config.run.loss_chunk) if config.run.loss_chunk else 1


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


def _matmul_results(config: Config, tensor: int) -> float:
    """Elements a position that a layer's products with weights give, float32 as they are kept."""
    model = config.model
    heads = (model.num_heads + 2 * model.kv_heads) * model.head_size / tensor
    inner = (2 if model.mlp == "swiglu" else 1) * model.d_ff / tensor
    return 2 * model.d_model + heads + inner


def _score_elements(config: Config, share: Share) -> float:
    """Attention scores of a layer's microbatch, where the back end writes them down: plain XLA does."""
    if config.run.execution.attention != "xla":
        return 0.0
    return share.rows * share.positions * config.length * config.model.num_heads / share.tensor

"""Formulas for what one device holds, moves and sends in a training step, for chips whose compiler is not here.

Traffic through memory is by formula for all chips. tests/launch/test_compile.py compares the rest with what TPUs'
compiler says (experiments/compiled).
"""

from __future__ import annotations

import dataclasses

from pause_jax.aot.hlo import Collective
from pause_jax.config import Config
from pause_jax.model import counts
from pause_jax.model.ops.cpu import query_spans

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
        return Share(
            config.train.batch_size / row_parts,
            config.length / mesh_shape["sequence"],
            config.run.accumulation,
            mesh_shape["tensor"],
        )


def hbm_traffic(config: Config, share: Share, state_bytes: float) -> float:
    """Bytes through the memory in a step: operands and results of matmuls, and the state read and written.

    Matmuls count three times (forward, and two products in the backward pass), with full recomputation four times.
    What lies between them is left out, as if fused into them: a lower bound.
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
    """Bytes that a device holds, by formula: `arguments` (the state), `temporaries` and `total`."""
    held = sum(temporaries(config, share, params_bytes).values())
    return {"arguments": state_bytes, "temporaries": held, "total": state_bytes + held}


def temporaries(config: Config, share: Share, params_bytes: float) -> dict[str, float]:
    """Bytes that a device holds besides the state in a training step, by what they are for.

    `gradients` (twice with accumulation); `activations`: what layers keep for the backward pass and one layer at work;
    `logits`: those of a chunk, and the head gathered over fsdp with its gradient.
    """
    if "auto" in dataclasses.astuple(config.run.execution) or config.run.loss_chunk < 0:
        raise ValueError(f"{config.run.execution} has not been resolved (kernels.resolve_config)")
    model, width = config.model, _WIDTH[config.model.dtype]
    positions = share.rows * share.positions
    keep, scores = _kept_by_all(config, share.tensor), _score_elements(config, share)
    inner = (2 if model.mlp == "swiglu" else 1) * model.d_ff / share.tensor
    # attention's backward pass and the MLP's come one after the other
    working = max(positions * inner * (4 + width), scores / len(_score_spans(config)) * (4 + 4 + width))
    if config.run.execution.remat == "none":
        kept = model.num_layers * (positions * keep + scores * width)
    else:
        dense = _matmul_results(config, share.tensor) if config.run.execution.remat == "dots" else 0
        kept = model.num_layers * positions * (model.d_model + dense) * width
        working += positions * keep  # a layer's, computed again
    head = model.vocab_size / share.tensor
    with_loss = (config.length - config.first_loss) / config.length
    chunk = min(config.run.loss_chunk / config.length, with_loss) if config.run.loss_chunk else with_loss
    return {
        "gradients": params_bytes * (2 if share.microbatches > 1 else 1),
        "activations": kept + working + 2 * _layer_weights(config, share.tensor) * width,
        "logits": head * model.d_model * (4 + width)
        + chunk * positions * head * (4 + width % 4),  # their gradient takes their place, but not a narrower one
    }


def formula_collectives(config: Config, share: Share, mesh: dict[str, tuple[int, ...]]) -> list[Collective]:
    """The collectives of data, FSDP and tensor parallelism as one device sends them, biases and norms left out.

    Each layer's weights are gathered for the forward and the backward pass in the compute dtype, their float32
    gradients scattered over fsdp and summed over data. Embedding and head are gathered once a step in float32; their
    gradients are summed over data and fsdp: the head's twice in each chunk of the loss (for the logits, and for the
    targets' logits), the embedding's once. Tensor parallelism sums a layer's two outputs in float32, what is recomputed
    of attention's, and in the backward pass the gradients of the inputs of q, k, v and the MLP's first matrices, one by
    one.

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
    """Parameters of one layer's matrices that a device multiplies with."""
    model = config.model
    return (counts.matmul_parameters(model) - model.vocab_size * model.d_model) / model.num_layers / tensor


def _matmul_elements(config: Config, tensor: int) -> float:
    """Elements per position that a layer's matmuls read and write: 3 D, q, k, v, attention's output, the MLP's."""
    model = config.model
    heads = (2 * model.num_heads + 2 * model.num_kv_heads) * model.head_dim / tensor
    inner = (3 if model.mlp == "swiglu" else 2) * model.d_ff / tensor
    return 3 * model.d_model + heads + inner


def _matmul_results(config: Config, tensor: int) -> float:
    """Elements per position of the results of a layer's products with weights."""
    model = config.model
    heads = (model.num_heads + 2 * model.num_kv_heads) * model.head_dim / tensor
    inner = (2 if model.mlp == "swiglu" else 1) * model.d_ff / tensor
    return 2 * model.d_model + heads + inner


def _kept_by_all(config: Config, tensor: int) -> float:
    """Bytes per position that a layer keeps without recomputation, attention's scores left out.

    Results and operands of its products with weights, and in float32 the outputs of norms and attention.
    """
    model, width = config.model, _WIDTH[config.model.dtype]
    read = 3 * model.d_model + model.d_ff / tensor
    in_float32 = 2 * model.d_model + model.num_heads * model.head_dim / tensor
    return (_matmul_results(config, tensor) + read) * width + in_float32 * 4


def _score_elements(config: Config, share: Share) -> float:
    """Attention scores of a layer and microbatch, where they are written to memory: with the kernel "xla"."""
    if config.run.execution.attention != "xla":
        return 0.0
    seen = sum((end - start) * keys for start, end, keys in _score_spans(config))
    return share.rows * share.positions / config.length * seen * config.model.num_heads / share.tensor


def _score_spans(config: Config) -> list[tuple[int, int, int]]:
    """Blocks of queries in which attention is computed, as of `query_spans`; a single block where no keys are left out.

    Keys are left out on CPUs only, and only where the mask is known at compile time.
    """
    length = config.length
    if config.run.execution.kernels != "cpu" or config.prefix_lm_length is None:
        return [(0, length, length)]
    return list(query_spans(length, length, prefix_lm_length=config.prefix_lm_length, rule=config.model.mask))

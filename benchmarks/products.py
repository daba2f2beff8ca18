"""The matrix products of a training step alone, in JAX and in torch: what no other code of the step can win back.

Of each dense layer and of the head three: forward, and the gradients by its input and by its matrix. Attention has more
that are left out. Ours are those that the trainer computes (`pause_jax/model/ops`).
"""

from __future__ import annotations

from collections.abc import Iterator

import jax
import jax.numpy as jnp
import torch

from benchmarks.measure import Call, Pair
from benchmarks.peers import prepare_torch, torch_device, torch_wait
from benchmarks.shapes import Shape
from pause_jax.config.model import Execution, resolve
from pause_jax.model import ops


def make_pair(shape: Shape, batch_size: int, length: int) -> Pair:
    """All products of one step in float32; in bfloat16 `ours_bfloat16` and `peer_bfloat16`."""
    prepare_torch()
    sizes, rows = list(_matrices(shape)), batch_size * length
    flops = sum(6.0 * rows * inner * outer for inner, outer in sizes)
    sides = {
        dtype: (
            _together([_ours(rows, *size, dtype) for size in sizes]),
            _together([_torch(rows, *size, dtype) for size in sizes]),
        )
        for dtype in ("float32", "bfloat16")
    }
    (ours, peer), (ours_bfloat16, peer_bfloat16) = sides["float32"], sides["bfloat16"]
    return Pair(ours, peer, others={"ours_bfloat16": ours_bfloat16, "peer_bfloat16": peer_bfloat16}, flops=flops)


def _matrices(shape: Shape) -> Iterator[tuple[int, int]]:
    """(input size, output size) of every dense layer, and of the head."""
    width, kv_width = shape.d_model, shape.d_model // shape.num_heads * shape.num_kv_heads
    for _ in range(shape.num_layers):
        yield from [(width, width), (width, kv_width), (width, kv_width), (width, width)]  # queries, keys, values, out
        yield from [(width, shape.d_ff)] * (2 if shape.family == "llama" else 1)
        yield shape.d_ff, width
    yield width, shape.vocab_size


def _together(calls: list[Call]) -> Call:
    def call() -> None:
        for one in calls:
            one()

    return call


def _ours(rows: int, inner: int, outer: int, dtype: str) -> Call:
    shapes = (rows, inner), (inner, outer), (rows, outer)
    x, kernel, gradient = (jax.random.normal(jax.random.key(i), shape, dtype) for i, shape in enumerate(shapes))
    gradient = gradient.astype(jnp.float32)
    return lambda: jax.block_until_ready(_products(x, kernel, gradient))


@jax.jit
def _products(x_RxI: jax.Array, kernel_IxO: jax.Array, gradient_RxO: jax.Array) -> object:
    execution = resolve(Execution(), jax.default_backend())
    result, back = jax.vjp(lambda x, kernel: ops.linear(x, kernel, execution), x_RxI, kernel_IxO)
    return result, back(gradient_RxO)


def _torch(rows: int, inner: int, outer: int, dtype: str) -> Call:
    shapes = (rows, inner), (outer, inner), (rows, outer)
    x, weight, gradient = (torch.randn(shape, device=torch_device(), dtype=getattr(torch, dtype)) for shape in shapes)

    def products() -> None:
        _ = x @ weight.T, gradient @ weight, gradient.T @ x
        torch_wait()

    return products

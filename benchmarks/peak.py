"""What the machine can do at most, by what JAX and torch reach: FLOP/s of one large matrix product, bytes/s of memory.

MFU is model FLOPs over (time x the better of the two peaks), both measured in one run. The triad is STREAM's,
b = b + 3 * c over arrays that no cache holds: two are read and one is written.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import torch

from benchmarks.measure import Call, Pair, seconds
from benchmarks.peers import prepare_torch, torch_device, torch_wait

SECONDS = 0.5  # of calls, of which the best counts
MATRIX = {"cpu": 1024, "gpu": 8192, "tpu": 8192}  # rows and columns, by JAX's backend
TRIAD = 2**26  # float32 numbers: 256 MiB an array


def matmul_flops_per_second(dtype: str) -> float:
    """The best that either reached just now."""
    pair = make_matmul_pair(dtype)
    assert callable(pair.peer)
    return pair.flops / min(_best(pair.ours), _best(pair.peer))


def make_matmul_pair(dtype: str) -> Pair:
    """JAX's product of two square matrices and torch's; work is counted in TFLOP."""
    prepare_torch()
    size = MATRIX[jax.default_backend()]
    flops = 2.0 * size**3
    a, b = (jax.random.normal(jax.random.key(i), (size, size), dtype) for i in range(2))
    product = jax.jit(lambda a, b: jnp.dot(a, b, preferred_element_type=jnp.float32))
    a_torch, b_torch = (torch.randn(size, size, device=torch_device(), dtype=getattr(torch, dtype)) for _ in range(2))

    def peer() -> None:
        torch.nn.functional.linear(a_torch, b_torch)  # a b^T, the layout that torch's own layers have
        torch_wait()

    return Pair(lambda: jax.block_until_ready(product(a, b)), peer, work=flops / 1e12, flops=flops)


def make_triad_pair() -> Pair:
    """The triad in JAX, in place, and in torch; work is counted in GB of 10^9 bytes."""
    prepare_torch()
    triad = jax.jit(lambda b, c: b + 3.0 * c, donate_argnums=0)
    b, c = jnp.zeros(TRIAD), jnp.full(TRIAD, 1e-9)
    b_torch, c_torch = (torch.zeros(TRIAD, device=torch_device()) for _ in range(2))

    def ours() -> None:
        nonlocal b
        b = jax.block_until_ready(triad(b, c))

    def peer() -> None:
        b_torch.add_(c_torch, alpha=3.0)
        torch_wait()

    return Pair(ours, peer, work=3 * 4 * TRIAD / 1e9)


def _best(call: Call) -> float:
    """Seconds of the quickest of some calls; the first, which compiles, is left out."""
    call()
    taken: list[float] = []
    while sum(taken) < SECONDS:
        taken.append(seconds(call))
    return min(taken)

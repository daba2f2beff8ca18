"""Checksums of arrays on their devices: the same for every mesh, and no byte of them is read back from storage.

A checkpoint keeps them beside its arrays, so that a bit that was flipped in a file, or on the way, is found when it is
restored. Orbax and TensorStore find files that are missing or cut, but not every flipped bit of an array's content.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from pause_jax import trees

_ODD = np.uint32(2654435761)  # spreads the elements' numbers over all 32 bits


def compute(tree: Any) -> dict[str, int]:
    """A number in 0..2^32 - 1 for each array under its path.

    It is the sum modulo 2^32 of each element's bits times an odd number that depends on where the element stands: sums
    of integers do not depend on the order, so neither on the sharding. A single flipped bit always changes it, other
    damage all but once in 2^32.
    """
    # Wait for each one on all its devices: compiling while several CPU devices run a program can deadlock both.
    jax.block_until_ready(tree)
    return {path: int(jax.block_until_ready(_sum(array))) for path, array in trees.flatten(tree).items()}


def differing(sums: Mapping[str, int], recorded: Mapping[str, int]) -> list[str]:
    """Paths whose checksum is not the recorded one, or that have none recorded."""
    return [path for path, number in sums.items() if recorded.get(path) != number]


# By array, not by tree: parameters and moments have a few shapes between them, each of which compiles once.
@jax.jit
def _sum(array: jax.Array) -> jax.Array:
    if array.dtype == jnp.bool_:
        bits = array.astype(jnp.uint32)
    else:
        bits = jax.lax.bitcast_convert_type(array, jnp.dtype(f"uint{8 * array.dtype.itemsize}")).astype(jnp.uint32)
    number = functools.reduce(
        lambda so_far, axis: (
            so_far * jnp.uint32(array.shape[axis]) + jax.lax.broadcasted_iota(jnp.uint32, array.shape, axis)
        ),
        range(array.ndim),
        jnp.zeros(array.shape, jnp.uint32),
    )
    return jnp.sum(bits * (number * _ODD * 2 + 1), dtype=jnp.uint32)

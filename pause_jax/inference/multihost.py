"""Inference on a mesh: rows lie over its `data` and `fsdp` axes, parameters and activations as in training.

Each process passes the whole batch of ids, some KB; the network's own constraints cut it. Where the mesh is `None`, the
computation runs on the devices where the parameters lie.
"""

from __future__ import annotations

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh

from pause_jax.distributed import sharding


def row_parts(mesh: Mesh | None) -> int:
    """How many parts rows are cut into: a batch has a multiple of it."""
    return 1 if mesh is None else sharding.row_parts(mesh)


def fetch(array: jax.Array) -> np.ndarray:
    """The whole array, on every process's host."""
    if array.is_fully_addressable:
        return np.asarray(array)
    return np.asarray(multihost_utils.process_allgather(array, tiled=True))

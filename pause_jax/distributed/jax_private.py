"""All that we use of JAX's private modules, in one place: another version may name them otherwise."""

from __future__ import annotations

import importlib
from typing import Any

from pause_jax.errors import UserError


def coordination_client() -> Any:
    """The client of the coordination service that `jax.distributed.initialize` has started."""
    return _find("jax._src.distributed", "global_state").client


def tpu_clusters() -> tuple[Any, ...]:
    """The classes that find the other hosts of a TPU slice, on GKE and on Compute Engine."""
    module = "jax._src.clusters.cloud_tpu_cluster"
    return _find(module, "GkeTpuCluster"), _find(module, "GceTpuCluster")


def slurm_cluster() -> Any:
    """The class that finds the other tasks of a SLURM job."""
    return _find("jax._src.clusters.slurm_cluster", "SlurmCluster")


def _find(module: str, name: str) -> Any:
    """`name` of `module`. Raises UserError where this version of JAX does not have it."""
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError):
        import jax

        raise UserError(
            f"several processes need {module}.{name}, which jax {jax.__version__} does not have: install the version "
            "of requirements.txt"
        ) from None

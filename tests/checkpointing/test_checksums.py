"""Checksums: by hand, on any mesh, and every flipped bit."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jax.sharding import NamedSharding, PartitionSpec

from pause_jax.checkpointing import checksums
from pause_jax.config import MeshConfig
from pause_jax.distributed import mesh

ARRAYS = {
    "a": {"b": np.arange(48, dtype=np.float32).reshape(8, 6) - 7.5},
    "c": np.arange(16).astype(jnp.bfloat16),
    "step": np.int32(7),
    "mask": np.arange(4) % 2 == 0,
}


def by_hand(array):
    array = np.asarray(array)
    bits = array.astype(np.uint32) if array.dtype == bool else array.view(f"uint{8 * array.dtype.itemsize}")
    return sum(int(b) * (i * 2654435761 * 2 + 1) for i, b in enumerate(bits.ravel())) % 2**32


def test_by_hand():
    got = checksums.compute(ARRAYS)
    assert got == {
        "a/b": by_hand(ARRAYS["a"]["b"]),
        "c": by_hand(ARRAYS["c"]),
        "step": 7,
        "mask": by_hand(ARRAYS["mask"]),
    }


@pytest.mark.parametrize("spec", [("data", "fsdp"), (("data", "fsdp"), None), (None, "fsdp")])
def test_the_same_on_any_mesh(spec):
    on = NamedSharding(mesh.make_mesh(MeshConfig(data=4, fsdp=2)), PartitionSpec(*spec))
    sharded = jax.device_put(ARRAYS["a"]["b"], on)
    assert checksums.compute({"x": sharded}) == {"x": by_hand(ARRAYS["a"]["b"])}


@given(st.integers(0, 47), st.integers(0, 31))
def test_every_flipped_bit_is_found(element, bit):
    array = ARRAYS["a"]["b"].copy()
    array.view(np.uint32).ravel()[element] ^= np.uint32(1 << bit)
    changed = ARRAYS | {"a": {"b": array}}
    assert checksums.differing(checksums.compute(changed), checksums.compute(ARRAYS)) == ["a/b"]


def test_swapped_elements_are_found():
    array = ARRAYS["a"]["b"][:, ::-1].copy()
    assert checksums.differing(checksums.compute({"a": {"b": array}}), checksums.compute(ARRAYS)) == ["a/b"]


def test_arrays_of_one_shape_compile_once():
    """A state has dozens of arrays: as one program they took 2.4 s to compile at the quickstart's first save."""
    before = checksums._sum._cache_size()
    arrays = {f"{k}": np.full((3, 5, 7), k, np.float32) for k in range(20)}
    checksums.compute(arrays)
    assert checksums._sum._cache_size() == before + 1


def test_no_program_is_compiled_or_started_while_another_runs(monkeypatch):
    """CPU devices of one process then wait for each other for ever: in each of three tries of sixty saves on eight."""
    done, wait, compute = [], jax.block_until_ready, checksums._sum
    monkeypatch.setattr(jax, "block_until_ready", lambda tree: done.append("wait") or wait(tree))
    monkeypatch.setattr(checksums, "_sum", lambda array: done.append("sum") or compute(array))
    checksums.compute(ARRAYS)
    assert done == ["wait", *["sum", "wait"] * 4]

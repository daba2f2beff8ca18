"""The splash kernel, emulated on the CPU, against plain attention: values and gradients of each kind of mask."""

from __future__ import annotations

import dataclasses
import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pause_jax import trees
from pause_jax.config import MeshConfig
from pause_jax.config.model import Execution, ModelConfig
from pause_jax.distributed import sharding
from pause_jax.distributed.mesh import make_mesh
from pause_jax.errors import UserError
from pause_jax.model import decoder
from pause_jax.model.mask import Mask
from pause_jax.model.ops import reference, splash, tpu
from pause_jax.pauses import downstream

B, E, BLOCK = 2, 32, 128
emulated = functools.partial(splash.attend, block=BLOCK, interpret=True)
plain = reference.attention


def segments(length, *parts):
    """A row of segments: (id, positions), the last to the end."""
    row = np.full(length, parts[-1][0], np.int32)
    start = 0
    for number, count in parts[:-1]:
        row[start : start + count] = number
        start += count
    return row


def finetuning(attention):
    """Prompts of up to 150 positions, one of them with 37 of left padding, 10 pauses, then targets; all ends padded."""
    length = 200
    rows = np.stack([segments(length, (0, 37), (1, 150), (0, 0)), segments(length, (1, 180), (0, 0))])
    return rows, downstream.prefix_lm_length(attention, 150, 10)


PACKED = np.stack([segments(300, (1, 100), (2, 27), (3, 0)), segments(300, (1, 256), (2, 30), (0, 0))])
CASES = {  # segments [B, T], prefix_lm_length
    "causal": (np.ones((B, 256), np.int32), 0),
    "packed, length no multiple of the block": (PACKED, 0),
    "prefix_and_pauses, left padding": finetuning("prefix_and_pauses"),
    "prefix_only, left padding": finetuning("prefix_only"),
    "a prefix over several blocks": (np.ones((B, 290), np.int32), 270),
    "one block": (np.ones((B, 50), np.int32), 20),
}


def outputs_and_gradients(attention, mask, heads, num_kv_heads, dtype):
    """Of all real positions, as float32: the outputs, and gradients of q, k and v of a random function of them."""
    length = mask.q_segments_BxT.shape[1]
    rng = np.random.default_rng(0)
    q, k, v, out_cotangent = (
        jnp.asarray(rng.normal(size=(B, length, h, E)), dtype) for h in (heads, num_kv_heads, num_kv_heads, heads)
    )
    real_BxTx1x1 = (mask.q_segments_BxT > 0)[:, :, None, None]

    @jax.jit
    def run(q, k, v):
        out, pull_back = jax.vjp(lambda *qkv: attention(*qkv, mask), q, k, v)
        return jnp.where(real_BxTx1x1, out, 0), *pull_back(jnp.where(real_BxTx1x1, out_cotangent, 0)), out

    *compared, everything = run(q, k, v)
    assert np.isfinite(np.asarray(everything, np.float32)).all()  # what is at padding is some number
    return [np.asarray(x, np.float32) for x in compared]


def check_equal(mask, heads, num_kv_heads, dtype, tolerance):
    wanted = outputs_and_gradients(plain, mask, heads, num_kv_heads, dtype)
    got = outputs_and_gradients(emulated, mask, heads, num_kv_heads, dtype)
    for name, ours, theirs in zip(("out", "dq", "dk", "dv"), got, wanted, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=tolerance, atol=tolerance * np.abs(theirs).max(), err_msg=name)


@pytest.mark.parametrize("case", CASES)
def test_equals_plain_attention(case):
    rows, prefix_lm_length = CASES[case]
    check_equal(Mask(jnp.asarray(rows), jnp.asarray(rows), prefix_lm_length=prefix_lm_length), 2, 2, jnp.float32, 2e-6)


@pytest.mark.parametrize(("num_kv_heads", "dtype", "tolerance"), [(2, jnp.float32, 2e-6), (1, jnp.bfloat16, 2e-2)])
def test_equals_plain_attention_with_grouped_heads(num_kv_heads, dtype, tolerance):
    rows, prefix_lm_length = finetuning("prefix_only")
    check_equal(
        Mask(jnp.asarray(rows), jnp.asarray(rows), prefix_lm_length=prefix_lm_length), 4, num_kv_heads, dtype, tolerance
    )


def test_the_masks_are_those_of_plain_attention_and_differ():
    """Or the tests above would pass with one mask for all."""
    drawn = []
    for prefix_lm_length in (0, 150, 160):
        ones = jnp.ones((1, 200), jnp.int32)
        wanted = np.asarray(Mask(ones, ones, prefix_lm_length=prefix_lm_length).may_attend_BxTxS())[0]
        compiled = splash._RuleMask("prefix_lm", 200, prefix_lm_length)
        np.testing.assert_array_equal(compiled[slice(0, 200), slice(0, 200)], wanted)
        drawn.append(wanted)
    assert [int((a != b).sum()) for a, b in itertools.pairwise(drawn)] == [150 * 149 // 2, 10 * 150 + 45]


@pytest.mark.parametrize(("length", "block"), [(1, 128), (128, 128), (129, 256), (2048, 512), (2058, 384), (1234, 256)])
def test_a_row_is_cut_into_the_blocks_that_pad_it_least(length, block):
    assert splash._block(length) == block


def test_masks_that_are_not_known_when_it_compiles_are_refused():
    x, ones = jnp.zeros((2, 4, 1, 8)), jnp.ones((2, 4), jnp.int32)
    with pytest.raises(UserError, match=r"'splash' compiles its mask, but here each row has its own: set .*=xla"):
        tpu.attention(x, x, x, Mask(ones, ones, prefix_lm_length=jnp.array([1, 2])), "splash")
    with pytest.raises(UserError, match=r"'splash' reads whole rows, not a cache: set .*=xla"):
        tpu.attention(x[:, :1], x, x, Mask(ones[:, :1], ones, first_query=jnp.array(3)), "splash")


MODEL = ModelConfig(
    vocab_size=40, num_layers=2, d_model=32, num_heads=4, num_kv_heads=4, d_ff=32, max_positions=150, positions="rope"
)


@pytest.mark.slow
@pytest.mark.parametrize("mesh", [MeshConfig(data=2, tensor=2, sequence=2), MeshConfig(data=2, fsdp=4)])
def test_a_network_cut_over_a_mesh(mesh, monkeypatch):
    """Rows, heads and, for heads, positions: the kernel runs on each device's part of the first two."""
    monkeypatch.setattr(splash, "attend", emulated)
    devices = make_mesh(mesh)
    params = decoder.init(dataclasses.replace(MODEL, num_pause_tokens=1), seed=0)
    rng = np.random.default_rng(0)
    ids = rng.integers(0, 41, (8, 150)).astype(np.int32)
    rows = np.tile(segments(150, (0, 20), (1, 100), (2, 0)), (8, 1))
    places = np.tile(np.arange(150, dtype=np.int32), (8, 1))

    def loss(params, kernel):
        network = decoder.bind(
            params,
            dataclasses.replace(MODEL, num_pause_tokens=1),
            Execution(kernels="tpu", scan_layers="on", attention=kernel),
        )
        hidden, _ = network(ids, places, rows, prefix_lm_length=110)
        return jnp.sum(jnp.where(rows[:, :, None] > 0, jnp.sin(hidden), 0))

    def on_mesh(params):
        with sharding.with_mesh(devices):
            return jax.value_and_grad(loss)(params, "splash")

    shardings = sharding.param_shardings(dataclasses.replace(MODEL, num_pause_tokens=1), devices)
    value, gradients = jax.jit(on_mesh, in_shardings=(shardings,))(jax.device_put(params, shardings))
    wanted, wanted_gradients = jax.jit(jax.value_and_grad(functools.partial(loss, kernel="xla")))(params)
    np.testing.assert_allclose(value, wanted, rtol=1e-5)
    for path, gradient in trees.flatten(gradients).items():
        theirs = trees.flatten(wanted_gradients)[path]
        np.testing.assert_allclose(gradient, theirs, rtol=1e-4, atol=1e-5 * np.abs(theirs).max(), err_msg=path)

"""Masks written out by hand, attention by a loop."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pause_jax.config.model import Execution
from pause_jax.errors import UserError
from pause_jax.model import ops
from pause_jax.model.mask import Mask
from pause_jax.model.ops import cpu, gpu, reference


def drawn(mask):
    """The mask of row 0 as text: a line for each query, `x` for a key that it may attend to."""
    return ["".join("x" if may else "." for may in query) for query in np.asarray(mask.may_attend_BxTxS())[0]]


def segments(*ids):
    return jnp.array([ids], jnp.int32)


def test_causal():
    assert drawn(Mask(segments(1, 1, 1), segments(1, 1, 1))) == [
        "x..",
        "xx.",
        "xxx",
    ]


def test_segments_and_padding():
    ids = segments(0, 1, 1, 2, 2, 0)
    assert drawn(Mask(ids, ids)) == [
        "......",
        ".x....",
        ".xx...",
        "...x..",
        "...xx.",
        "......",
    ]


def test_bidirectional_prefix_after_left_padding():
    """Two of padding, two of prompt and pauses, two of target."""
    ids = segments(0, 0, 1, 1, 1, 1)
    assert drawn(Mask(ids, ids, prefix_lm_length=4)) == [
        "......",
        "......",
        "..xx..",
        "..xx..",
        "..xxx.",
        "..xxxx",
    ]


def test_rows_may_differ_in_what_is_bidirectional():
    ids = jnp.ones((2, 3), jnp.int32)
    together = Mask(ids, ids, prefix_lm_length=jnp.array([0, 2])).may_attend_BxTxS()
    for row, prefix_lm_length in enumerate([0, 2]):
        alone = Mask(ids[:1], ids[:1], prefix_lm_length=prefix_lm_length).may_attend_BxTxS()
        np.testing.assert_array_equal(together[row], alone[0])


def test_queries_that_start_behind_the_first_key():
    """The cache holds three positions and room for one more; two new queries come at index 2."""
    assert drawn(Mask(segments(1, 1), segments(1, 1, 1, 1, 0), first_query=2)) == [
        "xxx..",
        "xxxx.",
    ]
    assert drawn(Mask(segments(1, 1), segments(1, 1, 1, 1, 0), first_query=2, prefix_lm_length=4)) == [
        "xxxx.",
        "xxxx.",
    ]


@pytest.mark.parametrize("attend", [cpu.attention, reference.attention])
def test_by_hand(attend):
    """One head of size 4 (scale 1/2): scores 0 and 2·ln 3 · 1/2 give the second query weights 1/4 and 3/4."""
    q = jnp.zeros((1, 2, 1, 4)).at[0, 1, 0, 0].set(1.0)
    k = jnp.zeros((1, 2, 1, 4)).at[0, 1, 0, 0].set(2 * np.log(3.0))
    v = jnp.array([[8.0, 0, 0, 0], [0, 4.0, 0, 0]])[None, :, None, :]
    out = attend(q, k, v, Mask(segments(1, 1), segments(1, 1)))
    np.testing.assert_allclose(out[0, :, 0], [[8, 0, 0, 0], [2, 3, 0, 0]], rtol=1e-6)


@pytest.mark.parametrize("attend", [cpu.attention, reference.attention])
@pytest.mark.parametrize("num_kv_heads", [1, 2, 4])
def test_equals_a_loop(num_kv_heads, attend):
    """Grouped heads: query head h reads key/value head h // (H / K)."""
    rng = np.random.default_rng(0)
    q, k, v = (rng.normal(size=(2, 5, heads, 6)).astype(np.float32) for heads in (4, num_kv_heads, num_kv_heads))
    ids = np.array([[1, 1, 2, 2, 2], [0, 1, 1, 1, 1]], np.int32)
    mask = Mask(jnp.asarray(ids), jnp.asarray(ids), prefix_lm_length=4)
    out = attend(jnp.asarray(q), jnp.asarray(k), jnp.asarray(v), mask)
    for b, t, h in np.ndindex(2, 5, 4):
        seen = [s for s in range(5) if ids[b, t] == ids[b, s] != 0 and (s <= t or (s < 4 and t < 4))]
        if seen:
            group = h // (4 // num_kv_heads)
            weights = np.exp([q[b, t, h] @ k[b, s, group] / np.sqrt(6) for s in seen])
            wanted = (weights / weights.sum()) @ v[b, seen, group]
            np.testing.assert_allclose(out[b, t, h], wanted, rtol=1e-4, atol=1e-5)
    assert np.isfinite(out).all()


def test_later_keys_are_left_out_on_cpus():
    """Four blocks of queries see 1, 2, 3 and 4 quarters of the keys: 10 of 16 quarters squared."""
    x, ids = jnp.zeros((1, 256, 1, 128)), jnp.ones((1, 256), jnp.int32)

    def flops(attend):
        return jax.jit(lambda x: attend(x, x, x, Mask(ids, ids))).lower(x).cost_analysis()["flops"]

    assert flops(cpu.attention) / flops(reference.attention) == pytest.approx(10 / 16, rel=0.05)


def test_a_kernel_that_an_implementation_has_not_got_is_named():
    x = jnp.zeros((1, 1, 1, 2))
    with pytest.raises(NotImplementedError, match="'splash': kernels 'cpu' have 'xla'"):
        ops.attention(x, x, x, Mask(segments(1), segments(1)), Execution(kernels="cpu", attention="splash"))
    with pytest.raises(ValueError, match="'auto' have not been resolved"):
        ops.linear(x, x, Execution())


def test_cudnn_is_refused_where_there_is_none():
    if jax.default_backend() == "gpu":
        pytest.skip("there is one")
    x = jnp.zeros((1, 3, 2, 8), jnp.bfloat16)
    with pytest.raises(UserError, match=r"'cudnn' cannot serve queries \(1, 3, 2, 8\) .* in bfloat16: .*attention=xla"):
        gpu.attention(x, x, x, Mask(segments(1, 1, 1), segments(1, 1, 1)), "cudnn")


@pytest.mark.skipif(jax.default_backend() != "gpu", reason="cuDNN needs a GPU")
@pytest.mark.parametrize(("length", "num_kv_heads", "prefix_lm_length"), [(64, 4, 0), (63, 2, 40), (130, 1, 0)])
def test_cudnn_equals_plain_attention(length, num_kv_heads, prefix_lm_length):
    rng = np.random.default_rng(0)
    q, k, v = (jnp.asarray(rng.normal(size=(2, length, h, 64)), jnp.bfloat16) for h in (4, num_kv_heads, num_kv_heads))
    ids = jnp.asarray(np.repeat([[0] * 5 + [1] * (length - 5), [1] * 30 + [2] * (length - 30)], 1, axis=0), jnp.int32)
    mask = Mask(ids, ids, prefix_lm_length=prefix_lm_length)

    def outputs_and_gradients(backend):
        def total(q, k, v):
            out = jnp.where((ids > 0)[:, :, None, None], gpu.attention(q, k, v, mask, backend), 0)
            return jnp.sum(jnp.sin(out.astype(jnp.float32))), out

        gradients, out = jax.jit(jax.grad(total, argnums=(0, 1, 2), has_aux=True))(q, k, v)
        return [np.asarray(x, np.float32) for x in (out, *gradients)]

    for ours, theirs in zip(outputs_and_gradients("cudnn"), outputs_and_gradients("xla"), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=3e-2, atol=3e-2 * np.abs(theirs).max())

"""Each implementation of the operations against `reference.py`, values and gradients; what only CPUs' do besides."""

import dataclasses
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pause_jax.config.model import Execution, ModelConfig
from pause_jax.model import decoder, ops
from pause_jax.model.mask import Mask
from pause_jax.model.ops import cpu, matmul
from tests import rounding

ROWS = np.arange(12, dtype=np.float32).reshape(4, 3)  # exact in bfloat16, as are their products' sums
WIDE = np.arange(20, dtype=np.float32).reshape(4, 5) - 9


REFERENCE = Execution("reference", "xla", "off", "none")
OTHERS = {name: Execution(name, "xla", "off", "none") for name in ("cpu", "tpu", "gpu")}


def values_and_gradients(function, *arrays):
    """What a function gives, and the gradient by each array of the sum of its sines; all as float32."""

    @jax.jit
    def run(*arrays):
        def total(*arrays):
            given = function(*arrays)
            return jnp.sum(jnp.sin(given.astype(jnp.float32))), given

        gradients, given = jax.grad(total, argnums=tuple(range(len(arrays))), has_aux=True)(*arrays)
        return given, *gradients

    return [np.asarray(x, np.float32) for x in run(*arrays)]


def check_near(ours, theirs, dtype, terms):
    """Within what rounding to `dtype` may change in two sums, one after the other, of so many terms."""
    unit = rounding.UNIT if dtype == jnp.float32 else 2.0**-9
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=8 * terms**0.5 * unit * np.abs(other).max())


def draw(*shapes, dtype=jnp.float32):
    rng = np.random.default_rng(0)
    return [jnp.asarray(rng.normal(size=shape), dtype) for shape in shapes]


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize("rows", [(3, 20), (5,)], ids=["many rows", "few rows"])
@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("name", OTHERS)
def test_linear(name, transposed, rows, dtype):
    x, kernel = draw((*rows, 24), (40, 24) if transposed else (24, 40), dtype=dtype)
    ours, theirs = (
        values_and_gradients(lambda x, kernel, e=e: ops.linear(x, kernel, e, transposed=transposed), x, kernel)
        for e in (OTHERS[name], REFERENCE)
    )
    check_near(ours, theirs, dtype, terms=60)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize("prefix_lm_length", [0, 70, 200])
@pytest.mark.parametrize("length", [200, 64])
def test_attention(length, prefix_lm_length, dtype):
    """Of tpu.py and gpu.py plain attention is the reference's own; tests of splash and cuDNN are beside this file."""
    q, k, v = draw((2, length, 4, 8), (2, length, 2, 8), (2, length, 2, 8), dtype=dtype)
    ids = jnp.asarray([[0] * 5 + [1] * (length - 5), [1] * 30 + [2] * (length - 30)], jnp.int32)
    mask = Mask(ids, ids, prefix_lm_length=prefix_lm_length)

    def attend(q, k, v, execution):
        return jnp.where((ids > 0)[:, :, None, None], ops.attention(q, k, v, mask, execution), 0)

    ours, theirs = (
        values_and_gradients(lambda *qkv, e=e: attend(*qkv, e), q, k, v) for e in (OTHERS["cpu"], REFERENCE)
    )
    check_near(ours, theirs, dtype, terms=length)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize("chunk", [0, 7, 12])
@pytest.mark.parametrize("name", OTHERS)
def test_head_loss(name, chunk, dtype):
    hidden, head = draw((2, 24, 16), (50, 16))
    rng = np.random.default_rng(1)
    targets, weights = jnp.asarray(rng.integers(0, 50, (2, 24))), jnp.asarray(rng.integers(0, 2, (2, 24)), jnp.float32)

    def loss(hidden, head, weights, execution):
        return ops.head_loss(hidden.astype(dtype), head, targets, weights, execution, chunk=chunk)[0] / 24

    ours, theirs = (
        values_and_gradients(lambda *arrays, e=e: loss(*arrays, e), hidden, head, weights)
        for e in (OTHERS[name], REFERENCE)
    )
    check_near(ours, theirs, dtype, terms=50)


@pytest.mark.parametrize("sum_over_rows", [cpu.sum_over_rows, matmul.sum_over_rows])
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize("x, y", [(ROWS, WIDE), (WIDE, ROWS)], ids=["left is smaller", "right is smaller"])
def test_sum_over_rows(x, y, dtype, sum_over_rows):
    product = jax.jit(sum_over_rows)(x.astype(dtype), y.astype(dtype))
    assert product.dtype == jnp.float32
    np.testing.assert_array_equal(product, x.T @ y)


@pytest.mark.parametrize("name", OTHERS)
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_linear_and_its_gradient_exactly(dtype, name):
    x, kernel = jnp.asarray(ROWS, dtype), jnp.asarray(WIDE[:3], dtype)
    result, back = jax.vjp(lambda x, kernel: ops.linear(x, kernel, OTHERS[name]), x, kernel)
    np.testing.assert_array_equal(result, ROWS @ WIDE[:3])
    by_x, by_kernel = back(jnp.asarray(WIDE))
    assert by_x.dtype == by_kernel.dtype == dtype
    np.testing.assert_array_equal(by_x.astype(jnp.float32), jnp.asarray(WIDE @ WIDE[:3].T, dtype).astype(jnp.float32))
    np.testing.assert_array_equal(by_kernel.astype(jnp.float32), jnp.asarray(ROWS.T @ WIDE, dtype).astype(jnp.float32))


FAMILIES = {
    "gpt": ModelConfig(
        vocab_size=96,
        num_layers=2,
        d_model=32,
        num_heads=2,
        d_ff=64,
        positions="learned",
        max_positions=256,
        dtype="bfloat16",
    ),
    "llama": ModelConfig(
        vocab_size=96,
        num_layers=2,
        d_model=32,
        num_heads=4,
        num_kv_heads=2,
        d_ff=64,
        norm="rmsnorm",
        mlp="swiglu",
        tie_embeddings=False,
        dtype="bfloat16",
    ),
}


def value_and_gradients(config: ModelConfig, execution: Execution, length: int = 192):
    """A function of parameters, and parameters for it."""
    ids = jnp.asarray(np.random.default_rng(0).integers(0, config.vocab_size, (2, length)), jnp.int32)
    ones = jnp.ones_like(ids)

    def loss(params):
        model = decoder.bind(params, dataclasses.replace(config, num_pause_tokens=1), execution)
        hidden, _ = model(ids, jnp.cumsum(ones, axis=1) - 1, ones)
        weights = jnp.ones(ids.shape, jnp.float32)
        return ops.head_loss(hidden, model.head_VxD(), ids, weights, execution)[0]

    return jax.jit(jax.value_and_grad(loss)), decoder.init(dataclasses.replace(config, num_pause_tokens=1), seed=0)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_step_in_bfloat16_is_the_reference_s(family):
    given = []
    for execution in (REFERENCE, OTHERS["cpu"]):
        function, params = value_and_gradients(FAMILIES[family], execution)
        given.append(function(params))
    (loss, gradients), (our_loss, our_gradients) = given
    np.testing.assert_allclose(our_loss, loss, rtol=1e-3)
    largest = max(float(jnp.abs(one).max()) for one in jax.tree.leaves(gradients))
    for one, other in zip(jax.tree.leaves(gradients), jax.tree.leaves(our_gradients), strict=True):
        # bfloat16 has 8 bits: sums taken in another order differ in the last of them; the keys' biases have no gradient
        # but rounding
        scale = max(float(jnp.abs(one).max()), 0.01 * largest)
        np.testing.assert_allclose(other, one, rtol=0, atol=0.03 * scale)


@pytest.mark.parametrize("family", FAMILIES)
def test_no_product_in_bfloat16_is_computed_in_float32(family):
    """XLA's CPU back end turns operands that it cannot serve into float32: a third of the speed where it matters."""

    def upcast(kernels: str) -> int:
        function, params = value_and_gradients(FAMILIES[family], OTHERS[kernels])
        text = function.lower(params).compile().as_text()
        types = dict(re.findall(r"%?([\w.\-]+) = (\w+)\[[\d,]*\]", text))
        types |= dict(re.findall(r"[(,] ?%?([\w.\-]+): (\w+)\[", text))
        operands = re.findall(r" dot\(%?([\w.\-]+), %?([\w.\-]+)\)", text)
        assert len(operands) > 20
        return sum("f32" in (types[left], types[right]) for left, right in operands)

    assert upcast("tpu") > 10
    assert upcast("cpu") <= 1  # the targets' logits, a product of vectors

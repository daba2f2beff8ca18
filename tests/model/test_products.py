"""Products and their gradients: the same numbers of any layout in memory, in bfloat16 by the kernels made for it."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pause_jax.config.model import Execution, ModelConfig
from pause_jax.model import decoder
from pause_jax.model.products import sum_over_rows, times
from pause_jax.training.loss import cross_entropy_sum

ROWS = np.arange(12, dtype=np.float32).reshape(4, 3)  # exact in bfloat16, as are their products' sums
WIDE = np.arange(20, dtype=np.float32).reshape(4, 5) - 9


@pytest.mark.parametrize("row_major", [False, True])
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize("x, y", [(ROWS, WIDE), (WIDE, ROWS)], ids=["left is smaller", "right is smaller"])
def test_sum_over_rows(x, y, dtype, row_major):
    product = jax.jit(sum_over_rows, static_argnums=2)(x.astype(dtype), y.astype(dtype), row_major)
    assert product.dtype == jnp.float32
    np.testing.assert_array_equal(product, x.T @ y)


@pytest.mark.parametrize("row_major", [False, True])
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_times_and_its_gradient(dtype, row_major):
    x, kernel = jnp.asarray(ROWS, dtype), jnp.asarray(WIDE[:3], dtype)
    result, back = jax.vjp(lambda x, kernel: times(x, kernel, row_major), x, kernel)
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
        model = decoder.bind(params, config, execution, 1)
        hidden, _ = model(ids, jnp.cumsum(ones, axis=1) - 1, ones)
        weights = jnp.ones(ids.shape, jnp.float32)
        return cross_entropy_sum(hidden, model.head_VxD(), ids, weights, row_major=execution.row_major)

    return jax.jit(jax.value_and_grad(loss)), decoder.init(config, num_pause_tokens=1, seed=0)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_step_in_bfloat16_is_the_same_of_either_layout(family):
    given = []
    for row_major in (False, True):
        function, params = value_and_gradients(FAMILIES[family], Execution(row_major=row_major))
        given.append(function(params))
    (loss, gradients), (row_major_loss, row_major_gradients) = given
    np.testing.assert_allclose(row_major_loss, loss, rtol=1e-3)
    largest = max(float(jnp.abs(one).max()) for one in jax.tree.leaves(gradients))
    for one, other in zip(jax.tree.leaves(gradients), jax.tree.leaves(row_major_gradients), strict=True):
        # bfloat16 has 8 bits: sums taken in another order differ in the last of them; the keys' biases have no gradient
        # but rounding
        scale = max(float(jnp.abs(one).max()), 0.01 * largest)
        np.testing.assert_allclose(other, one, rtol=0, atol=0.03 * scale)


@pytest.mark.parametrize("family", FAMILIES)
def test_no_product_in_bfloat16_is_computed_in_float32(family):
    """XLA's CPU back end turns operands that it cannot serve into float32: a third of the speed where it matters."""

    def upcast(row_major: bool) -> int:
        function, params = value_and_gradients(FAMILIES[family], Execution(row_major=row_major))
        text = function.lower(params).compile().as_text()
        types = dict(re.findall(r"%?([\w.\-]+) = (\w+)\[[\d,]*\]", text))
        types |= dict(re.findall(r"[(,] ?%?([\w.\-]+): (\w+)\[", text))
        operands = re.findall(r" dot\(%?([\w.\-]+), %?([\w.\-]+)\)", text)
        assert len(operands) > 20
        return sum("f32" in (types[left], types[right]) for left, right in operands)

    assert upcast(row_major=False) > 10
    assert upcast(row_major=True) <= 1  # the targets' logits, a product of vectors

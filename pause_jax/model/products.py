"""Matrix products, in the forms in which back ends are quick at them.

Sums are float32 whatever the operands' dtype. Letters: R rows, I inner size, O output size.
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def times(x_RxI: jax.Array, kernel_IxO: jax.Array, row_major: bool) -> jax.Array:
    """x · kernel [R, O], float32.

    The products of its gradient are in the operands' dtype too. XLA's own would be float32: right for a gradient that
    is, but those that come here were rounded to that dtype, with the result.

    Args:
      row_major: as of `Execution.row_major`.
    """
    return jnp.dot(x_RxI, kernel_IxO, preferred_element_type=jnp.float32)


def _times_forward(x_RxI: jax.Array, kernel_IxO: jax.Array, row_major: bool) -> tuple[jax.Array, tuple[jax.Array, ...]]:
    return times(x_RxI, kernel_IxO, row_major), (x_RxI, kernel_IxO)


def _times_backward(row_major: bool, kept: tuple[jax.Array, ...], gradient_RxO: jax.Array) -> tuple[jax.Array, ...]:
    x_RxI, kernel_IxO = kept
    gradient_RxO = gradient_RxO.astype(x_RxI.dtype)
    by_x_RxI = jnp.einsum("ro,io->ri", gradient_RxO, kernel_IxO, preferred_element_type=jnp.float32)
    by_kernel_IxO = sum_over_rows(x_RxI, gradient_RxO, row_major)
    return by_x_RxI.astype(x_RxI.dtype), by_kernel_IxO.astype(kernel_IxO.dtype)


times.defvjp(_times_forward, _times_backward)


def sum_over_rows(x_RxI: jax.Array, y_RxO: jax.Array, row_major: bool) -> jax.Array:
    """xᵀ · y [I, O], float32; `row_major` as of `Execution.row_major`."""
    if not takes_copies(x_RxI, row_major):
        return jnp.einsum("ri,ro->io", x_RxI, y_RxO, preferred_element_type=jnp.float32)
    if x_RxI.shape[1] <= y_RxO.shape[1]:
        return jnp.einsum("ir,ro->io", turned(x_RxI), y_RxO, preferred_element_type=jnp.float32)
    product_OxI = jnp.einsum("or,ri->oi", turned(y_RxO), x_RxI, preferred_element_type=jnp.float32)
    return jax.lax.optimization_barrier(product_OxI).T  # without it XLA turns x after all, the larger one


def times_few_rows(matrix_OxI: jax.Array, x_RxI: jax.Array) -> jax.Array:
    """x · matrixᵀ [R, O], float32, with the matrix on the left: see `Execution.few_rows`."""
    return jnp.einsum("oi,ri->or", matrix_OxI, x_RxI, preferred_element_type=jnp.float32).T


def takes_copies(x: jax.Array, row_major: bool) -> bool:
    """Whether transposes of `x` are copied before they are operands: see `Execution.row_major`."""
    return row_major and x.dtype == jnp.bfloat16


def as_operand(x: jax.Array, row_major: bool) -> jax.Array:
    """`x`, which is a transpose, laid out in memory as `Execution.row_major` says."""
    return _by_rows(x) if takes_copies(x, row_major) else x


def turned(x: jax.Array) -> jax.Array:
    """A copy of `x` with its last two axes exchanged, where it `takes_copies`."""
    return _by_rows(jnp.swapaxes(x, -1, -2))


def _by_rows(x: jax.Array) -> jax.Array:
    # The shape [1, ...] takes the layout of nothing before it, and the barrier keeps XLA from folding it away.
    return jax.lax.optimization_barrier(x[None])[0]

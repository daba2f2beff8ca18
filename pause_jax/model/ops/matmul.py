"""Matrix products whose gradients are also computed as products in the operands' dtype, for all platforms.

Sums are float32 whatever the operands' dtype. Letters: R rows, I inner size, O output size.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp

OverRows = Callable[[jax.Array, jax.Array], jax.Array]  # `sum_over_rows`, or a platform's own


def sum_over_rows(x_RxI: jax.Array, y_RxO: jax.Array) -> jax.Array:
    """xᵀ · y [I, O], float32."""
    return jnp.einsum("ri,ro->io", x_RxI, y_RxO, preferred_element_type=jnp.float32)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def matmul(x_RxI: jax.Array, kernel_IxO: jax.Array, over_rows: OverRows = sum_over_rows) -> jax.Array:
    """x · kernel [R, O], float32.

    The products of its gradient are in the operands' dtype too. JAX's own would be in float32, which gains nothing: the
    gradient that arrives was rounded to the operands' dtype, as the result was.

    Args:
      over_rows: computes the kernel's gradient, a product of two arrays along their rows.
    """
    return jnp.dot(x_RxI, kernel_IxO, preferred_element_type=jnp.float32)


def _forward(x_RxI: jax.Array, kernel_IxO: jax.Array, over_rows: OverRows) -> tuple[jax.Array, tuple[jax.Array, ...]]:
    return matmul(x_RxI, kernel_IxO, over_rows), (x_RxI, kernel_IxO)


def _backward(over_rows: OverRows, kept: tuple[jax.Array, ...], gradient_RxO: jax.Array) -> tuple[jax.Array, ...]:
    x_RxI, kernel_IxO = kept
    gradient_RxO = gradient_RxO.astype(x_RxI.dtype)
    by_x_RxI = jnp.einsum("ro,io->ri", gradient_RxO, kernel_IxO, preferred_element_type=jnp.float32)
    by_kernel_IxO = over_rows(x_RxI, gradient_RxO)
    return by_x_RxI.astype(x_RxI.dtype), by_kernel_IxO.astype(kernel_IxO.dtype)


matmul.defvjp(_forward, _backward)


def project(x: jax.Array, kernel: jax.Array, transposed: bool) -> jax.Array:
    """`ops.linear` for platforms on which the layout of operands does not matter."""
    if transposed:
        return jnp.einsum("...i,oi->...o", x, kernel, preferred_element_type=jnp.float32)
    return matmul(x.reshape(-1, x.shape[-1]), kernel).reshape(*x.shape[:-1], -1)

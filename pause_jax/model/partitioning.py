"""How the network names the logical axes of an activation; what they mean on a mesh is decided outside.

Nothing here does anything unless a caller (pause_jax/distributed) traces the network within `activation_sharding`.
Logical axes: batch, length, embed, heads, kv_heads, row_heads, head, mlp, vocab, layers, positions, pauses; None: never
cut. `row_heads` are heads where each device is to have whole rows.
"""

from __future__ import annotations

import contextlib
import contextvars
import dataclasses
from collections.abc import Callable, Iterator
from typing import Protocol

import jax

Axes = tuple[str | None, ...]
Function = Callable[..., jax.Array]


class Layout(Protocol):
    """How activations lie on devices."""

    def constrain(self, x: jax.Array, axes: Axes) -> jax.Array: ...

    def shard_map_over(self, function: Function, axes: tuple[Axes, ...]) -> Function: ...


@dataclasses.dataclass(frozen=True)
class _OneDevice:
    def constrain(self, x: jax.Array, axes: Axes) -> jax.Array:
        return x

    def shard_map_over(self, function: Function, axes: tuple[Axes, ...]) -> Function:
        return function


_ONE_DEVICE = _OneDevice()
_layout: contextvars.ContextVar[Layout] = contextvars.ContextVar("layout", default=_ONE_DEVICE)


def constrain(x: jax.Array, *axes: str | None) -> jax.Array:
    """`x`, constrained to lie as the layout says for these logical axes, one for each dimension."""
    return _layout.get().constrain(x, axes)


def shard_map_over(function: Function, *axes: Axes) -> Function:
    """`function` of arrays with these logical axes, run on each device's own part of them.

    For kernels that the compiler cannot cut by itself. Along an axis that may be cut, `function` must treat each index
    on its own; its result has the axes of its first argument.
    """
    return _layout.get().shard_map_over(function, axes)


@contextlib.contextmanager
def activation_sharding(layout: Layout) -> Iterator[None]:
    """A network that is traced within this context lies on devices as `layout` says."""
    token = _layout.set(layout)
    try:
        yield
    finally:
        _layout.reset(token)

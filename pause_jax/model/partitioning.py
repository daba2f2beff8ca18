"""Where the network says which logical axes an activation has; what that means on a mesh is decided outside.

`constrain` does nothing unless a caller (pause_jax/distributed) traces the network within `constraining`.
Logical axes: batch, length, embed, heads, kv_heads, head, mlp, vocab, layers, positions, pauses; None: never cut.
"""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Callable, Iterator

import jax

Axes = tuple[str | None, ...]
Constrain = Callable[[jax.Array, Axes], jax.Array]

_constrain: contextvars.ContextVar[Constrain] = contextvars.ContextVar("constrain", default=lambda x, axes: x)


def constrain(x: jax.Array, *axes: str | None) -> jax.Array:
    """`x`, said to have these logical axes, one for each dimension."""
    return _constrain.get()(x, axes)


@contextlib.contextmanager
def constraining(function: Constrain) -> Iterator[None]:
    """While traced in this context, every `constrain` goes through `function`."""
    token = _constrain.set(function)
    try:
        yield
    finally:
        _constrain.reset(token)

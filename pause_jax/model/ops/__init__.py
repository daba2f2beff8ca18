"""The operations that take nearly all of a step's time, each in the form that is fastest on a platform.

The network calls `linear`, `attention` and `head_loss`; `Execution.kernels` chooses the implementation: `reference.py`
defines them in plain jax.numpy, whose gradient is autodiff's, and `cpu.py`, `tpu.py` and `gpu.py` compute the same but
for rounding. Another implementation is a file here with the functions of `Kernels`, its name in `Execution.kernels`,
and its row in `pause_jax/config/model.py` (which attention kernels it has, and where it is the default).

Letters: B rows, T query positions, S key positions, H query heads, K key/value heads, E head size, I inner size, O
output size, D width, V vocabulary.
"""

from __future__ import annotations

import importlib
from typing import Protocol, cast

import jax

from pause_jax.config.model import ATTENTION_KERNELS, Execution
from pause_jax.model.mask import Mask
from pause_jax.model.ops.losses import Sums, Terms


class Kernels(Protocol):
    """What a module of this folder has; arguments and results as of the functions below."""

    def linear(self, x: jax.Array, kernel: jax.Array, transposed: bool) -> jax.Array: ...

    def attention(
        self, q_BxTxHxE: jax.Array, k_BxSxKxE: jax.Array, v_BxSxKxE: jax.Array, mask: Mask, kernel: str
    ) -> jax.Array: ...

    def head_loss(
        self,
        hidden_BxTxD: jax.Array,
        head_VxD: jax.Array,
        targets_BxT: jax.Array,
        weights_BxT: jax.Array,
        chunk: int,
        terms: Terms,
    ) -> Sums: ...

    def transposes_for_decoding(self, rows: int, new_tokens: int) -> bool: ...


def get(execution: Execution) -> Kernels:
    """The implementation that `execution`, resolved, names."""
    if execution.kernels not in ATTENTION_KERNELS:
        raise ValueError(f"kernels {execution.kernels!r} have not been resolved (config/model.py: resolve)")
    return cast(Kernels, importlib.import_module(f"{__name__}.{execution.kernels}"))


def linear(x: jax.Array, kernel: jax.Array, execution: Execution, *, transposed: bool = False) -> jax.Array:
    """x · kernel, float32 [..., O], of x [..., I] and a kernel [I, O] of one dtype; of [O, I] with `transposed`."""
    return get(execution).linear(x, kernel, transposed)


def attention(
    q_BxTxHxE: jax.Array,
    k_BxSxKxE: jax.Array,
    v_BxSxKxE: jax.Array,
    mask: Mask,
    execution: Execution,
    *,
    from_cache: bool = False,
) -> jax.Array:
    """Softmax attention, scaled by 1/sqrt(E), as [B, T, H, E] in the dtype of `q`; softmax in float32.

    What it gives at padding queries are some finite numbers.

    Args:
      from_cache: keys and values are those of a cache: then kernels of whole rows (`Execution.attention`) are not used.

    Raises:
      UserError: the attention kernel cannot serve the mask, the shapes or the dtype; none is used in its place.
      NotImplementedError: the implementation has no such attention kernel.
    """
    kernel = "xla" if from_cache else execution.attention
    if kernel not in ATTENTION_KERNELS[execution.kernels]:
        raise NotImplementedError(
            f"attention kernel {kernel!r}: kernels {execution.kernels!r} have "
            f"{', '.join(map(repr, ATTENTION_KERNELS[execution.kernels]))}"
        )
    return get(execution).attention(q_BxTxHxE, k_BxSxKxE, v_BxSxKxE, mask, kernel)


def head_loss(
    hidden_BxTxD: jax.Array,
    head_VxD: jax.Array,
    targets_BxT: jax.Array,
    weights_BxT: jax.Array,
    execution: Execution,
    *,
    chunk: int = 0,
    terms: Terms = (),
) -> Sums:
    """Sum over positions of weight · (−log p(target) + Σ coefficient · term), float32; and what each term adds to it.

    In nats; p is the softmax of hidden · headᵀ. No gradient comes through the terms' own sums, which are for the log.

    Args:
      hidden_BxTxD: the decoder's output; its dtype is that of the products, whose sums are float32.
      head_VxD: the output matrix.
      targets_BxT: int32; where the weight is 0 any value, pauses (≥ V) included.
      weights_BxT: float32.
      chunk: positions of each row whose logits exist at a time; 0: all.
      terms: (coefficient, term) of what is added to the cross-entropy.
    """
    return get(execution).head_loss(hidden_BxTxD, head_VxD, targets_BxT, weights_BxT, chunk, terms)


def transposes_for_decoding(rows: int, new_tokens: int, execution: Execution) -> bool:
    """Whether to transpose kernels once, in a copy, before `new_tokens` tokens are decoded one by one in each row."""
    return get(execution).transposes_for_decoding(rows, new_tokens)

"""Attention on TPUs by JAX's splash kernel: scores stay on the chip, blocks that the mask excludes are not computed.

Letters: B rows, T positions, H query heads, K key/value heads, E head size.
"""

from __future__ import annotations

import dataclasses
from typing import cast

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_kernel as kernels
from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_mask as masks

from pause_jax.errors import UserError
from pause_jax.model.mask import MASKS, Mask
from pause_jax.model.partitioning import shard_map_over

_LANES = 128  # the smallest block
_BLOCKS = (512, 384, 256)  # positions; those worth choosing among for a long row


def attend(
    q_BxTxHxE: jax.Array,
    k_BxTxKxE: jax.Array,
    v_BxTxKxE: jax.Array,
    mask: Mask,
    *,
    block: int = 0,
    interpret: bool = False,
) -> jax.Array:
    """As `ops.attention`. Rows are padded to whole blocks, the padding a segment of its own, and cut again.

    Args:
      block: positions of a block, a multiple of 128; 0: whichever pads the row least.
      interpret: emulate the kernel where there is no TPU. Slow.

    Raises:
      UserError: the mask is not known when the kernel is compiled.
    """
    prefix_lm_length = _static_prefix_lm_length(mask)
    length = q_BxTxHxE.shape[1]
    block = block or _block(length)
    padding = -length % block

    def pad(x: jax.Array) -> jax.Array:
        return jnp.pad(x, [(0, 0), (0, padding)] + [(0, 0)] * (x.ndim - 2))

    def attend_part(q: jax.Array, k: jax.Array, v: jax.Array, segments_BxT: jax.Array) -> jax.Array:
        head_mask = _head_mask(mask.rule, length + padding, prefix_lm_length)
        kernel = _kernel(head_mask, q.shape[2], block, interpret)
        q, k, v = (jnp.swapaxes(x, 1, 2) for x in (q * q.shape[-1] ** -0.5, k, v))
        # A padding position attends to itself, as segments are compared: no query is without a key.
        out_BxHxTxE = jax.vmap(kernel)(q, k, v, kernels.SegmentIds(segments_BxT, segments_BxT))
        return jnp.swapaxes(cast(jax.Array, out_BxHxTxE), 1, 2)

    heads = ("batch", None, "row_heads", "head")
    on_parts = shard_map_over(attend_part, heads, heads, heads, ("batch", None))
    out = on_parts(pad(q_BxTxHxE), pad(k_BxTxKxE), pad(v_BxTxKxE), pad(mask.q_segments_BxT))
    return out[:, :length].astype(q_BxTxHxE.dtype)


@dataclasses.dataclass(frozen=True)
class _RuleMask(masks.Mask):
    """A rule of mask.py in the form that the library asks for: indexed by slices of queries and keys."""

    rule: str
    length: int
    prefix_lm_length: int

    @property
    def shape(self) -> tuple[int, int]:
        return self.length, self.length

    def __getitem__(self, index: tuple[slice, slice]) -> np.ndarray:
        position_L = np.arange(self.length)
        allowed: np.ndarray = MASKS[self.rule](
            position_L[index[0], None], position_L[None, index[1]], self.prefix_lm_length
        )
        return allowed


def _kernel(head_mask: masks.Mask, heads: int, block: int, interpret: bool) -> kernels.SplashAttentionKernel:
    """The kernel of one row: q [H, T, E] scaled, k and v [K, T, E], segments [T]."""
    sizes = kernels.BlockSizes(
        block_q=block,
        block_kv=block,
        block_kv_compute=block,
        block_q_dkv=block,
        block_kv_dkv=block,
        block_kv_dkv_compute=block,
        block_q_dq=block,
        block_kv_dq=block,
    )
    return kernels.make_splash_mha(
        masks.MultiHeadMask([head_mask] * heads), block_sizes=sizes, head_shards=1, q_seq_shards=1, interpret=interpret
    )


def _head_mask(rule: str, length: int, prefix_lm_length: int) -> masks.Mask:
    if rule == "prefix_lm" and prefix_lm_length <= 1:  # causal: the library computes it within the kernel
        return masks.CausalMask((length, length))
    return _RuleMask(rule, length, prefix_lm_length)  # of which it reads a few blocks


def _block(length: int) -> int:
    if length <= _LANES:
        return _LANES
    return min(_BLOCKS, key=lambda block: (-length % block, -block))


def _static_prefix_lm_length(mask: Mask) -> int:
    """`mask.prefix_lm_length` as a number, where the mask is one that the kernel can have."""
    if mask.q_segments_BxT.shape != mask.k_segments_BxS.shape or not isinstance(mask.first_query, int):
        raise UserError(
            "config.run.execution.attention = 'splash' reads whole rows, not a cache: set "
            "--config.run.execution.attention=xla"
        )
    if not isinstance(mask.prefix_lm_length, int):
        raise UserError(
            "config.run.execution.attention = 'splash' compiles its mask, but here each row has its own: set "
            "--config.run.execution.attention=xla"
        )
    return mask.prefix_lm_length

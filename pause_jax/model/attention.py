"""Who may attend to whom, and attention itself.

Letters: B rows, T query positions, S key positions, H query heads, K key/value heads, G = H / K, E head size.
"""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp


@dataclasses.dataclass(frozen=True)
class Mask:
    """The one description of a mask: each back end makes of it what its kernel wants, or raises.

    Key s may be attended to from query t when both are in one segment, segment 0 (padding) excepted, and
    either s is not after t, or both are among the first `bidirectional` positions.
    """

    q_segments_BxT: jax.Array
    k_segments_BxS: jax.Array
    first_query: jax.Array | int = 0  # index among the keys of query 0: 0 without a cache
    bidirectional: jax.Array | int = 0  # the same for all rows, or int32 [B]

    def may_attend_BxTxS(self) -> jax.Array:
        """The mask as booleans."""
        t_1xTx1 = self.first_query + jnp.arange(self.q_segments_BxT.shape[1])[None, :, None]
        s_1x1xS = jnp.arange(self.k_segments_BxS.shape[1])[None, None, :]
        both_ways = jnp.reshape(self.bidirectional, (-1, 1, 1))
        in_order = (s_1x1xS <= t_1xTx1) | ((t_1xTx1 < both_ways) & (s_1x1xS < both_ways))
        q_BxTx1, k_Bx1xS = self.q_segments_BxT[:, :, None], self.k_segments_BxS[:, None, :]
        return in_order & (q_BxTx1 == k_Bx1xS) & (k_Bx1xS > 0)


def attend(q_BxTxHxE: jax.Array, k_BxSxKxE: jax.Array, v_BxSxKxE: jax.Array, mask: Mask, backend: str) -> jax.Array:
    """Softmax attention, scaled by 1/sqrt(E), as [B, T, H, E] in the dtype of `q`; softmax in float32.

    Raises:
      NotImplementedError: a back end that does not exist or cannot serve the mask.
    """
    if backend != "xla":
        raise NotImplementedError(f"attention back end {backend!r}: only 'xla' exists")
    batch, length, heads, size = q_BxTxHxE.shape
    kv_heads = k_BxSxKxE.shape[2]
    q_BxTxKxGxE = q_BxTxHxE.reshape(batch, length, kv_heads, heads // kv_heads, size)
    scores_BxKxGxTxS = jnp.einsum("btkge,bske->bkgts", q_BxTxKxGxE, k_BxSxKxE, preferred_element_type=jnp.float32)
    may_attend = mask.may_attend_BxTxS()[:, None, None]
    # finite, so that a padding query, which may attend to nothing, gives numbers rather than NaN
    scores_BxKxGxTxS = jnp.where(may_attend, scores_BxKxGxTxS * size**-0.5, -1e30)
    weights = jax.nn.softmax(scores_BxKxGxTxS, axis=-1).astype(v_BxSxKxE.dtype)
    out = jnp.einsum("bkgts,bske->btkge", weights, v_BxSxKxE, preferred_element_type=jnp.float32)
    return out.reshape(batch, length, heads, size).astype(q_BxTxHxE.dtype)

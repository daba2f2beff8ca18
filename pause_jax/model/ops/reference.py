"""The operations' definitions: plain jax.numpy, gradients by autodiff. The other implementations are tested against it.

Letters: see `ops/__init__.py`; G = H / K.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from pause_jax.model.mask import Mask
from pause_jax.model.ops.losses import Sums, Terms


def linear(x: jax.Array, kernel: jax.Array, transposed: bool) -> jax.Array:
    """See `ops.linear`."""
    return jnp.dot(x, kernel.T if transposed else kernel, preferred_element_type=jnp.float32)


def attention(
    q_BxTxHxE: jax.Array, k_BxSxKxE: jax.Array, v_BxSxKxE: jax.Array, mask: Mask, kernel: str = "xla"
) -> jax.Array:
    """See `ops.attention`."""
    batch, length, heads, size = q_BxTxHxE.shape
    num_kv_heads = k_BxSxKxE.shape[2]
    q_BxTxKxGxE = q_BxTxHxE.reshape(batch, length, num_kv_heads, heads // num_kv_heads, size)
    scores_BxKxGxTxS = jnp.einsum("btkge,bske->bkgts", q_BxTxKxGxE, k_BxSxKxE, preferred_element_type=jnp.float32)
    may_attend_Bx1x1xTxS = mask.may_attend_BxTxS()[:, None, None]
    # finite, so that a padding query, which may attend to nothing, gives numbers rather than NaN
    weights_BxKxGxTxS = jax.nn.softmax(jnp.where(may_attend_Bx1x1xTxS, scores_BxKxGxTxS * size**-0.5, -1e30), axis=-1)
    weights_BxKxGxTxS = weights_BxKxGxTxS.astype(v_BxSxKxE.dtype)
    out_BxTxKxGxE = jnp.einsum("bkgts,bske->btkge", weights_BxKxGxTxS, v_BxSxKxE, preferred_element_type=jnp.float32)
    return out_BxTxKxGxE.reshape(q_BxTxHxE.shape).astype(q_BxTxHxE.dtype)


def head_loss(
    hidden_BxTxD: jax.Array,
    head_VxD: jax.Array,
    targets_BxT: jax.Array,
    weights_BxT: jax.Array,
    chunk: int = 0,
    terms: Terms = (),
) -> Sums:
    """See `ops.head_loss`; all logits exist at once, whatever `chunk` says."""
    logits_BxTxV = linear(hidden_BxTxD, head_VxD.astype(hidden_BxTxD.dtype), transposed=True)
    targets_BxT = jnp.where(weights_BxT > 0, targets_BxT, 0)
    target_BxT = jnp.take_along_axis(logits_BxTxV, targets_BxT[..., None], axis=-1)[..., 0]
    log_z_BxT = jax.nn.logsumexp(logits_BxTxV, axis=-1)
    added = tuple(jnp.sum(weights_BxT * coefficient * term(log_z_BxT, target_BxT)) for coefficient, term in terms)
    loss = sum(added, start=jnp.sum(weights_BxT * (log_z_BxT - target_BxT)))
    return loss, jax.tree.map(jax.lax.stop_gradient, added)


def transposes_for_decoding(rows: int, new_tokens: int) -> bool:
    """See `ops.transposes_for_decoding`."""
    return False

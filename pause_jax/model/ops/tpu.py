"""The operations on TPUs: attention by JAX's splash kernel where it is asked for, the rest by XLA."""

from __future__ import annotations

import jax

from pause_jax.model.mask import Mask
from pause_jax.model.ops import reference
from pause_jax.model.ops.chunked_loss import head_loss
from pause_jax.model.ops.matmul import project as linear
from pause_jax.model.ops.reference import transposes_for_decoding

__all__ = ["attention", "head_loss", "linear", "transposes_for_decoding"]


def attention(
    q_BxTxHxE: jax.Array, k_BxSxKxE: jax.Array, v_BxSxKxE: jax.Array, mask: Mask, kernel: str = "xla"
) -> jax.Array:
    """See `ops.attention`. Raises UserError where splash cannot serve."""
    if kernel != "splash":
        return reference.attention(q_BxTxHxE, k_BxSxKxE, v_BxSxKxE, mask)
    from pause_jax.model.ops import splash  # Pallas takes a second to import

    return splash.attend(q_BxTxHxE, k_BxSxKxE, v_BxSxKxE, mask)

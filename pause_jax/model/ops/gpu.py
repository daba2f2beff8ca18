"""The operations on GPUs: attention by cuDNN where it is asked for, the rest by XLA."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from pause_jax.errors import UserError
from pause_jax.model.mask import Mask
from pause_jax.model.ops import reference
from pause_jax.model.ops.chunked_loss import head_loss
from pause_jax.model.ops.matmul import project as linear
from pause_jax.model.ops.reference import transposes_for_decoding
from pause_jax.model.partitioning import constrain

__all__ = ["attention", "head_loss", "linear", "transposes_for_decoding"]


def attention(
    q_BxTxHxE: jax.Array, k_BxSxKxE: jax.Array, v_BxSxKxE: jax.Array, mask: Mask, kernel: str = "xla"
) -> jax.Array:
    """See `ops.attention`. Raises UserError where cuDNN cannot serve."""
    if kernel != "cudnn":
        return reference.attention(q_BxTxHxE, k_BxSxKxE, v_BxSxKxE, mask)
    return _attend_cudnn(q_BxTxHxE, k_BxSxKxE, v_BxSxKxE, mask)


def _attend_cudnn(q_BxTxHxE: jax.Array, k_BxSxKxE: jax.Array, v_BxSxKxE: jax.Array, mask: Mask) -> jax.Array:
    """cuDNN's kernel, with the whole mask in memory. Unverified until it has run on a GPU."""
    length = q_BxTxHxE.shape[1]
    # a padding query may attend to everything, lest it attend to nothing
    mask_BxTxS = mask.may_attend_BxTxS() | (mask.q_segments_BxT == 0)[:, :, None]
    odd_t, odd_s = (n % 2 for n in mask_BxTxS.shape[1:])  # its backward pass wants even lengths
    mask_Bx1xTxS = jnp.pad(mask_BxTxS, [(0, 0), (0, odd_t), (0, odd_s)])[:, None]
    q, k, v = (
        constrain(jnp.pad(x, [(0, 0), (0, odd), (0, 0), (0, 0)]), "batch", None, "row_heads", "head")
        for x, odd in ((q_BxTxHxE, odd_t), (k_BxSxKxE, odd_s), (v_BxSxKxE, odd_s))
    )
    try:
        out = jax.nn.dot_product_attention(q, k, v, mask=mask_Bx1xTxS, implementation="cudnn")
    except (NotImplementedError, RuntimeError) as error:
        shapes = f"queries {q_BxTxHxE.shape} and keys {k_BxSxKxE.shape} in {q_BxTxHxE.dtype}"
        raise UserError(
            f"config.run.execution.attention = 'cudnn' cannot serve {shapes}: {error} "
            "Set --config.run.execution.attention=xla"
        ) from error
    return out[:, :length]

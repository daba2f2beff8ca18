"""How much attention goes to pauses and comes from them, as shares of each head's total.

Letters: B rows, H heads, T query positions, S key positions, M pauses.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

MEASURES = {
    "answer_to_pauses": "the answer position's attention that goes to pauses",
    "answer_to_prompt": "the answer position's attention that goes to the prompt",
    "pauses_to_pauses": "the pauses' attention that goes to pauses, themselves included, mean over the pauses",
    "pauses_to_prompt": "the pauses' attention that goes to the prompt, mean over the pauses",
    "received_by_a_pause": "attention that a pause receives from all positions together, mean over the pauses; 1 is "
    "what a position receives on average",
}


def shares(attention_BxHxTxS: Any, is_pause_BxT: Any, is_prompt_BxT: Any) -> dict[str, jax.Array]:
    """Each of `MEASURES`, [B, H], for each row and head. Padding counts neither as query nor as key.

    The answer position is the last one; where pauses are appended it is the last pause, and counts as one too.
    """
    weights = jnp.asarray(attention_BxHxTxS, jnp.float32)
    pause, prompt = (jnp.asarray(x, jnp.float32) for x in (is_pause_BxT, is_prompt_BxT))
    pauses_B = jnp.sum(pause, axis=1)[:, None]
    given_pauses_BxHxT = jnp.einsum("bhts,bs->bht", weights, pause)
    given_prompt_BxHxT = jnp.einsum("bhts,bs->bht", weights, prompt)
    return {
        "answer_to_pauses": given_pauses_BxHxT[:, :, -1],
        "answer_to_prompt": given_prompt_BxHxT[:, :, -1],
        "pauses_to_pauses": jnp.einsum("bht,bt->bh", given_pauses_BxHxT, pause) / pauses_B,
        "pauses_to_prompt": jnp.einsum("bht,bt->bh", given_prompt_BxHxT, pause) / pauses_B,
        "received_by_a_pause": jnp.einsum("bht,bt->bh", given_pauses_BxHxT, pause + prompt) / pauses_B,
    }


def answer_to_each(attention_BxHxTxS: Any, pauses_BxM: Any) -> jax.Array:
    """The answer position's attention to each pause [B, H, M]; `answer_to_pauses` is their sum."""
    answer_BxHxS = jnp.asarray(attention_BxHxTxS)[:, :, -1]
    return jnp.take_along_axis(answer_BxHxS, jnp.asarray(pauses_BxM)[:, None], axis=-1)


def even_attention(may_attend_BxTxS: jax.Array) -> jax.Array:
    """Weights [B, 1, T, S] of a head that attends evenly to all it may see: what the shares are compared with."""
    allowed = may_attend_BxTxS[:, None].astype(jnp.float32)
    return allowed / jnp.maximum(jnp.sum(allowed, axis=-1, keepdims=True), 1.0)

"""Choosing the next token from its logits.

Letters: B rows, V vocabulary.
"""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp

from pause_jax.errors import UserError


@dataclasses.dataclass(frozen=True)
class Sampling:
    """How a token is chosen. The default is greedy: the likeliest one, the first of equals."""

    temperature: float = 0.0  # logits are divided by it; 0 is greedy, and top_p has no effect then
    top_p: float = 1.0  # choose among the fewest likeliest tokens whose probabilities sum to at least this

    def validate(self) -> None:
        """Raises UserError for values out of range."""
        if not 0 <= self.temperature < float("inf"):
            raise UserError(f"temperature is {self.temperature}, but must be 0 (greedy) or a positive number")
        if not 0 < self.top_p <= 1:
            raise UserError(f"top_p is {self.top_p}, but must be above 0 and at most 1")


def sample(logits_BxV: jax.Array, keys_B: jax.Array, sampling: Sampling) -> jax.Array:
    """One id for each row, int32 [B], computed in float32.

    Args:
      logits_BxV: any float dtype.
      keys_B: a random key for each row, so that a row's sample does not depend on the rows beside it.
      sampling: static.
    """
    logits_BxV = logits_BxV.astype(jnp.float32)
    if sampling.temperature == 0:
        return jnp.argmax(logits_BxV, axis=-1).astype(jnp.int32)
    # Best first, so that the nucleus is a prefix of the row, even where logits are equal.
    order_BxV = jnp.argsort(logits_BxV, axis=-1, descending=True)
    sorted_BxV = jnp.take_along_axis(logits_BxV, order_BxV, axis=-1) / sampling.temperature
    kept_BxV = jnp.where(_in_nucleus(sorted_BxV, sampling.top_p), sorted_BxV, -jnp.inf)
    rank_B = jax.vmap(jax.random.categorical)(keys_B, kept_BxV)
    return jnp.take_along_axis(order_BxV, rank_B[:, None], axis=-1)[:, 0].astype(jnp.int32)


def _in_nucleus(sorted_BxV: jax.Array, top_p: float) -> jax.Array:
    """Which of the logits, sorted best first, belong to the smallest set with a mass of at least `top_p`.

    These are the ones with a mass of less than `top_p` before them (Holtzman et al., arXiv 1904.09751, section 3.1), so
    the best one always belongs.
    """
    if top_p == 1:  # a rounded sum may reach 1 before the end
        return jnp.ones_like(sorted_BxV, bool)
    probabilities_BxV = jax.nn.softmax(sorted_BxV, axis=-1)
    mass_before_BxV = jnp.cumsum(probabilities_BxV, axis=-1) - probabilities_BxV
    return mass_before_BxV < top_p

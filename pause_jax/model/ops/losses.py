"""Types of a loss over the head's logits: cross-entropy, and terms that are added to it."""

from __future__ import annotations

from collections.abc import Callable

import jax

Term = Callable[[jax.Array, jax.Array], jax.Array]  # (log Z [N], the target's logit [N]) → a cost [N], elementwise
Terms = tuple[tuple[float, Term], ...]  # coefficients and terms
Sums = tuple[jax.Array, tuple[jax.Array, ...]]  # the loss, and of it what each term adds

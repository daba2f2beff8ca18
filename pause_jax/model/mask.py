"""Which position may attend to which: the only place that states the rule; attention kernels derive theirs from it.

A rule (`MASKS`) says by index which keys a query may attend to; `Mask` adds what the data say: segments and padding.
XLA's attention takes the booleans (`Mask.may_attend_BxTxS`), blockwise kernels the number of keys that a block of
queries sees (`keys_seen_by`), compiled kernels such as splash the rule itself on NumPy indices.

Letters: B rows, T query positions, S key positions.
"""

from __future__ import annotations

import bisect
import dataclasses
import functools
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:  # a config asks for the names of rules alone: JAX takes a second to import
    import jax

# (query's index, key's index, prefix_lm_length) → whether the query may attend to the key: numbers, NumPy or JAX arrays
# that are broadcast against each other. Every query sees itself, and of the keys after it the next ones without a gap;
# a later query sees as far as an earlier one, at least.
Rule = Callable[[Any, Any, Any], Any]


def prefix_lm(query: Any, key: Any, prefix_lm_length: Any) -> Any:
    """Causal, but for the first `prefix_lm_length` positions, which see each other both ways (Raffel et al., 2020)."""
    return (key <= query) | ((query < prefix_lm_length) & (key < prefix_lm_length))


MASKS: dict[str, Rule] = {"prefix_lm": prefix_lm}  # what `config.model.mask` may be


@dataclasses.dataclass(frozen=True)
class Mask:
    """The mask of one attention call: each back end derives from it what its kernel needs, or raises.

    Key s may be attended to from query t where the rule allows it and both are in one segment, segment 0 (padding)
    excepted.
    """

    q_segments_BxT: jax.Array
    k_segments_BxS: jax.Array
    first_query: jax.Array | int = 0  # index among the keys of query 0: 0 without a cache
    prefix_lm_length: jax.Array | int = 0  # the same for all rows, or int32 [B]
    rule: str = "prefix_lm"  # a key of MASKS

    def may_attend_BxTxS(self) -> jax.Array:
        """The mask as booleans."""
        import jax.numpy as jnp

        t_1xTx1 = self.first_query + jnp.arange(self.q_segments_BxT.shape[1])[None, :, None]
        s_1x1xS = jnp.arange(self.k_segments_BxS.shape[1])[None, None, :]
        prefix_lm_length_Bx1x1 = jnp.reshape(self.prefix_lm_length, (-1, 1, 1))
        by_rule = MASKS[self.rule](t_1xTx1, s_1x1xS, prefix_lm_length_Bx1x1)
        q_BxTx1, k_Bx1xS = self.q_segments_BxT[:, :, None], self.k_segments_BxS[:, None, :]
        return by_rule & (q_BxTx1 == k_Bx1xS) & (k_Bx1xS > 0)

    @property
    def is_static(self) -> bool:
        """Whether the rule's indices are known when a program is compiled."""
        return isinstance(self.first_query, int) and isinstance(self.prefix_lm_length, int)


def keys_seen_by(query: int, keys: int, prefix_lm_length: int = 0, rule: str = "prefix_lm") -> int:
    """The number of leading keys that include all that this query, and those before it, may attend to; at most `keys`.

    >>> keys_seen_by(2, keys=8), keys_seen_by(2, keys=8, prefix_lm_length=5)
    (3, 5)
    """
    may_attend = MASKS[rule]
    after = range(query + 1, max(query + 1, keys))
    seen = bisect.bisect_left(after, True, key=lambda key: not may_attend(query, key, prefix_lm_length))
    return min(query + 1 + seen, keys)


@functools.cache
def count_pairs(length: int, prefix_lm_length: int = 0, rule: str = "prefix_lm") -> int:
    """Pairs of a query and a key that it may attend to, in a row of `length` positions of one segment.

    >>> count_pairs(4), count_pairs(4, prefix_lm_length=3)
    (10, 13)
    """
    if rule == "prefix_lm":  # which has a formula: itself and all before, and in the prefix all after
        prefix = min(prefix_lm_length, length)
        return (length * (length + 1) + prefix * (prefix - 1)) // 2
    positions_L = np.arange(length)
    return sum(int(MASKS[rule](query, positions_L, prefix_lm_length).sum()) for query in range(length))


def query_blocks(
    queries: int,
    keys: int,
    size: int,
    *,
    first_query: int = 0,
    prefix_lm_length: int = 0,
    rule: str = "prefix_lm",
) -> Iterator[tuple[int, int, int]]:
    """(first query, end of the queries, how many of the keys they may see) of each block of `size` queries."""
    for start in range(0, queries, size):
        end = min(start + size, queries)
        yield start, end, keys_seen_by(first_query + end - 1, keys, prefix_lm_length, rule)

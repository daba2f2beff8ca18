"""The rule of a mask, and what attention kernels derive from it; a rule of one's own is a function and a line."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from pause_jax.config.model import ModelConfig
from pause_jax.errors import UserError
from pause_jax.model import mask as masks
from pause_jax.model.mask import MASKS, Mask, count_pairs, keys_seen_by, query_blocks
from pause_jax.model.ops import cpu, reference

LENGTH = 11


def window(query, key, prefix_lm_length):
    """The last four positions, the query's own among them."""
    return (key <= query) & (query - key < 4)


@pytest.fixture(params=["prefix_lm", "window"])
def rule(request, monkeypatch):
    monkeypatch.setitem(MASKS, "window", window)
    count_pairs.cache_clear()
    return request.param


def allowed(rule, prefix):
    """[queries, keys] by a loop."""
    return np.array([[bool(MASKS[rule](t, s, prefix)) for s in range(LENGTH)] for t in range(LENGTH)])


@pytest.mark.parametrize("prefix", [0, 1, 5, LENGTH])
def test_what_is_derived_is_the_rule(rule, prefix):
    wanted_TxS = allowed(rule, prefix)
    ones = jnp.ones((1, LENGTH), jnp.int32)
    made = Mask(ones, ones, prefix_lm_length=prefix, rule=rule).may_attend_BxTxS()
    np.testing.assert_array_equal(made[0], wanted_TxS)
    t = np.arange(LENGTH)
    np.testing.assert_array_equal(MASKS[rule](t[:, None], t[None], prefix), wanted_TxS)
    assert count_pairs(LENGTH, prefix, rule) == wanted_TxS.sum()
    last_T = [int(np.flatnonzero(wanted_TxS[: query + 1].any(axis=0))[-1]) + 1 for query in range(LENGTH)]
    assert [keys_seen_by(query, LENGTH, prefix, rule) for query in range(LENGTH)] == last_T
    assert keys_seen_by(LENGTH - 1, LENGTH - 2, prefix, rule) == LENGTH - 2  # there are no more


def test_blocks_of_queries():
    assert list(query_blocks(7, 7, 3)) == [(0, 3, 3), (3, 6, 6), (6, 7, 7)]
    assert list(query_blocks(7, 7, 3, prefix_lm_length=5)) == [(0, 3, 5), (3, 6, 6), (6, 7, 7)]
    assert list(query_blocks(2, 9, 3, first_query=4)) == [(0, 2, 6)]


def test_attention_by_a_rule_of_ones_own(monkeypatch):
    monkeypatch.setitem(MASKS, "window", window)
    rng = np.random.default_rng(0)
    q, k, v = (jnp.asarray(rng.normal(size=(1, 130, 2, 4)), jnp.float32) for _ in range(3))
    ones = jnp.ones((1, 130), jnp.int32)
    for attend in (cpu.attention, reference.attention):
        out = attend(q, k, v, Mask(ones, ones, rule="window"))
        near = slice(130 - 4, 130)
        alone = attend(q[:, -1:], k[:, near], v[:, near], Mask(ones[:, -1:], ones[:, near], first_query=3))
        np.testing.assert_allclose(out[:, -1:], alone, rtol=1e-5)


def test_an_unknown_rule_is_named():
    with pytest.raises(UserError, match=r"config\.model\.mask is 'windowed', but must be one of 'prefix_lm'"):
        ModelConfig(mask="windowed").validate()
    assert masks.prefix_lm in MASKS.values()

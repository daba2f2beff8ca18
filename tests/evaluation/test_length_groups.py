"""Batches of similar length: nothing lost, nothing twice, few lengths, little padding."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pause_jax.evaluation.length_groups import LengthGroup, group_by_length, rung
from pause_jax.inference.rows import pad_batch


def test_by_hand():
    """Longest first; equal ones in order; only the last batch is short; its length is that of its longest prompt."""
    lengths = {0: 5, 1: 100, 2: 13, 3: 16, 4: 70, 5: 90, 6: 100}
    assert group_by_length(lengths, 2) == [
        LengthGroup((1, 6), 104),
        LengthGroup((5, 4), 96),
        LengthGroup((3, 2), 16),
        LengthGroup((0,), 8),
    ]


@given(st.lists(st.integers(1, 5000), min_size=1, max_size=60), st.integers(1, 20))
def test_properties(lengths, batch_size):
    made = group_by_length(dict(enumerate(lengths)), batch_size)
    assert sorted(i for batch in made for i in batch.examples) == list(range(len(lengths)))
    assert len(made) == -(-len(lengths) // batch_size)
    for batch in made:
        longest = max(lengths[i] for i in batch.examples)
        assert longest <= batch.length <= max(8, 1.5 * longest) and batch.length % 4 == 0
    sizes = {batch.length for batch in made}
    assert len(sizes) <= 2 * 10 + 1  # two lengths for each doubling, and the longest one's own


@given(st.integers(1, 100_000))
def test_rungs(length):
    found = rung(length)
    while found % 2 == 0:
        found //= 2
    assert found in (1, 3) and rung(length) >= length and (length <= 8 or rung(length) < 1.5 * length)


def test_the_last_batch_is_filled():
    assert pad_batch([1, 2], 4) == [1, 2, 1, 1] and pad_batch([1, 2], 2) == [1, 2]

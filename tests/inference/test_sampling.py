"""Sampling: greedy and nucleus sets by hand, frequencies against the probabilities they come from."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pause_jax.errors import UserError
from pause_jax.inference.sampling import Sampling, sample

PROBABILITIES = np.array([0.1, 0.4, 0.2, 0.3])


def draws(sampling, count=4000, probabilities=PROBABILITIES):
    """How often each id is chosen."""
    logits_BxV = jnp.tile(jnp.log(jnp.asarray(probabilities, jnp.float32)), (count, 1))
    keys_B = jax.random.split(jax.random.key(0), count)
    ids_B = np.asarray(jax.jit(sample, static_argnums=2)(logits_BxV, keys_B, sampling))
    return np.bincount(ids_B, minlength=len(probabilities)) / count


def test_greedy_takes_the_likeliest_and_the_first_of_equals():
    logits_BxV = jnp.array([[0.0, 3.0, 1.0], [2.0, 1.0, 2.0]])
    ids_B = sample(logits_BxV, jax.random.split(jax.random.key(0), 2), Sampling(top_p=0.1))
    assert ids_B.dtype == jnp.int32 and ids_B.tolist() == [1, 0]


@pytest.mark.parametrize(
    "sampling, wanted",
    [
        (Sampling(1.0), PROBABILITIES),
        (Sampling(0.5), PROBABILITIES**2 / np.sum(PROBABILITIES**2)),
        (Sampling(1.0, top_p=0.65), [0, 4 / 7, 0, 3 / 7]),
        (Sampling(1.0, top_p=0.75), [0, 4 / 9, 2 / 9, 3 / 9]),
        (Sampling(1.0, top_p=0.01), [0, 1, 0, 0]),
        (Sampling(0.5, top_p=0.6), [0, 16 / 25, 0, 9 / 25]),  # 16, 9, 4 and 1 of 30: the set is chosen when cooled
    ],
)
def test_frequencies(sampling, wanted):
    """4,000 draws: five standard deviations are at most 0.04."""
    np.testing.assert_allclose(draws(sampling), wanted, atol=0.04)
    np.testing.assert_array_equal(draws(sampling) > 0, np.asarray(wanted) > 0)


def test_a_row_does_not_depend_on_the_rows_beside_it():
    keys_B = jax.random.split(jax.random.key(1), 5)
    logits_BxV = jax.random.normal(jax.random.key(2), (5, 11))
    together = sample(logits_BxV, keys_B, Sampling(1.0, 0.8))
    alone = [int(sample(logits_BxV[i][None], keys_B[i][None], Sampling(1.0, 0.8))[0]) for i in range(5)]
    assert together.tolist() == alone


@pytest.mark.parametrize(
    "sampling, sentence",
    [
        (Sampling(temperature=-1), "temperature is -1"),
        (Sampling(temperature=float("nan")), "temperature is nan"),
        (Sampling(temperature=float("inf")), "temperature is inf"),
        (Sampling(top_p=0.0), "top_p is 0.0"),
        (Sampling(top_p=1.1), "top_p is 1.1"),
    ],
)
def test_mistakes(sampling, sentence):
    with pytest.raises(UserError, match=sentence):
        sampling.validate()

"""Rotary positions by hand, and by complex numbers."""

from __future__ import annotations

import math

import jax.numpy as jnp
import numpy as np

from pause_jax.config.model import ModelConfig
from pause_jax.model import rope

HEAD = 8
CONFIG = {"d_model": HEAD, "num_heads": 1, "positions": "rope", "rope_theta": 10_000.0}


def turned(x, positions, **fields):
    """`x` [T, E] at `positions`."""
    angles = rope.angles(jnp.array([positions], jnp.int32), ModelConfig(**CONFIG | fields))
    return np.asarray(rope.rotate(jnp.asarray(x, jnp.float32)[None, :, None], angles))[0, :, 0]


def test_frequencies_by_hand():
    """theta^(-2i/E): 10,000^(0, -1/4, -1/2, -3/4)."""
    frequencies = rope.frequencies(ModelConfig(**CONFIG))
    np.testing.assert_allclose(frequencies, [1, 0.1, 0.01, 0.001], rtol=1e-6)
    assert frequencies.dtype == np.float32


def test_pairs_are_a_half_apart():
    """At position 1, dimension 0 turns by one radian into dimension 4, and dimension 1 by 0.1 into 5."""
    x = np.zeros((2, HEAD))
    x[0, 0] = x[1, 1] = 1.0
    wanted = np.zeros((2, HEAD))
    wanted[0, 0], wanted[0, 4] = math.cos(1), math.sin(1)
    wanted[1, 1], wanted[1, 5] = math.cos(0.1), math.sin(0.1)
    np.testing.assert_allclose(turned(x, [1, 1]), wanted, atol=1e-6)


def test_position_0_changes_nothing():
    x = np.random.default_rng(0).normal(size=(1, HEAD)).astype(np.float32)
    np.testing.assert_array_equal(turned(x, [0]), x)


def test_products_depend_on_the_distance_alone():
    q, k = np.random.default_rng(0).normal(size=(2, 1, HEAD))
    near = turned(q, [7]) @ turned(k, [4]).T
    np.testing.assert_allclose(turned(q, [57]) @ turned(k, [54]).T, near, rtol=1e-4)
    assert abs(turned(q, [7]) @ turned(k, [5]).T - near) > 0.01


def test_linear_scaling_is_slower_positions():
    x = np.random.default_rng(0).normal(size=(3, HEAD))
    scaled = turned(x, [0, 8, 20], rope_scaling="linear", rope_factor=4.0)
    np.testing.assert_allclose(scaled, turned(x, [0, 2, 5]), rtol=1e-5, atol=1e-6)


def test_llama3_scaling_by_hand():
    """Original length 200·pi: 100, 10, 1 and 0.1 full turns. At least 20: kept; at most 2: stretched by 8; between:
    10 turns are (10 − 2) / (20 − 2) = 4/9 of the way, so 4/9 kept and 5/9 stretched."""
    config = ModelConfig(
        **CONFIG,
        rope_scaling="llama3",
        rope_factor=8.0,
        rope_low_freq_factor=2.0,
        rope_high_freq_factor=20.0,
        rope_original_max_positions=200 * math.pi,
    )
    wanted = [1, 0.1 * (4 / 9 + 5 / 9 / 8), 0.01 / 8, 0.001 / 8]
    np.testing.assert_allclose(rope.frequencies(config), wanted, rtol=1e-6)

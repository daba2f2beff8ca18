"""Rotary position embedding (Su et al., arXiv 2104.09864), in the half-split layout of Llama's public weights."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np

from pause_jax.config.model import ModelConfig


def frequencies(config: ModelConfig) -> np.ndarray:
    """Radians per position for each pair of a head's dimensions: float32 [E / 2], scaled as the config says."""
    size = config.head_dim
    freq = config.rope_theta ** -(np.arange(0, size, 2) / size)
    if config.rope_scaling == "linear":
        freq = freq / config.rope_factor
    elif config.rope_scaling == "llama3":
        freq = _llama3(freq, config)
    return freq.astype(np.float32)


def _llama3(freq: np.ndarray, config: ModelConfig) -> np.ndarray:
    """Llama 3.1: long waves are stretched by the factor, short ones kept, those between are blended."""
    turns = config.rope_original_max_positions * freq / (2 * math.pi)  # full turns within the original length
    low, high = config.rope_low_freq_factor, config.rope_high_freq_factor
    kept = np.clip((turns - low) / (high - low), 0.0, 1.0)
    return kept * freq + (1 - kept) * freq / config.rope_factor


def angles(positions_BxT: jax.Array, config: ModelConfig) -> tuple[jax.Array, jax.Array]:
    """Cosines and sines, float32 [B, T, 1, E / 2] each, for `rotate`."""
    angles_BxTxF = positions_BxT[..., None].astype(jnp.float32) * frequencies(config)[None, None]
    return jnp.cos(angles_BxTxF)[:, :, None], jnp.sin(angles_BxTxF)[:, :, None]


def rotate(x_BxTxHxE: jax.Array, cos_sin: tuple[jax.Array, jax.Array]) -> jax.Array:
    """Each pair (i, i + E/2) of a head, rotated by its position's angle; computed in float32, same dtype out."""
    cos, sin = cos_sin
    first, second = jnp.split(x_BxTxHxE.astype(jnp.float32), 2, axis=-1)
    rotated = jnp.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1)
    return rotated.astype(x_BxTxHxE.dtype)

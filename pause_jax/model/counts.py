"""Parameter and FLOP counts by formula (XLA's own count sees the body of a scan once)."""

from __future__ import annotations

import functools
import math

from pause_jax import trees
from pause_jax.config.model import ModelConfig
from pause_jax.model import decoder, mask


def parameter_counts(config: ModelConfig) -> tuple[int, int]:
    """(parameters without the pauses', pause parameters = num_pause_tokens · d_model)."""
    sizes = {path: math.prod(leaf.shape) for path, leaf in trees.flatten(decoder.abstract_params(config)).items()}
    pauses = sizes.pop("pause/embedding", 0)
    return sum(sizes.values()), pauses


@functools.cache  # a sweep asks for each of its jobs
def matmul_parameters(config: ModelConfig) -> int:
    """Parameters multiplied with every position: kernels and the head, tied or not; no look-ups, no vectors."""
    flat = trees.flatten(decoder.abstract_params(config))
    kernels = sum(math.prod(leaf.shape) for path, leaf in flat.items() if path.endswith("/kernel"))
    return kernels + config.vocab_size * config.d_model


def forward_flops(
    config: ModelConfig, length: int, head_positions: int | None = None, prefix_lm_length: int = 0
) -> float:
    """FLOPs of reading one row of `length` positions, pauses counted as the work they are.

    A multiply-add is two FLOPs. Matmuls: 2 · parameters · positions. Attention: scores and weighted values cost
    2 · 2 · H · E for each pair of positions of which the first attends to the second (`mask.count_pairs`; in a causal
    row length · (length + 1) / 2). Norms, softmax, activations and look-ups are left out (under 1 % at real widths).

    Args:
      length: positions in the row, text and pauses together.
      head_positions: positions whose logits are computed; all when None.
      prefix_lm_length: positions at the row's start that see each other in both directions.
    """
    head = config.vocab_size * config.d_model
    body = 2.0 * (matmul_parameters(config) - head) * length
    pairs = mask.count_pairs(length, prefix_lm_length, config.mask)
    attention = 4.0 * config.num_layers * config.num_heads * config.head_dim * pairs
    return body + attention + 2.0 * head * (length if head_positions is None else head_positions)


def train_flops(
    config: ModelConfig, length: int, head_positions: int | None = None, prefix_lm_length: int = 0
) -> float:
    """Model FLOPs of training on one row: the backward pass costs twice the forward; recomputation is not counted.

    Arguments as of `forward_flops`.
    """
    return 3.0 * forward_flops(config, length, head_positions, prefix_lm_length)

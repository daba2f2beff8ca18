"""How far float32 may be from exact arithmetic: the one derivation that bounds of tests go by."""

from __future__ import annotations

from pause_jax.config.model import ModelConfig

UNIT = 2.0**-24  # relative, of one rounding to float32


def of_decoder(config: ModelConfig, length: int, passes: int = 1) -> float:
    """What float32 may change in an array that a decoder computes, as a share of its largest value.

    A layer rounds about ten times in sequence: norm, q/k/v, scores, softmax, values, output, norm, up, activation,
    down. Those errors are added up as if they never cancelled. Within a sum of n terms they do, and grow as sqrt(n).
    Measured on an AMD EPYC: a third of this at most (`make margins`).

    Args:
      length: positions of a row.
      passes: 1 for logits, 2 for a gradient.
    """
    terms = max(config.d_model, config.d_ff, length)
    return 10 * config.num_layers * passes * terms**0.5 * UNIT

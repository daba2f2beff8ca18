"""The FLOPs of a run's training, by its config."""

from __future__ import annotations

from pause_jax.config import Config
from pause_jax.model import counts


def flops_per_row(config: Config) -> float:
    """Model FLOPs of training on one row, pauses included; the mean where M_ft is several numbers."""
    finetune = config.finetune
    prefix_lm_length = [finetune.prefix_lm_length(m) for m in finetune.m_ft] if finetune.task else [0]
    heads = config.length - config.first_loss
    return sum(counts.train_flops(config.model, config.length, heads, both) for both in prefix_lm_length) / len(
        prefix_lm_length
    )


def flops_per_step(config: Config) -> float:
    """Model FLOPs of a training step, all devices together."""
    return config.train.batch_size * flops_per_row(config)

"""Configs of batches: what a test of the data pipeline says, the rest as it is by default."""

from __future__ import annotations

from pause_jax.config import Config, DataConfig, FinetuneConfig, ModelConfig, PauseConfig, RunConfig, TrainConfig


def config_of(
    *,
    vocab_size: int,
    num_pause_tokens: int = 0,
    batch_size: int,
    data: DataConfig | None = None,
    pauses: PauseConfig | None = None,
    finetune: FinetuneConfig | None = None,
    seed: int = 0,
    validation_batches: int = 8,
) -> Config:
    return Config(
        seed=seed,
        model=ModelConfig(vocab_size=vocab_size, num_pause_tokens=num_pause_tokens),
        data=data or DataConfig(),
        pauses=pauses or PauseConfig(),
        finetune=finetune or FinetuneConfig(),
        train=TrainConfig(batch_size=batch_size),
        run=RunConfig(validation_batches=validation_batches),
    )

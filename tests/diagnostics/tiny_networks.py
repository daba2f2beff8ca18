"""Decoders of all kinds, small, with parameters far from those of a start, so that every part of them matters."""

from __future__ import annotations

import dataclasses
import functools

import numpy as np

from pause_jax import trees
from pause_jax.config import Config, FinetuneConfig
from pause_jax.config.model import ModelConfig
from pause_jax.model import decoder

V, N_PAUSES = 13, 2
_GPT = ModelConfig(vocab_size=V, num_layers=3, d_model=16, num_heads=4, d_ff=24, max_positions=64)
MODELS = {
    "gpt": _GPT,
    "post": dataclasses.replace(_GPT, norm_placement="post"),
    "llama": dataclasses.replace(
        _GPT,
        positions="rope",
        norm="rmsnorm",
        mlp="swiglu",
        num_kv_heads=2,
        attention_bias="none",
        mlp_bias=False,
        tie_embeddings=False,
    ),
    "qwen": dataclasses.replace(
        _GPT,
        positions="rope",
        norm="rmsnorm",
        mlp="swiglu",
        num_kv_heads=2,
        head_dim=6,
        attention_bias="qkv",
        qk_norm=True,
        mlp_bias=False,
    ),
}
PROMPTS = [[5, 3, 8, 1], [2, 9], [7, 7, 1, 12, 4, 10, 6]]
CASES = {
    "append": {"attention": "causal"},
    "append, prefix_only": {"attention": "prefix_only"},
    "append, prefix_and_pauses": {"attention": "prefix_and_pauses"},
    "prepend": {"attention": "causal", "placement": "prepend"},
    "prepend, prefix_and_pauses": {"attention": "prefix_and_pauses", "placement": "prepend"},
    "filler": {"attention": "causal", "placement": "filler"},
}


@functools.cache
def params_of(name):
    rng = np.random.default_rng(0)

    def draw(path, leaf):
        return (path.endswith("scale") + 0.4 * rng.normal(size=leaf.shape)).astype(np.float32)

    return trees.map_with_path(
        draw, decoder.abstract_params(dataclasses.replace(MODELS[name], num_pause_tokens=N_PAUSES))
    )


def config_of(name, case="append"):
    finetune = FinetuneConfig(task="t", m_ft=(3,), max_prompt_length=8, target_length=2, **CASES[case])
    return Config(model=dataclasses.replace(MODELS[name], num_pause_tokens=N_PAUSES), finetune=finetune)

"""What pauses cost by the clock, beside what the compiled programs say: both sides are ours.

At equal length a training step with 10 % pauses (`trim`) is the step without, but for the look-up of pauses. A prefill
of 512 tokens and 10 pauses reads 522 positions in place of 512: 1.02 times the matrix products. The facts are ratios of
the compilers' figures (costs.py); tests/test_costs.py holds them to their bounds.
"""

from __future__ import annotations

import dataclasses

import jax
import numpy as np

from benchmarks import costs
from benchmarks.measure import Call, Pair
from benchmarks.steps import stepper
from pause_jax.config import PauseConfig
from pause_jax.config.model import ModelConfig
from pause_jax.inference.prefill import PromptFormat
from pause_jax.network import Network

MODEL = ModelConfig(vocab_size=8192, num_layers=4, d_model=256, num_heads=8, d_ff=1024, max_positions=1024)
ROOM = 16  # positions of the cache for an answer: 512 and 522 are then both rounded up to 544
RATE = 0.1  # pauses a text token


def make_train_pair(model: ModelConfig = MODEL, batch_size: int = 8, length: int = 256) -> Pair:
    """A step with pauses against one without; work is one step."""
    paused = costs.train_config(
        dataclasses.replace(model, num_pause_tokens=1), batch_size, length, pauses=PauseConfig(rate=RATE)
    )
    standard = costs.train_config(model, batch_size, length)
    compiled = [costs.lower_train_step(config).compile() for config in (paused, standard)]
    ours, peer = (stepper(config, step) for config, step in zip((paused, standard), compiled, strict=True))
    return Pair(ours, peer, facts=_ratios(*compiled))


def make_prefill_pair(
    model: ModelConfig = MODEL, batch_size: int = 8, prompt_length: int = 512, m_inf: int = 10
) -> Pair:
    """Prompts and `m_inf` pauses against the prompts alone, read by one model."""
    network, prompt_format = Network(dataclasses.replace(model, num_pause_tokens=1)), PromptFormat("causal")
    params = jax.jit(lambda: network.init(0))()
    prompts = np.random.default_rng(0).integers(0, model.vocab_size, (batch_size, prompt_length)).tolist()

    def reader(m_inf: int) -> Call:
        def prefill() -> None:
            (read,) = network.prefill(params, prompts, [m_inf], prompt_format, extra_cache_length=ROOM)
            jax.block_until_ready((read.logits_BxV, read.cache))

        return prefill

    compiled = [costs.lower_prefill(model, batch_size, prompt_length, m, ROOM).compile() for m in (m_inf, 0)]
    return Pair(reader(m_inf), reader(0), facts=_ratios(*compiled))


def _ratios(ours: jax.stages.Compiled, peer: jax.stages.Compiled) -> dict[str, float]:
    """Each compiled figure of ours over the peer's."""
    our_costs, peer_costs = (dataclasses.asdict(costs.costs(compiled)) for compiled in (ours, peer))
    return {f"{name}_ratio": our_costs[name] / peer_costs[name] for name in our_costs}

"""Items of multiple choice, four options each, as HellaSwag's: prompts read once, against once for each option.

Ours is inference/score.py, whose options go on from the prompt's keys and values, in float32. The peer is our own
decoder used the plain way: prompt and option as one row, logits at all positions. Both take items, or rows, of similar
length together. Lengths are like those that T5's SentencePiece gives HellaSwag's validation file: contexts of 27 to 89
tokens (first and last tenth; mean 61), options of 11 to 56 (mean 35). So a prompt read once saves half at most.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.measure import Pair
from pause_jax.config.model import ModelConfig
from pause_jax.evaluation.length_groups import group_by_length, rung
from pause_jax.inference.prefill import PromptFormat
from pause_jax.inference.score import score
from pause_jax.network import Network, Params

MODEL = ModelConfig(vocab_size=8192, num_layers=4, d_model=256, num_heads=8, d_ff=1024, max_positions=512)
OPTIONS = 4
PROMPT_LENGTHS, OPTION_LENGTHS = (27, 96), (9, 62)  # drawn uniformly, the upper end excluded

Ids = list[int]


def make_pair(items: int = 128, batch_size: int = 16, model: ModelConfig = MODEL) -> Pair:
    """All items once; work is counted in items.

    Raises:
      AssertionError: the two give other log-probabilities.
    """
    rng = np.random.default_rng(0)

    def text(lengths: tuple[int, int]) -> Ids:
        return rng.integers(3, model.vocab_size, rng.integers(*lengths)).tolist()

    prompts = [text(PROMPT_LENGTHS) for _ in range(items)]
    options = [[text(OPTION_LENGTHS) for _ in range(OPTIONS)] for _ in range(items)]
    network = Network(dataclasses.replace(model, num_pause_tokens=1))
    params = jax.jit(lambda: network.init(0))()
    ours = functools.partial(_shared, network, params, prompts, options, batch_size)
    peer = functools.partial(_by_option, network, params, prompts, options, batch_size * OPTIONS)
    np.testing.assert_allclose(ours(), peer(), rtol=1e-4, err_msg="log-probabilities")
    return Pair(ours, peer, work=items)


def _shared(
    network: Network, params: Params, prompts: list[Ids], options: list[list[Ids]], batch_size: int
) -> np.ndarray:
    """log p of each option, [items, options]."""
    sums = np.empty((len(prompts), OPTIONS))
    for batch in group_by_length({i: len(prompt) for i, prompt in enumerate(prompts)}, batch_size):
        row_options = [options[i] for i in batch.examples]
        longest = max(len(option) for one in row_options for option in one)
        sums[list(batch.examples)] = score(
            network,
            params,
            [prompts[i] for i in batch.examples],
            row_options,
            0,
            PromptFormat("causal", bucket=batch.length),
            option_length=rung(longest),
        )
    return sums


def _by_option(
    network: Network, params: Params, prompts: list[Ids], options: list[list[Ids]], batch_size: int
) -> np.ndarray:
    """As `_shared`, a row for each option."""
    rows = [(prompt, option) for prompt, row_options in zip(prompts, options, strict=True) for option in row_options]
    sums = np.empty(len(rows))
    for batch in group_by_length({i: len(prompt) + len(option) for i, (prompt, option) in enumerate(rows)}, batch_size):
        ids_BxT = np.zeros((len(batch.examples), batch.length), np.int32)
        is_text_BxT, is_option_BxT = np.zeros(ids_BxT.shape, np.int32), np.zeros(ids_BxT.shape, bool)
        for row, (prompt, option) in enumerate(rows[i] for i in batch.examples):
            length = len(prompt) + len(option)
            ids_BxT[row, :length] = prompt + option
            is_text_BxT[row, :length] = 1
            is_option_BxT[row, len(prompt) : length] = True
        sums[list(batch.examples)] = _log_p(params, ids_BxT, is_text_BxT, is_option_BxT, network=network)
    return sums.reshape(-1, OPTIONS)


@functools.partial(jax.jit, static_argnames="network")
def _log_p(
    params: dict[str, Any], ids_BxT: jax.Array, is_text_BxT: jax.Array, is_option_BxT: jax.Array, *, network: Network
) -> jax.Array:
    """Sums [B] of log p over the options' tokens."""
    model = network.bind(params)
    positions_BxT = jnp.broadcast_to(jnp.arange(ids_BxT.shape[1]), ids_BxT.shape)
    hidden_BxTxD, _ = model(ids_BxT, positions_BxT, is_text_BxT)
    log_p_BxTxV = jax.nn.log_softmax(model.logits(hidden_BxTxD))
    log_p_BxT = jnp.take_along_axis(log_p_BxTxV[:, :-1], ids_BxT[:, 1:, None], axis=-1)[..., 0]
    return jnp.sum(jnp.where(is_option_BxT[:, 1:], log_p_BxT, 0.0), axis=-1)

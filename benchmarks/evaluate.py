"""The prompt part of an evaluation at six M_inf, over that of one at M_inf 0, the cheapest there is, in float32.

Both sides are ours, inference/prefill.py, with attention `prefix_only`: prompts of 150 to 400 tokens, as SQuAD's are,
in the batches of evaluation/length_groups.py, read up to the logits of the first answer token and a KV cache. Six
readings of their own would take six times as long and more.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence

import jax
import numpy as np

from benchmarks.measure import Pair
from pause_jax.config.model import ModelConfig
from pause_jax.evaluation.length_groups import group_by_length
from pause_jax.inference.decode import Decoding
from pause_jax.inference.prefill import Prefill, PromptFormat
from pause_jax.network import Network

M_INF = (0, 2, 5, 10, 25, 50)
MODEL = ModelConfig(vocab_size=8192, num_layers=4, d_model=256, num_heads=8, d_ff=1024, max_positions=512)
LENGTHS = (150, 400)  # of prompts, drawn uniformly
NEW_TOKENS = 8  # of the answers that are compared
NEVER = MODEL.vocab_size  # an end that the head cannot give


def make_pair(
    num_prompts: int = 200, batch_size: int = 20, model: ModelConfig = MODEL, lengths: tuple[int, int] = LENGTHS
) -> Pair:
    """All prompts, read once; work is counted in prompts.

    Raises:
      AssertionError: six M_inf at once give other answers to the first batch than six evaluations.
    """
    rng = np.random.default_rng(0)
    prompts = [rng.integers(3, model.vocab_size, n).tolist() for n in rng.integers(*lengths, num_prompts)]
    in_batches = [
        ([prompts[i] for i in batch.examples], batch.length)
        for batch in group_by_length({i: len(prompt) for i, prompt in enumerate(prompts)}, batch_size)
    ]
    network = Network(dataclasses.replace(model, num_pause_tokens=1))
    params = jax.jit(lambda: network.init(0))()

    def prefills(m_infs: Sequence[int], num_batches: int | None = None) -> Iterator[Prefill]:
        for rows, length in in_batches[:num_batches]:
            prompt_format = PromptFormat("prefix_only", bucket=length)
            yield from network.prefill(params, rows, m_infs, prompt_format, extra_cache_length=NEW_TOKENS - 1)

    def reader(m_infs: Sequence[int]) -> Callable[[], None]:
        def call() -> None:
            for prefill in prefills(m_infs):
                jax.block_until_ready((prefill.logits_BxV, prefill.cache))

        return call

    def answers(m_infs: Sequence[int]) -> list[list[list[int]]]:
        decoding = Decoding(max_new_tokens=NEW_TOKENS, eos_id=NEVER)
        return [network.decode(params, prefill, decoding) for prefill in prefills(m_infs, num_batches=1)]

    together = answers(M_INF)
    for m_inf, shared in zip(M_INF, together, strict=True):
        assert [shared] == answers([m_inf]), f"answers after {m_inf} pauses differ"
    return Pair(reader(M_INF), reader(M_INF[:1]), work=num_prompts)

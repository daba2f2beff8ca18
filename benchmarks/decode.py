"""Greedy answers with a KV cache, prompt included, from ids to ids, in float32.

Ours is inference/generate.py: one compiled loop, layers unrolled. The peer is transformers' generate() with its default
cache. Neither has an end of sequence, so both write every token.
"""

from __future__ import annotations

import numpy as np
import torch

from benchmarks.measure import Pair
from benchmarks.peers import make_twins
from benchmarks.shapes import Shape
from pause_jax.inference.generate import generate
from pause_jax.model.config import Execution


def make_pair(shape: Shape, batch_size: int, prompt_length: int, new_tokens: int) -> Pair:
    """One generation of `new_tokens` a row; work is counted in tokens of all rows.

    Raises:
      AssertionError: the two sides write different answers.
    """
    twins = make_twins(shape)
    model = twins.peer.eval()
    prompts_BxP = np.random.default_rng(0).integers(0, shape.vocab_size, (batch_size, prompt_length))
    prompts = prompts_BxP.tolist()
    ids_BxP = torch.tensor(prompts_BxP)
    never = shape.vocab_size  # an id that the head cannot give

    def ours() -> list[list[int]]:
        return generate(
            twins.params, twins.config, Execution(), 0, prompts,
            m_inf=0, attention="causal", max_new_tokens=new_tokens, eos_id=never,
        )  # fmt: skip

    def peer() -> list[list[int]]:
        with torch.inference_mode():
            ids_BxT = model.generate(
                ids_BxP, attention_mask=torch.ones_like(ids_BxP), do_sample=False, max_new_tokens=new_tokens
            )
        return ids_BxT[:, prompt_length:].tolist()

    np.testing.assert_array_equal(ours(), peer(), err_msg="greedy answers")
    return Pair(ours, peer, work=batch_size * new_tokens)

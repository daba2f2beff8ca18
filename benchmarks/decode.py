"""Greedy answers with a KV cache, prompt included, from ids to ids, in float32.

Ours is inference/decode.py: one compiled loop, layers unrolled. The peer is transformers' generate(), eager with its
default cache, or its network by torch.compile with a cache of fixed size, whichever is quicker. Neither has an end of
sequence, so both write every token.
"""

from __future__ import annotations

import copy
import functools
from typing import Any

import numpy as np
import torch

from benchmarks.measure import Pair
from benchmarks.peers import better, make_twins, torch_device
from benchmarks.shapes import Shape
from pause_jax.inference.decode import Decoding, generate
from pause_jax.inference.prefill import PromptFormat
from pause_jax.network import Network


def make_pair(shape: Shape, batch_size: int, prompt_length: int, new_tokens: int) -> Pair:
    """One generation of `new_tokens` a row; work is counted in tokens of all rows.

    Raises:
      AssertionError: the two sides write different answers.
    """
    twins = make_twins(shape)
    model = twins.peer.eval()
    prompts_BxP = np.random.default_rng(0).integers(0, shape.vocab_size, (batch_size, prompt_length))
    prompts = prompts_BxP.tolist()
    ids_BxP = torch.tensor(prompts_BxP, device=torch_device())
    never = shape.vocab_size  # an id that the head cannot give

    def ours() -> list[list[int]]:
        decoding = Decoding(max_new_tokens=new_tokens, eos_id=never)
        return generate(Network(twins.config), twins.params, prompts, 0, decoding, PromptFormat("causal"))

    def peer(model: Any, **cache: str) -> list[list[int]]:
        with torch.inference_mode():
            ids_BxT = model.generate(
                ids_BxP, attention_mask=torch.ones_like(ids_BxP), do_sample=False, max_new_tokens=new_tokens, **cache
            )
        return ids_BxT[:, prompt_length:].tolist()

    eager = functools.partial(peer, model)
    quicker = copy.copy(model)  # the same parameters
    quicker.forward = torch.compile(model.forward)
    chosen, how = better(ours, eager, functools.partial(peer, quicker, cache_implementation="static"))
    np.testing.assert_array_equal(ours(), eager(), err_msg="greedy answers")
    if callable(chosen):
        np.testing.assert_array_equal(ours(), chosen(), err_msg="greedy answers")
    return Pair(ours, chosen, work=batch_size * new_tokens, facts={"peer_is": how})

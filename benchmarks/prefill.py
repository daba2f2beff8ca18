"""Reading prompts and their pauses in one pass, up to the first answer token's logits and a filled KV cache, float32.

Ours is inference/prefill.py, compiled, layers unrolled, with the cache length that generation would choose. The peer is
transformers' model on the same positions, the pauses as an ordinary added token, computing the last position's logits
alone; eager or by torch.compile, whichever is quicker.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import torch

from benchmarks.measure import Pair
from benchmarks.peers import assert_agree, better, make_twins, torch_device, torch_wait
from benchmarks.shapes import Shape
from pause_jax.inference.prefill import PromptFormat
from pause_jax.network import Network
from pause_jax.pauses.downstream import context_rows


def make_pair(shape: Shape, batch_size: int, prompt_length: int, m_inf: int) -> Pair:
    """One prefill of `prompt_length` tokens (a multiple of the bucket: no padding) and `m_inf` pauses a row.

    Raises:
      AssertionError: the logits of the two sides differ.
    """
    twins = make_twins(shape, num_pause_tokens=1)
    model = twins.peer.eval()
    prompts_BxP = np.random.default_rng(0).integers(0, shape.vocab_size, (batch_size, prompt_length))
    network = Network(twins.config)
    rows = context_rows(prompts_BxP.tolist(), m_inf, tokens=network.pause_tokens())
    ids_BxC = torch.tensor(rows.ids_BxC, dtype=torch.long, device=torch_device())

    def ours() -> jax.Array:
        prompts = prompts_BxP.tolist()
        (prefill,) = network.prefill(twins.params, prompts, [m_inf], PromptFormat("causal"), extra_cache_length=0)
        return jax.block_until_ready((prefill.logits_BxV, prefill.cache))[0]

    def peer(forward: Callable[..., Any]) -> torch.Tensor:
        with torch.inference_mode():
            logits_BxV = forward(input_ids=ids_BxC, use_cache=True, logits_to_keep=1).logits[:, -1]
        torch_wait()
        return logits_BxV

    eager, compiled = (functools.partial(peer, forward) for forward in (model, torch.compile(model)))
    chosen, how = better(ours, eager, compiled)
    assert_agree("logits after the last pause", np.asarray(ours()), eager().cpu().numpy()[:, : shape.vocab_size])
    return Pair(ours, chosen, facts={"peer_is": how})

"""Peers from Hugging Face transformers (torch), and our decoder with the same weights.

A peer is given what is best for it: its default fused attention, all cores, no work that we do not do, and of eager and
torch.compile the quicker (`better`). It runs on the GPU where JAX does; for TPUs torch is on the host's CPU, and only
our own numbers mean something.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch
import transformers

from benchmarks.machine import usable_cores
from benchmarks.measure import Call, Side, seconds
from benchmarks.shapes import Shape
from pause_jax.config.model import ModelConfig
from pause_jax.interop.configs import model_config
from pause_jax.interop.weights import TextRows
from pause_jax.interop.weights import params as params_from

HOPELESS = 5.0  # times our seconds: a peer that takes longer is not timed again, nor compiled
LONG = 20.0  # seconds: a first call that takes longer is judged by itself, others by the second


@dataclasses.dataclass(frozen=True)
class Twins:
    """One network twice. A pause of ours is an ordinary token to the peer, which has a logit for it: the last ones."""

    peer: Any  # a transformers model, float32
    config: ModelConfig
    params: dict[str, Any]


def make_twins(shape: Shape, num_pause_tokens: int = 0) -> Twins:
    """A random network of `shape`, for torch and for us."""
    prepare_torch()
    peer = _hf(shape, shape.vocab_size + num_pause_tokens)
    peer.loss_type = "ForCausalLM"  # what GPT-2's falls back to, with a warning
    with torch.no_grad():
        for parameter in peer.parameters():
            if parameter.ndim == 1:  # biases start at 0 and norms at 1, where a mistake would not show
                parameter.add_(0.1 * torch.randn_like(parameter))
    config = model_config(peer.config.to_dict() | {"vocab_size": shape.vocab_size})
    weights = {name: weight.numpy() for name, weight in peer.state_dict().items()}
    params = params_from(TextRows(weights, shape.vocab_size), config)
    if num_pause_tokens:
        params["pause"] = {"embedding": peer.get_input_embeddings().weight.detach().numpy()[shape.vocab_size :]}
    config = dataclasses.replace(config, num_pause_tokens=num_pause_tokens)
    # copies: NumPy shares its arrays with the peer, which trains them
    peer.to(torch_device())
    return Twins(peer, config, jax.tree.map(lambda leaf: jnp.array(leaf, copy=True), params))


def prepare_torch() -> None:
    """As many threads as JAX takes, the same random numbers, and float32 products that are float32."""
    torch.set_num_threads(usable_cores())
    torch.manual_seed(0)


def torch_device() -> str:
    """Where JAX computes, if torch can."""
    return "cuda" if jax.default_backend() == "gpu" else "cpu"


def torch_wait() -> None:
    """Until torch's device has done what it was given."""
    if torch_device() == "cuda":
        torch.cuda.synchronize()


def better(ours: Call, eager: Call, compiled: Call) -> tuple[Side, str]:
    """The quicker of two ways in which torch does what `ours` does, and which that is.

    `compiled` compiles at its first call. Where eager is hopeless, it is its seconds of one call.
    """
    ours()  # compiles
    hopeless = HOPELESS * seconds(ours)
    once = seconds(eager)
    if once < LONG:  # much of it may have been the first call's own
        once = seconds(eager)
    if once > hopeless:
        return once, f"torch eager, timed once: more than {HOPELESS:g} times our time"
    eager_seconds = min(seconds(eager) for _ in range(2))
    try:
        compiled()
        compiled_seconds = min(seconds(compiled) for _ in range(2))
    except Exception as error:  # of any kind: no C++ compiler, an operation that it does not know
        return eager, f"torch eager; torch.compile failed: {type(error).__name__}"
    return (compiled, "torch.compile") if compiled_seconds < eager_seconds else (eager, "torch eager")


def _hf(shape: Shape, vocab_size: int) -> Any:
    """An untrained transformers model. Without dropout, as the decoder has none, and without an end of sequence."""
    ids: dict[str, Any] = {"vocab_size": vocab_size, "bos_token_id": None, "eos_token_id": None}
    if shape.family == "gpt2":
        gpt2 = transformers.GPT2Config(
            **ids,
            n_layer=shape.num_layers,
            n_embd=shape.d_model,
            n_head=shape.num_heads,
            n_inner=shape.d_ff,
            n_positions=shape.max_positions,
            resid_pdrop=0.0,
            embd_pdrop=0.0,
            attn_pdrop=0.0,
        )
        return transformers.GPT2LMHeadModel(gpt2)
    llama = transformers.LlamaConfig(
        **ids,
        num_hidden_layers=shape.num_layers,
        hidden_size=shape.d_model,
        num_attention_heads=shape.num_heads,
        num_key_value_heads=shape.num_kv_heads,
        intermediate_size=shape.d_ff,
        max_position_embeddings=shape.max_positions,
    )
    return transformers.LlamaForCausalLM(llama)


def assert_agree(what: str, ours: np.ndarray, peer: np.ndarray, tolerance: float = 1e-5) -> None:
    """Raises AssertionError where the two differ by more than `tolerance` of the largest value.

    Float32 rounds at 6e-8; sums of some hundred terms, layer upon layer, take the two sides about 1e-6 apart.
    """
    np.testing.assert_allclose(ours, peer, rtol=0, atol=tolerance * float(np.abs(peer).max()), err_msg=what)

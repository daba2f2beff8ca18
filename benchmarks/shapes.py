"""Sizes of the networks that benchmarks run. Light: no torch, no JAX."""

from __future__ import annotations

import dataclasses
from typing import Literal


@dataclasses.dataclass(frozen=True)
class Shape:
    """Sizes; the parts are those of the family.

    gpt2: LayerNorm with bias, learned positions, GELU, biases, head tied to the embedding.
    llama: RMSNorm, RoPE, SwiGLU, grouped key/value heads, no biases, a head of its own.
    """

    family: Literal["gpt2", "llama"]
    vocab_size: int  # pauses not counted
    num_layers: int
    d_model: int
    num_heads: int
    num_kv_heads: int  # in gpt2 num_heads
    d_ff: int
    max_positions: int


GPT2_D256 = Shape("gpt2", 8192, num_layers=8, d_model=256, num_heads=8, num_kv_heads=8, d_ff=1024, max_positions=256)
GPT2_D768 = Shape(
    "gpt2", 32000, num_layers=12, d_model=768, num_heads=12, num_kv_heads=12, d_ff=3072, max_positions=512
)
# Two of the layers that a network of 1B parameters has.
GPT2_D2048 = Shape(
    "gpt2", 8192, num_layers=2, d_model=2048, num_heads=16, num_kv_heads=16, d_ff=8192, max_positions=512
)
LLAMA_D256 = Shape("llama", 8192, num_layers=4, d_model=256, num_heads=8, num_kv_heads=2, d_ff=688, max_positions=512)
GPT2_45M = Shape("gpt2", 32000, num_layers=8, d_model=512, num_heads=8, num_kv_heads=8, d_ff=2048, max_positions=512)
LLAMA_55M = Shape("llama", 32000, num_layers=8, d_model=512, num_heads=8, num_kv_heads=2, d_ff=1376, max_positions=512)

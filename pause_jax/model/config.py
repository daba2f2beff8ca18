"""What the network is: sizes and parts. How it is executed (remat, scan, kernels) is `Execution`."""

from __future__ import annotations

import dataclasses
from typing import Literal

from pause_jax.config import bounds
from pause_jax.errors import UserError
from pause_jax.model.mask import MASKS


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """Sizes and parts of one decoder; both families (GPT-like and Llama-like) are values of it."""

    vocab_size: int = 0  # rows of the output head, pauses not counted; 0: the tokenizer's size
    num_layers: int = 4
    d_model: int = 128  # width of the residual stream
    num_heads: int = 4
    num_kv_heads: int = 0  # key/value heads (GQA); 0: as many as num_heads
    head_dim: int = 0  # size of one head; 0: d_model / num_heads
    d_ff: int = 512  # inner width of the MLP
    mlp: Literal["gelu", "gelu_tanh", "relu", "swiglu"] = "gelu"
    mlp_bias: bool = True
    attention_bias: Literal["none", "qkv", "all"] = "all"  # "qkv": no bias on the output projection
    qk_norm: bool = False  # RMSNorm over each head of queries and keys, before RoPE (Qwen 3)
    norm: Literal["layernorm", "rmsnorm"] = "layernorm"
    norm_bias: bool = True  # LayerNorm only: RMSNorm never has one
    norm_placement: Literal["pre", "post"] = "pre"  # "post": the layer as printed in the paper, eq. 1-2
    norm_eps: float = 1e-5
    positions: Literal["learned", "rope", "none"] = "learned"  # "none": order is seen by the causal mask alone
    mask: str = "prefix_lm"  # a rule of pause_jax/model/mask.py: which keys a query may attend to, by their places
    max_positions: int = 512  # rows of the learned table; with rope only the length trained for
    rope_theta: float = 10_000.0
    rope_scaling: Literal["none", "linear", "llama3"] = "none"
    rope_factor: float = 1.0  # by how much the context is stretched
    rope_low_freq_factor: float = 1.0  # llama3 only
    rope_high_freq_factor: float = 4.0  # llama3 only
    rope_original_max_positions: int = 8192  # llama3 only: the length before stretching
    tie_embeddings: bool = True
    init_std: float = 0.02  # of every matrix; residual outputs are divided by sqrt(2 * num_layers)
    kernel_init: Literal["normal", "fan_in"] = "normal"  # "fan_in": 1 / sqrt(inputs) in place of init_std for kernels
    dtype: Literal["float32", "bfloat16"] = "float32"  # of activations and matmuls; parameters stay float32

    @property
    def kv_heads(self) -> int:
        return self.num_kv_heads or self.num_heads

    @property
    def head_size(self) -> int:
        return self.head_dim or self.d_model // self.num_heads

    def validate(self) -> None:
        """Raises UserError for sizes that do not fit together."""
        bounds.check(
            self,
            "config.model",
            "be at least 1",
            "num_layers",
            "d_model",
            "num_heads",
            "d_ff",
            "max_positions",
            "rope_theta",
            "rope_factor",
            "rope_original_max_positions",
        )
        bounds.check(self, "config.model", "not be negative", "vocab_size", "num_kv_heads", "head_dim", "init_std")
        bounds.check(
            self, "config.model", "be more than 0", "norm_eps", "rope_low_freq_factor", "rope_high_freq_factor"
        )
        if self.mask not in MASKS:
            raise UserError(f"config.model.mask is {self.mask!r}, but must be one of {', '.join(map(repr, MASKS))}")
        if not self.head_dim and self.d_model % self.num_heads:
            raise UserError(
                f"config.model.d_model = {self.d_model} is not divisible by config.model.num_heads = "
                f"{self.num_heads}: change one of them, or set config.model.head_dim"
            )
        if self.num_heads % self.kv_heads:
            raise UserError(
                f"config.model.num_heads = {self.num_heads} is not divisible by config.model.num_kv_heads = "
                f"{self.num_kv_heads}: each key/value head serves a whole number of query heads"
            )
        if self.positions == "rope" and self.head_size % 2:
            raise UserError(f"config.model.positions = 'rope' needs an even head size, but it is {self.head_size}")
        if self.rope_scaling == "llama3" and self.rope_low_freq_factor >= self.rope_high_freq_factor:
            raise UserError(
                f"config.model.rope_low_freq_factor = {self.rope_low_freq_factor} is not less than config.model."
                f"rope_high_freq_factor = {self.rope_high_freq_factor}: frequencies between them are blended"
            )


@dataclasses.dataclass(frozen=True)
class Execution:
    """How a decoder is run: same numbers (to rounding), other speed and memory."""

    scan_layers: bool = False  # one compiled layer looped over (accelerators); False unrolls (faster on CPU)
    # What the backward pass recomputes: nothing, all but what dense layers give, all.
    remat: Literal["none", "dots", "full"] = "none"
    # The kernel of whole rows: "splash" is for TPUs, "cudnn" for GPUs. Where keys and values come from a cache
    # (inference) it is always "xla": splash compiles its mask, and a cache is filled to another place at each call.
    attention: Literal["xla", "splash", "cudnn"] = "xla"
    attention_blocks: int = 4  # of queries, with "xla": later keys are left out; 1 for accelerators, nothing left out
    # Where so many rows or fewer are multiplied by a matrix, it stands on the left, which a CPU does in a third of the
    # time; for answers, kernels are first turned for that, in a copy. 0 for accelerators.
    few_rows: int = 32
    # In bfloat16: transposed operands of products are first copied so that their rows lie together. XLA's CPU back end
    # computes products of others in float32, in three times the time where there are instructions for bfloat16.
    # False for accelerators.
    row_major: bool = True

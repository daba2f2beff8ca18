"""The network's sizes and parts (`ModelConfig`), and how it is executed: kernels, scan, remat (`Execution`)."""

from __future__ import annotations

import dataclasses
from typing import Literal

from pause_jax.config import bounds
from pause_jax.errors import UserError
from pause_jax.model.mask import MASKS

_MAY_BE_ZERO = ("vocab_size", "num_pause_tokens", "num_kv_heads", "head_dim", "init_std")


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """Sizes and parts of one decoder; both families (GPT-like and Llama-like) are values of it."""

    vocab_size: int = 0  # rows of the output head, pauses not counted; 0: the tokenizer's size
    num_pause_tokens: int = 0  # distinct pause tokens, each one vector of d_model; 0: a standard model
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

    def __post_init__(self) -> None:
        # What 0 stands for is filled in once, here. So `dataclasses.replace` of num_heads or d_model takes head_dim=0
        # and num_kv_heads=0 along; sizes that do not go together stay open, for `validate` to tell.
        if self.num_kv_heads == 0:
            object.__setattr__(self, "num_kv_heads", self.num_heads)
        sizes = (self.head_dim, self.d_model, self.num_heads)
        is_open = all(isinstance(size, int) for size in sizes) and self.head_dim == 0 < self.num_heads
        if is_open and self.d_model % self.num_heads == 0:
            object.__setattr__(self, "head_dim", self.d_model // self.num_heads)

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
        bounds.check(self, "config.model", "not be negative", *_MAY_BE_ZERO)
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
        if self.num_heads % self.num_kv_heads:
            raise UserError(
                f"config.model.num_heads = {self.num_heads} is not divisible by config.model.num_kv_heads = "
                f"{self.num_kv_heads}: each key/value head serves a whole number of query heads"
            )
        if self.positions == "rope" and self.head_dim % 2:
            raise UserError(f"config.model.positions = 'rope' needs an even head size, but it is {self.head_dim}")
        if self.rope_scaling == "llama3" and self.rope_low_freq_factor >= self.rope_high_freq_factor:
            raise UserError(
                f"config.model.rope_low_freq_factor = {self.rope_low_freq_factor} is not less than config.model."
                f"rope_high_freq_factor = {self.rope_high_freq_factor}: frequencies between them are blended"
            )


# The attention kernels of each implementation in pause_jax/model/ops.
ATTENTION_KERNELS: dict[str, tuple[str, ...]] = {
    "cpu": ("xla",),
    "tpu": ("xla", "splash"),
    "gpu": ("xla", "cudnn"),
    "reference": ("xla",),
}


@dataclasses.dataclass(frozen=True)
class Execution:
    """How a decoder is run: same numbers (to rounding), other speed and memory. "auto": what `BY_PLATFORM` says."""

    kernels: Literal["auto", "cpu", "tpu", "gpu", "reference"] = "auto"  # the file of pause_jax/model/ops to use
    # The kernel of whole rows: "splash" is for TPUs, "cudnn" for GPUs. Where keys and values come from a cache
    # (inference) it is always "xla": splash compiles its mask, and a cache is filled to another place at each call.
    attention: Literal["auto", "xla", "splash", "cudnn"] = "auto"
    scan_layers: Literal["auto", "on", "off"] = "auto"  # "on": one compiled layer looped over; "off": unrolled
    # What the backward pass recomputes: nothing, all but the outputs of dense layers, all.
    remat: Literal["auto", "none", "dots", "full"] = "auto"

    def validate(self) -> None:
        """Raises UserError for an attention kernel that `kernels` does not have."""
        if self.kernels != "auto" and self.attention not in ("auto", *ATTENTION_KERNELS[self.kernels]):
            raise UserError(
                f"config.run.execution.attention = {self.attention!r} is no kernel of config.run.execution.kernels = "
                f"{self.kernels!r}, which has {', '.join(map(repr, ATTENTION_KERNELS[self.kernels]))}"
            )


# What "auto" is on each platform (of JAX's names): CPUs compile one layer after the other into quicker programs,
# accelerators have memory to save. Unrolled layers and kept activations take longer to compile and more of it.
BY_PLATFORM = {
    "cpu": Execution("cpu", "xla", "off", "none"),
    "tpu": Execution("tpu", "splash", "on", "dots"),
    "gpu": Execution("gpu", "xla", "on", "dots"),
}
ELSEWHERE = Execution("reference", "xla", "on", "dots")


def resolve(execution: Execution, platform: str) -> Execution:
    """`execution` with each "auto" replaced by what it is on `platform`, such as "cpu"; the rest stays.

    >>> resolve(Execution(remat="full"), "gpu")
    Execution(kernels='gpu', attention='xla', scan_layers='on', remat='full')
    """
    defaults = BY_PLATFORM.get(platform, ELSEWHERE)
    found = {
        field.name: getattr(defaults, field.name)
        for field in dataclasses.fields(execution)
        if getattr(execution, field.name) == "auto"
    }
    kernels = found.get("kernels", execution.kernels)
    if found.get("attention", "xla") not in ATTENTION_KERNELS[kernels]:
        found["attention"] = "xla"
    return dataclasses.replace(execution, **found)

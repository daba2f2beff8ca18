"""Hugging Face GPT-2, Llama, Qwen 2 and Qwen 3: their config and weights as ours.

    config = model_config(json.loads(Path("config.json").read_text()))
    params = params(weights, config)  # weights: names to NumPy arrays, as in the safetensors files

Only NumPy comes in, so neither torch nor transformers is needed. What the decoder does not have (sliding windows,
yarn, ...) is a UserError, never left out in silence; dropout is, as the decoder has none. A pause model takes
`params | {"pause": decoder.new_pauses(config, n_pauses, seed)}`.

Letters: D width, H query heads, K key/value heads, E head size.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Literal

import numpy as np

from pause_jax import trees
from pause_jax.errors import UserError
from pause_jax.model import decoder
from pause_jax.model.config import ModelConfig

# Our path: their name, without the "transformer." or "model." that whole language models put before it.
# "{}" is the layer. The kernels of q, k and v are thirds of GPT-2's c_attn.
_GPT2_NAMES = {
    "token/embedding": "wte.weight",
    "positions/embedding": "wpe.weight",
    "layers/attention_norm/scale": "h.{}.ln_1.weight",
    "layers/attention_norm/bias": "h.{}.ln_1.bias",
    "layers/attention/q/kernel": "h.{}.attn.c_attn.weight",
    "layers/attention/q/bias": "h.{}.attn.c_attn.bias",
    "layers/attention/k/kernel": "h.{}.attn.c_attn.weight",
    "layers/attention/k/bias": "h.{}.attn.c_attn.bias",
    "layers/attention/v/kernel": "h.{}.attn.c_attn.weight",
    "layers/attention/v/bias": "h.{}.attn.c_attn.bias",
    "layers/attention/out/kernel": "h.{}.attn.c_proj.weight",
    "layers/attention/out/bias": "h.{}.attn.c_proj.bias",
    "layers/mlp_norm/scale": "h.{}.ln_2.weight",
    "layers/mlp_norm/bias": "h.{}.ln_2.bias",
    "layers/mlp/up/kernel": "h.{}.mlp.c_fc.weight",
    "layers/mlp/up/bias": "h.{}.mlp.c_fc.bias",
    "layers/mlp/down/kernel": "h.{}.mlp.c_proj.weight",
    "layers/mlp/down/bias": "h.{}.mlp.c_proj.bias",
    "final_norm/scale": "ln_f.weight",
    "final_norm/bias": "ln_f.bias",
    "head/embedding": "lm_head.weight",
}
_LLAMA_NAMES = {
    "token/embedding": "embed_tokens.weight",
    "layers/attention_norm/scale": "layers.{}.input_layernorm.weight",
    "layers/attention/q/kernel": "layers.{}.self_attn.q_proj.weight",
    "layers/attention/q/bias": "layers.{}.self_attn.q_proj.bias",
    "layers/attention/k/kernel": "layers.{}.self_attn.k_proj.weight",
    "layers/attention/k/bias": "layers.{}.self_attn.k_proj.bias",
    "layers/attention/v/kernel": "layers.{}.self_attn.v_proj.weight",
    "layers/attention/v/bias": "layers.{}.self_attn.v_proj.bias",
    "layers/attention/out/kernel": "layers.{}.self_attn.o_proj.weight",
    "layers/attention/out/bias": "layers.{}.self_attn.o_proj.bias",
    "layers/attention/q_norm/scale": "layers.{}.self_attn.q_norm.weight",
    "layers/attention/k_norm/scale": "layers.{}.self_attn.k_norm.weight",
    "layers/mlp_norm/scale": "layers.{}.post_attention_layernorm.weight",
    "layers/mlp/gate/kernel": "layers.{}.mlp.gate_proj.weight",
    "layers/mlp/gate/bias": "layers.{}.mlp.gate_proj.bias",
    "layers/mlp/up/kernel": "layers.{}.mlp.up_proj.weight",
    "layers/mlp/up/bias": "layers.{}.mlp.up_proj.bias",
    "layers/mlp/down/kernel": "layers.{}.mlp.down_proj.weight",
    "layers/mlp/down/bias": "layers.{}.mlp.down_proj.bias",
    "final_norm/scale": "norm.weight",
    "head/embedding": "lm_head.weight",
}
_BUFFERS = (".attn.bias", ".attn.masked_bias", ".rotary_emb.inv_freq")  # in older files; not weights
_GPT2_MLPS = {"gelu": "gelu", "gelu_new": "gelu_tanh", "gelu_pytorch_tanh": "gelu_tanh", "relu": "relu"}
_LLAMA_MLPS = {"silu": "swiglu", "swish": "swiglu"}


def model_config(hf_config: Mapping[str, Any]) -> ModelConfig:
    """The ModelConfig of a Hugging Face `config.json`, in float32. A field left out has its model_type's default.

    Raises:
      UserError: a field is missing, or says something that the decoder does not have; the field is named.
    """
    families: dict[str, Callable[[Mapping[str, Any]], ModelConfig]] = {
        "gpt2": _gpt2, "llama": _llama_like, "qwen2": _llama_like, "qwen3": _llama_like
    }  # fmt: skip
    model_type = _choice(hf_config, "model_type", {name: name for name in families}, None)
    if hf_config.get("quantization_config"):
        raise UserError("Hugging Face config: quantization_config is set, but only unquantized weights can be read")
    config = families[model_type](hf_config)
    config.validate()
    return config


def params(weights: Mapping[str, np.ndarray], config: ModelConfig) -> dict[str, Any]:
    """`weights` as float32 arrays in the tree of `decoder.init(config, 0, seed)`, layers stacked.

    Args:
      weights: arrays of any float type by their Hugging Face names, with or without "transformer." or "model.".
      config: from `model_config`; learned positions mean GPT-2's names, rope those of Llama and Qwen.

    Raises:
      UserError: a weight is missing, has another shape than `config` says, or has no place; it is named.
    """
    names = _GPT2_NAMES if config.positions == "learned" else _LLAMA_NAMES
    found = {_bare(name): weight for name, weight in weights.items() if not name.endswith(_BUFFERS)}
    used: set[str] = set()
    flat: dict[str, np.ndarray] = {}
    for path, leaf in trees.flatten(decoder.abstract_params(config, 0)).items():
        if path not in names:
            raise UserError(f"the model has {path}, for which Hugging Face's model has no weight")
        if path.startswith("layers/"):
            by_layer = [names[path].format(layer) for layer in range(config.num_layers)]
            flat[path] = np.stack([_weight(found, name, path, leaf.shape[1:]) for name in by_layer])
            used.update(by_layer)
        else:
            flat[path] = _weight(found, names[path], path, leaf.shape)
            used.add(names[path])
    _check_leftovers(found, used, config.tie_embeddings, flat["token/embedding"])
    return trees.unflatten(flat)


def _gpt2(hf: Mapping[str, Any]) -> ModelConfig:
    _refuse(hf, scale_attn_weights=True, scale_attn_by_inverse_layer_idx=False, add_cross_attention=False)
    d_model = _required(hf, "n_embd")
    return ModelConfig(
        vocab_size=_required(hf, "vocab_size"),
        num_layers=_required(hf, "n_layer"),
        d_model=d_model,
        num_heads=_required(hf, "n_head"),
        d_ff=hf.get("n_inner") or 4 * d_model,
        mlp=_choice(hf, "activation_function", _GPT2_MLPS, "gelu_new"),
        norm_eps=hf.get("layer_norm_epsilon", 1e-5),
        max_positions=_required(hf, "n_positions"),
        tie_embeddings=hf.get("tie_word_embeddings", True),
        init_std=hf.get("initializer_range", 0.02),
    )


def _llama_like(hf: Mapping[str, Any]) -> ModelConfig:
    """Llama; Qwen 2 is Llama with biases on q, k and v alone; Qwen 3 with norms on each query's and key's head."""
    _check_window(hf)
    model_type = hf["model_type"]
    heads = _required(hf, "num_attention_heads")
    biases: Literal["none", "qkv", "all"] = "all" if hf.get("attention_bias", False) else "none"
    return ModelConfig(
        vocab_size=_required(hf, "vocab_size"),
        num_layers=_required(hf, "num_hidden_layers"),
        d_model=_required(hf, "hidden_size"),
        num_heads=heads,
        num_kv_heads=hf.get("num_key_value_heads") or heads,
        head_dim=hf.get("head_dim") or (128 if model_type == "qwen3" else 0),
        d_ff=_required(hf, "intermediate_size"),
        mlp=_choice(hf, "hidden_act", _LLAMA_MLPS, "silu"),
        mlp_bias=model_type == "llama" and hf.get("mlp_bias", False),
        attention_bias="qkv" if model_type == "qwen2" else biases,
        qk_norm=model_type == "qwen3",
        norm="rmsnorm",
        norm_bias=False,
        norm_eps=hf.get("rms_norm_eps", 1e-6),
        positions="rope",
        max_positions=_required(hf, "max_position_embeddings"),
        tie_embeddings=hf.get("tie_word_embeddings", False),
        init_std=hf.get("initializer_range", 0.02),
        **_rope(hf),
    )


def _rope(hf: Mapping[str, Any]) -> dict[str, Any]:
    """The rope fields, from `rope_parameters` (transformers 5) or `rope_theta` and `rope_scaling` (before)."""
    field = "rope_scaling" if hf.get("rope_scaling") else "rope_parameters"
    rope = hf.get(field) or {}
    kind = rope.get("rope_type") or rope.get("type") or "default"
    if kind not in ("default", "linear", "llama3"):
        raise UserError(f"Hugging Face config: {field}.rope_type is {kind!r}, but must be default, linear or llama3")
    if per_layer := [key for key, value in rope.items() if isinstance(value, Mapping)]:
        raise UserError(
            f"Hugging Face config: {field}.{per_layer[0]} is for some layers, but the decoder has one for all"
        )
    for place in (hf, rope):
        _refuse(place, partial_rotary_factor=1.0)
    fields: dict[str, Any] = {"rope_theta": float(rope.get("rope_theta") or hf.get("rope_theta") or 10_000.0)}
    if kind != "default":
        fields |= {"rope_scaling": kind, "rope_factor": float(_required(rope, "factor", field))}
    if kind == "llama3":
        length = hf.get("original_max_position_embeddings") or rope.get("original_max_position_embeddings")
        fields |= {
            "rope_low_freq_factor": float(_required(rope, "low_freq_factor", field)),
            "rope_high_freq_factor": float(_required(rope, "high_freq_factor", field)),
            "rope_original_max_positions": length or _required(hf, "max_position_embeddings"),
        }
    return fields


def _check_window(hf: Mapping[str, Any]) -> None:
    """Raises UserError where a layer's attention is a sliding window."""
    for kind in hf.get("layer_types") or ():
        if kind != "full_attention":
            raise UserError(f"Hugging Face config: layer_types has {kind!r}, but the decoder has only full_attention")
    from_layer = hf.get("max_window_layers", 28)
    is_on = hf.get("use_sliding_window", False) and hf.get("sliding_window", 4096) is not None
    if is_on and not hf.get("layer_types") and from_layer < _required(hf, "num_hidden_layers"):
        raise UserError(
            f"Hugging Face config: use_sliding_window is true for layers from max_window_layers = {from_layer} on, "
            "but the decoder has only full attention"
        )


def _required(fields: Mapping[str, Any], name: str, section: str = "") -> Any:
    if fields.get(name) is None:
        raise UserError(f"Hugging Face config: {section + '.' if section else ''}{name} is missing")
    return fields[name]


def _choice(fields: Mapping[str, Any], name: str, ours: Mapping[str, str], default: str | None) -> Any:
    value = fields.get(name, default)
    if value not in ours:
        raise UserError(f"Hugging Face config: {name} is {value!r}, but must be one of {', '.join(ours)}")
    return ours[value]


def _refuse(fields: Mapping[str, Any], **wanted: bool | float) -> None:
    """Raises UserError for a field that is given with another value than the one that the decoder has."""
    for name, value in wanted.items():
        if fields.get(name) not in (None, value):
            raise UserError(f"Hugging Face config: {name} is {fields[name]!r}, but the decoder has only {value!r}")


def _bare(name: str) -> str:
    return name.removeprefix("transformer.").removeprefix("model.")


def _weight(found: Mapping[str, np.ndarray], name: str, path: str, shape: tuple[int, ...]) -> np.ndarray:
    """One layer's array in our `shape` from the weight `name`."""
    if name not in found:
        raise UserError(f"the weight {name} is missing")
    is_fused, is_linear = "c_attn" in name, path.endswith("/kernel") and name.startswith("layers.")
    wanted = _file_shape(path, shape, is_fused=is_fused, is_linear=is_linear)
    weight = np.asarray(found[name])
    if weight.shape != wanted:
        raise UserError(f"the weight {name} has shape {weight.shape}, but the config says {wanted}")
    if is_linear:  # [out, in]; GPT-2's are [in, out], as ours
        weight = weight.T
    if is_fused:
        weight = np.split(weight, 3, axis=-1)["qkv".index(path.split("/")[2])]
    return weight.reshape(shape).astype(np.float32)


def _file_shape(path: str, shape: tuple[int, ...], *, is_fused: bool, is_linear: bool) -> tuple[int, ...]:
    """The shape in the file of what has `shape` with us: heads and head size [H, E] are one dimension there."""
    if path.endswith("/embedding"):
        return shape
    outputs = math.prod(shape)
    if not path.endswith("/kernel"):
        return (3 * outputs if is_fused else outputs,)
    inputs = math.prod(shape[:-1]) if path.endswith(("out/kernel", "down/kernel")) else shape[0]
    outputs = outputs // inputs * (3 if is_fused else 1)
    return (outputs, inputs) if is_linear else (inputs, outputs)


def _check_leftovers(found: Mapping[str, np.ndarray], used: set[str], is_tied: bool, token_VxD: np.ndarray) -> None:
    """Raises UserError for a weight that was not used; a tied head may be in the file too, if it is the embedding."""
    for name in sorted(set(found) - used):
        if name != "lm_head.weight" or not is_tied:
            raise UserError(f"the weight {name} has no place in a model of this config")
        if not np.array_equal(np.asarray(found[name]).astype(np.float32), token_VxD):
            raise UserError("the weight lm_head.weight differs from the token embedding, but the config ties them")

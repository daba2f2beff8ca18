"""Hugging Face's config.json of GPT-2, Llama, Mistral, Qwen 2 and Qwen 3 as our ModelConfig, and back.

What the decoder does not have (sliding windows, yarn, …) is a UserError, and so is an unknown field, which is never
ignored silently. Ignored are fields that say nothing (null, false, 0, empty), and those that by their names are about
training, generation, tokens, number types, where the model comes from or how transformers runs it; dropout too, as the
decoder has none.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from pause_jax.config import checked
from pause_jax.config.model import ModelConfig
from pause_jax.errors import UserError, beginning

OURS = "pause_jax"  # our own field in a config.json: how many rows are text, and which are pauses

_GPT2_MLPS = {"gelu": "gelu", "gelu_new": "gelu_tanh", "gelu_pytorch_tanh": "gelu_tanh", "relu": "relu"}
_LLAMA_MLPS = {"silu": "swiglu", "swish": "swiglu"}
_GPT2_FIELDS = {
    "vocab_size",
    "n_layer",
    "n_head",
    "n_embd",
    "n_inner",
    "n_positions",
    "activation_function",
    "layer_norm_epsilon",
    "scale_attn_weights",
    "scale_attn_by_inverse_layer_idx",
    "add_cross_attention",
    "tie_word_embeddings",
    "initializer_range",
}
_LLAMA_FIELDS = {
    "vocab_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "hidden_size",
    "head_dim",
    "intermediate_size",
    "hidden_act",
    "attention_bias",
    "mlp_bias",
    "rms_norm_eps",
    "sliding_window",
    "use_sliding_window",
    "max_window_layers",
    "layer_types",
    "max_position_embeddings",
    "original_max_position_embeddings",
    "rope_theta",
    "rope_scaling",
    "rope_parameters",
    "partial_rotary_factor",
    "tie_word_embeddings",
    "initializer_range",
}
_GPT2_ALIASES = {  # other names that transformers accepts for a field
    "hidden_size": "n_embd",
    "num_hidden_layers": "n_layer",
    "num_attention_heads": "n_head",
    "max_position_embeddings": "n_positions",
}
_NO_MATTER = {  # fields that do not change the logits, and are not matched by `_KINDS_OF_NO_MATTER`
    "model_type",
    "architectures",
    "auto_map",
    "attn_implementation",
    "use_return_dict",
    "n_ctx",
    "n_special",
    "is_encoder_decoder",
    "is_decoder",
    "is_llama_config",
    "rope_interleaved",
    "pretraining_tp",
    "reorder_and_upcast_attn",
    "gradient_checkpointing",
    "num_labels",
    "problem_type",
    "finetuning_task",
    "task_specific_params",
    "prefix",
    "chunk_size_feed_forward",
    "torchscript",
    "pruned_heads",
    "seq_length",
    "max_sequence_length",
    "max_seq_len",
    "max_seq_length",
    "model_max_length",
    "is_composition",
    "language",
    "languages",
    "license",
    "tags",
    "datasets",
    "transformers.js_config",
    OURS,
    # generation
    "max_length",
    "min_length",
    "max_new_tokens",
    "min_new_tokens",
    "do_sample",
    "early_stopping",
    "num_beams",
    "num_beam_groups",
    "diversity_penalty",
    "temperature",
    "top_k",
    "top_p",
    "min_p",
    "typical_p",
    "repetition_penalty",
    "length_penalty",
    "no_repeat_ngram_size",
    "encoder_no_repeat_ngram_size",
    "bad_words_ids",
    "num_return_sequences",
    "remove_invalid_values",
    "exponential_decay_length_penalty",
    "tie_encoder_decoder",
    "keys_to_ignore_at_inference",
    "chat_template",
    "stop_strings",
    "padding_side",
    "truncation_side",
}
_KINDS_OF_NO_MATTER = re.compile(
    r"^_"  # private: notes of transformers on how it ran, and on what was loaded from where
    r"|(_token|_tokens|_token_ids?)$|^tokenizer_"
    r"|dropout|_p?drop$|loss|label|^summary_|^initializer_|_optimizer$|^trained_|^training_"
    r"|dtype|^use_bfloat16$|^use_cache$|^cache_implementation$|flash_attn|flash_attention"
    r"|^(output|return)_|_model_(tp|pp|ep)_plan$|^unsloth_|(^|_)version$|_name_or_path$"
)
_NEEDED = re.compile(r"causal|^(use_)?(rope|rotary|positional)")  # "false" would change what the decoder computes


def model_config(hf_config: Mapping[str, Any]) -> ModelConfig:
    """The ModelConfig of a Hugging Face `config.json`, in float32. A field left out has its model_type's default.

    Raises:
      UserError: a field is missing, says something that the decoder does not have, or is not known; it is named.
    """
    model_type = _choice(hf_config, "model_type", {name: name for name in FAMILIES}, None)
    family = FAMILIES[model_type]
    if hf_config.get("quantization_config"):
        raise UserError("Hugging Face config: quantization_config is set, but only unquantized weights can be read")
    hf_config = _without_aliases(hf_config, family.aliases)
    known = {*family.fields, "is_causal"}
    _refuse(hf_config, is_causal=True)
    if unknown := sorted(name for name, value in hf_config.items() if name not in known and _may_matter(name, value)):
        raise UserError(
            f"Hugging Face config: {unknown[0]} = {hf_config[unknown[0]]!r} is no field that is known here of a "
            f"{model_type}, and it might change what the model computes: take it out if it does not"
        )
    if pauses_of(hf_config):
        hf_config = {**hf_config, "vocab_size": hf_config[OURS]["vocab_size"]}
    try:
        config: ModelConfig = checked(family.read(hf_config), "as config.model")
        config.validate()
    except UserError:
        raise
    except (TypeError, ValueError, AttributeError, ArithmeticError) as error:
        raise UserError(
            f"Hugging Face config: a field has a value of another type than it should ({beginning(error)})"
        ) from None
    return config


def _may_matter(name: str, value: Any) -> bool:
    """Whether a field that is not read here may change what the model computes."""
    if name in _NO_MATTER or _KINDS_OF_NO_MATTER.search(name) or value is None:
        return False
    return bool(value) or (_NEEDED.search(name) is not None and not isinstance(value, (str, list, dict)))


def _without_aliases(hf: Mapping[str, Any], aliases: Mapping[str, str]) -> Mapping[str, Any]:
    """`hf` with each alias replaced by its field's name. Raises UserError where both are given and differ."""
    for alias, name in aliases.items():
        if alias in hf:
            if hf.get(name, hf[alias]) != hf[alias]:
                raise UserError(
                    f"Hugging Face config: {alias} = {hf[alias]!r}, but {name} = {hf[name]!r}: which is it?"
                )
            hf = {**{k: v for k, v in hf.items() if k != alias}, name: hf[alias]}
    return hf


def hf_config(config: ModelConfig, pause_ids: Sequence[int] = ()) -> dict[str, Any]:
    """The `config.json` of a model, from which `model_config` makes `config` again, but for what only training needs.

    Args:
      pause_ids: rows of the embedding that the pauses get; the table grows where they are beyond it.

    Raises:
      UserError: no Hugging Face family has such a model; the field that stands in the way is named.
    """
    hf = _to_gpt2(config) if config.positions == "learned" else _to_llama_like(config)
    found, wanted = dataclasses.asdict(model_config(hf)), dataclasses.asdict(_canonical(config))
    if differing := [name for name in wanted if found[name] != wanted[name]]:
        name = differing[0]
        raise UserError(
            f"config.model.{name} = {getattr(config, name)!r} cannot be exported: of Hugging Face's families "
            f"{hf['model_type']} is nearest, and there it is {found[name]!r}"
        )
    if pause_ids:
        hf["vocab_size"] = max(config.vocab_size, *(i + 1 for i in pause_ids))
        hf[OURS] = {"vocab_size": config.vocab_size, "pause_token_ids": list(pause_ids)}
    return hf


def pauses_of(hf: Mapping[str, Any]) -> list[int]:
    """The rows of the embedding that are pauses, in a `config.json` of `hf_config`; none in others.

    Raises:
      UserError: our field in it is not as `hf_config` writes it.
    """
    ours = hf.get(OURS)
    if ours is None:
        return []
    rows, ids = (ours.get(name) if isinstance(ours, Mapping) else None for name in ("vocab_size", "pause_token_ids"))
    if (
        not isinstance(rows, int)
        or not isinstance(ids, list)
        or not ids
        or not all(isinstance(i, int) and 0 <= i < _required(hf, "vocab_size") for i in ids)
    ):
        raise UserError(f"Hugging Face config: {OURS} = {ours!r} does not say which rows are pauses: export it again")
    return ids


def _canonical(config: ModelConfig) -> ModelConfig:
    """`config` with defaults for what does not change a trained model's logits in float32."""
    plain = ModelConfig()
    unused: dict[str, Any] = {"init_std": config.init_std, "kernel_init": plain.kernel_init, "dtype": plain.dtype}
    unused |= {"num_pause_tokens": 0}  # pauses are rows of the embedding there
    if config.positions == "learned":
        unused |= {name: getattr(plain, name) for name in ("rope_theta", "rope_scaling")}
    if config.norm == "rmsnorm":
        unused |= {"norm_bias": False}
    if config.positions == "learned" or config.rope_scaling == "none":
        unused |= {"rope_factor": plain.rope_factor}
    if config.positions == "learned" or config.rope_scaling != "llama3":
        unused |= {
            name: getattr(plain, name)
            for name in ("rope_low_freq_factor", "rope_high_freq_factor", "rope_original_max_positions")
        }
    return dataclasses.replace(config, **unused)


def _to_gpt2(config: ModelConfig) -> dict[str, Any]:
    return {
        "model_type": "gpt2",
        "architectures": ["GPT2LMHeadModel"],
        "vocab_size": config.vocab_size,
        "n_layer": config.num_layers,
        "n_embd": config.d_model,
        "n_head": config.num_heads,
        "n_inner": config.d_ff,
        "n_positions": config.max_positions,
        "activation_function": _name_of(config.mlp, _GPT2_MLPS, "gelu"),
        "layer_norm_epsilon": config.norm_eps,
        "tie_word_embeddings": config.tie_embeddings,
        "initializer_range": config.init_std,
        "resid_pdrop": 0.0,
        "embd_pdrop": 0.0,
        "attn_pdrop": 0.0,
    }


def _to_llama_like(config: ModelConfig) -> dict[str, Any]:
    model_type = "qwen3" if config.qk_norm else "qwen2" if config.attention_bias == "qkv" else "llama"
    hf: dict[str, Any] = {
        "model_type": model_type,
        "architectures": [f"{model_type.capitalize()}ForCausalLM"],
        "vocab_size": config.vocab_size,
        "num_hidden_layers": config.num_layers,
        "hidden_size": config.d_model,
        "num_attention_heads": config.num_heads,
        "num_key_value_heads": config.num_kv_heads,
        "head_dim": config.head_dim,
        "intermediate_size": config.d_ff,
        "hidden_act": _name_of(config.mlp, _LLAMA_MLPS, "silu"),
        "rms_norm_eps": config.norm_eps,
        "max_position_embeddings": config.max_positions,
        "tie_word_embeddings": config.tie_embeddings,
        "initializer_range": config.init_std,
        "rope_theta": config.rope_theta,
        "attention_dropout": 0.0,
    }
    if model_type != "qwen2":
        hf["attention_bias"] = config.attention_bias == "all"
    if model_type == "llama":
        hf["mlp_bias"] = config.mlp_bias
    if config.rope_scaling != "none":
        hf["rope_scaling"] = {"rope_type": config.rope_scaling, "factor": config.rope_factor}
    if config.rope_scaling == "llama3":
        hf["rope_scaling"] |= {
            "low_freq_factor": config.rope_low_freq_factor,
            "high_freq_factor": config.rope_high_freq_factor,
            "original_max_position_embeddings": config.rope_original_max_positions,
        }
    return hf


def _name_of(ours: str, theirs: Mapping[str, str], default: str) -> str:
    """Hugging Face's name of our MLP; the default where it has none, which `hf_config` then reports as a difference."""
    return next((name for name, mlp in theirs.items() if mlp == ours), default)


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
    """Llama; Qwen 2 is Llama with biases on q, k and v alone; Qwen 3 is Llama with norms on query and key heads."""
    _check_window(hf)
    model_type = hf["model_type"]
    heads = _required(hf, "num_attention_heads")
    has_biases = model_type in ("llama", "qwen3") and hf.get("attention_bias", False)
    biases: Literal["none", "qkv", "all"] = "all" if has_biases else "none"
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
    if hf["model_type"] == "mistral":  # whose default is a window
        if hf.get("sliding_window", 4096) is not None:
            raise UserError(
                f"Hugging Face config: sliding_window is {hf.get('sliding_window', 4096)} in a mistral, but the "
                "decoder has only full attention: set it to null if no text is longer than that"
            )
        return
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
    if not isinstance(value, str) or value not in ours:
        raise UserError(f"Hugging Face config: {name} is {value!r}, but must be one of {', '.join(ours)}")
    return ours[value]


def _refuse(fields: Mapping[str, Any], **wanted: bool | float) -> None:
    """Raises UserError for a field that is given with another value than the one that the decoder has."""
    for name, value in wanted.items():
        if fields.get(name) not in (None, value):
            raise UserError(f"Hugging Face config: {name} is {fields[name]!r}, but the decoder has only {value!r}")


# --- Families


class Family(NamedTuple):
    """How the config.json of a model_type is read; weights.py has the names of its weights."""

    read: Callable[[Mapping[str, Any]], ModelConfig]
    fields: Collection[str]  # fields that `read` looks at; others are refused where they may matter
    aliases: Mapping[str, str] = {}


LLAMA = Family(_llama_like, _LLAMA_FIELDS)
FAMILIES: dict[str, Family] = {
    "gpt2": Family(_gpt2, _GPT2_FIELDS, _GPT2_ALIASES),
    "llama": LLAMA,
    "mistral": LLAMA,
    "qwen2": LLAMA,
    "qwen3": LLAMA,
}

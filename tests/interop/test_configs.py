"""config.json as it is published and as versions of transformers write it: what changes nothing is no obstacle."""

from __future__ import annotations

import importlib
import inspect
import re

import pytest

from pause_jax.errors import UserError
from pause_jax.interop import configs
from pause_jax.interop.configs import model_config

_NOISE = {"transformers_version": "4.46.0", "use_cache": True, "torch_dtype": "bfloat16", "initializer_range": 0.02}
_LLAMA = _NOISE | {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "attention_bias": False,
    "attention_dropout": 0.0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "hidden_act": "silu",
    "hidden_size": 2048,
    "intermediate_size": 5632,
    "max_position_embeddings": 2048,
    "num_attention_heads": 32,
    "num_hidden_layers": 22,
    "num_key_value_heads": 4,
    "pretraining_tp": 1,
    "rms_norm_eps": 1e-05,
    "rope_scaling": None,
    "rope_theta": 10000.0,
    "tie_word_embeddings": False,
    "vocab_size": 32000,
}
_GPT2 = {
    "activation_function": "gelu_new",
    "architectures": ["GPT2LMHeadModel"],
    "attn_pdrop": 0.1,
    "bos_token_id": 50256,
    "embd_pdrop": 0.1,
    "eos_token_id": 50256,
    "initializer_range": 0.02,
    "layer_norm_epsilon": 1e-05,
    "model_type": "gpt2",
    "n_ctx": 1024,
    "n_embd": 768,
    "n_head": 12,
    "n_layer": 12,
    "n_positions": 1024,
    "resid_pdrop": 0.1,
    "summary_activation": None,
    "summary_first_dropout": 0.1,
    "summary_proj_to_labels": True,
    "summary_type": "cls_index",
    "summary_use_proj": True,
    "vocab_size": 50257,
    "task_specific_params": {"text-generation": {"do_sample": True, "max_length": 50}},
}
_QWEN = _LLAMA | {
    "architectures": ["Qwen2ForCausalLM"],
    "model_type": "qwen2",
    "hidden_size": 896,
    "num_attention_heads": 14,
    "num_key_value_heads": 2,
    "rms_norm_eps": 1e-06,
    "rope_theta": 1e6,
    "sliding_window": 32768,
    "max_window_layers": 24,
    "use_sliding_window": False,
    "use_mrope": False,
    "vocab_size": 151936,
    "tie_word_embeddings": True,
}
PUBLISHED = {
    "gpt2": _GPT2,
    "gpt2-medium": _GPT2 | {"n_special": 0, "predict_special_tokens": True, "n_embd": 1024, "n_head": 16},
    "gpt2-xl": _GPT2 | {"output_past": True, "n_embd": 1600, "n_head": 25, "n_layer": 48},
    "distilgpt2": _GPT2 | {"_num_labels": 1, "id2label": {"0": "LABEL_0"}, "label2id": {"LABEL_0": 0}, "n_layer": 6},
    "llama-1": {
        **{k: v for k, v in _LLAMA.items() if k not in ("rope_theta", "num_key_value_heads")},
        "max_sequence_length": 2048,
        "pad_token_id": 0,
    },
    "llama-2": _LLAMA | {"_name_or_path": "meta-llama/Llama-2-7b-hf"},
    "llama-3.2": _LLAMA
    | {
        "eos_token_id": [128001, 128008, 128009],
        "head_dim": 64,
        "mlp_bias": False,
        "tie_word_embeddings": True,
        "rope_scaling": {
            "factor": 32.0,
            "high_freq_factor": 4.0,
            "low_freq_factor": 1.0,
            "rope_type": "llama3",
            "original_max_position_embeddings": 8192,
        },
    },
    "mistral-0.3": _LLAMA | {"model_type": "mistral", "sliding_window": None, "architectures": ["MistralForCausalLM"]},
    "qwen2.5": _QWEN,
    "qwen3": _QWEN | {"model_type": "qwen3", "head_dim": 128, "architectures": ["Qwen3ForCausalLM"]},
    "smollm2": _LLAMA
    | {
        "is_llama_config": True,
        "rope_interleaved": False,
        "pad_token_id": 2,
        "transformers.js_config": {"kv_cache_dtype": {"q4f16": "float16"}},
    },
    "saved by 4.46": _LLAMA | {"_attn_implementation_autoset": True, "_name_or_path": "/home/x/model"},
    "saved by 5": {
        **{k: v for k, v in _QWEN.items() if k not in ("torch_dtype", "rope_theta", "rope_scaling")},
        "dtype": "bfloat16",
        "layer_types": ["full_attention"] * 22,
        "pad_token_id": None,
        "rope_parameters": {"rope_theta": 1e6, "rope_type": "default"},
    },
    "unsloth": _LLAMA | {"unsloth_fixed": True, "unsloth_version": "2024.9", "model_max_length": 2048},
    "other notes": _LLAMA
    | {
        "loss_type": "ForCausalLM",
        "z_loss_coef": 1e-4,
        "quantization_config": None,
        "chat_template": "{{x}}",
        "tokenizer_class": "LlamaTokenizer",
        "hidden_dropout_prob": 0.1,
        "logit_softcap": None,
        "use_qk_norm": False,
        "num_experts": 0,
        "is_causal": True,
        "use_flash_attention_2": True,
        "license": "mit",
        "image_token_id": 7,
    },
    "other names": {**{k: v for k, v in _GPT2.items() if k != "n_embd"}, "hidden_size": 768},
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_configs_are_read(name):
    hf = PUBLISHED[name]
    model = model_config(hf)
    assert model.vocab_size == hf["vocab_size"] and model.d_model == hf.get("n_embd", hf.get("hidden_size"))


@pytest.mark.parametrize(
    "field, value",
    [
        ("logit_scale", 0.0625),
        ("final_logit_softcapping", 30.0),
        ("query_pre_attn_scalar", 256),
        ("embedding_multiplier", 12.0),
        ("residual_multiplier", 0.22),
        ("logits_scaling", 8.0),
        ("num_experts", 8),
        ("num_local_experts", 8),
        ("sliding_window_pattern", 6),
        ("attention_chunk_size", 8192),
        ("clip_qkv", 8.0),
        ("use_qk_norm", True),
        ("no_rope_layers", [1, 0]),
        ("use_mrope", True),
        ("is_causal", False),
        ("use_rope", False),
        ("parallel_attn", True),
        ("alibi", True),
        ("partial_rotary_factor", 0.5),
        ("use_parallel_residual", True),
        ("rope_local_base_freq", 10000.0),
        ("scale_embeddings", True),
    ],
)
def test_what_could_change_the_logits_is_refused_by_name(field, value):
    with pytest.raises(UserError, match=field):
        model_config(_LLAMA | {field: value})


@pytest.mark.parametrize(
    "field, value",
    [
        ("vocab_size", "32000"),
        ("rms_norm_eps", "1e-5"),
        ("rope_scaling", "linear"),
        ("layer_types", 5),
        ("hidden_act", ["silu"]),
        ("model_type", ["llama"]),
        ("num_attention_heads", 0),
        ("hidden_size", True),
        ("tie_word_embeddings", "yes"),
        ("rope_theta", "x"),
        ("num_hidden_layers", None),
        ("rope_parameters", [1]),
        ("max_position_embeddings", 2048.5),
        ("vocab_size", -1),
    ],
)
def test_values_that_cannot_be_are_one_sentence(field, value):
    with pytest.raises(UserError):
        model_config(_LLAMA | {field: value})


def test_two_names_of_one_field_must_agree():
    with pytest.raises(UserError, match="hidden_size = 767, but n_embd = 768"):
        model_config(_GPT2 | {"hidden_size": 767})


@pytest.mark.parametrize("family", ["gpt2", "llama", "mistral", "qwen2", "qwen3"])
def test_nothing_that_transformers_own_network_reads_is_left_out(family):
    """Of the fields that the source of its network names, those that are left out are known to change nothing."""
    pytest.importorskip("torch")
    module = importlib.import_module(f"transformers.models.{family}.modeling_{family}")
    read = set(re.findall(r"config\.(\w+)", inspect.getsource(module)))
    assert "vocab_size" in read
    known = {*configs.FAMILIES[family].fields, *configs.FAMILIES[family].aliases}
    left_out = {name for name in read - known if not configs._may_matter(name, 7)}
    harmless = {
        "attention_dropout",
        "attn_pdrop",
        "embd_pdrop",
        "resid_pdrop",
        "hidden_dropout",
        "classifier_dropout",
        "use_cache",
        "pad_token_id",
        "num_labels",
        "problem_type",
        "reorder_and_upcast_attn",
    }
    assert {name for name in left_out if not name.startswith(("_", "summary_"))} <= harmless

"""config.json of real models, scaled down."""

from __future__ import annotations

from tests.interop.runs import D, V

COMMON = {
    "vocab_size": V,
    "hidden_size": D,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    "rms_norm_eps": 1e-5,
    "bos_token_id": 1,
    "eos_token_id": 1,
}
MODELS = {
    "gpt2": {
        "model_type": "gpt2",
        "vocab_size": V,
        "n_embd": D,
        "n_layer": 2,
        "n_head": 4,
        "n_positions": 128,
        "activation_function": "gelu_new",
        "resid_pdrop": 0.1,
        "embd_pdrop": 0.1,
        "attn_pdrop": 0.1,
    },
    "llama2": COMMON | {"model_type": "llama", "num_key_value_heads": 4, "rope_theta": 10000.0},
    "llama3.2": COMMON
    | {
        "model_type": "llama",
        "tie_word_embeddings": True,
        "rope_theta": 500000.0,
        "head_dim": 8,
        "rope_scaling": {
            "rope_type": "llama3",
            "factor": 32.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 64,
        },
    },
    "mistral": COMMON | {"model_type": "mistral", "sliding_window": None, "rope_theta": 1000000.0},
    "qwen2.5": COMMON
    | {
        "model_type": "qwen2",
        "tie_word_embeddings": True,
        "rope_theta": 1000000.0,
        "use_sliding_window": False,
        "sliding_window": 64,
        "max_window_layers": 2,
    },
    "qwen3": COMMON | {"model_type": "qwen3", "head_dim": 16, "rope_theta": 1000000.0, "attention_bias": False},
    "smollm2": COMMON
    | {
        "model_type": "llama",
        "tie_word_embeddings": True,
        "num_attention_heads": 4,
        "num_key_value_heads": 1,
        "rope_interleaved": False,
        "pretraining_tp": 1,
    },
}

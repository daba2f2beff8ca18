"""A network of 190 MB, layers of 9 MB."""

from pause_jax.config.model import ModelConfig

MODEL = ModelConfig(
    vocab_size=259,
    num_layers=20,
    d_model=512,
    num_heads=8,
    d_ff=1024,
    mlp="swiglu",
    mlp_bias=False,
    attention_bias="none",
    norm="rmsnorm",
    norm_bias=False,
    positions="rope",
    tie_embeddings=False,
    max_positions=128,
)

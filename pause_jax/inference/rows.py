"""Helpers for batches of prompts: padding them to a size, and checking that a model has positions for them."""

from __future__ import annotations

from collections.abc import Sequence

from pause_jax.config.model import ModelConfig
from pause_jax.errors import UserError


def pad_batch[Row](rows: Sequence[Row], size: int) -> list[Row]:
    """`rows` padded to `size` with copies of the first, so that an incomplete batch needs no compilation of its own."""
    return [*rows, *[rows[0]] * (size - len(rows))]


def check_positions(
    prompt_length: int, num_pauses: int, max_new_tokens: int, config: ModelConfig, prompt: str = "a prompt"
) -> None:
    """Raises UserError where the answer runs out of learned positions; rotary ones have no end.

    All but the last new token are read back, so a row needs prompt + pauses + new tokens - 1 positions. Padding
    needs none.

    Args:
      prompt: what the message calls it.
    """
    needed = prompt_length + num_pauses + max_new_tokens - 1
    if config.positions == "learned" and needed > config.max_positions:
        raise UserError(
            f"{prompt} of {prompt_length} tokens, {num_pauses} pauses and {max_new_tokens} new tokens need {needed} "
            f"positions, but the model has learned {config.max_positions} (config.model.max_positions): shorten the "
            "prompt, or ask for fewer pauses or new tokens"
        )

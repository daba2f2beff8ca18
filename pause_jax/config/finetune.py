"""Prompt, pauses and target: `config.finetune`."""

from __future__ import annotations

import dataclasses

import numpy as np

from pause_jax.config import bounds
from pause_jax.errors import UserError
from pause_jax.pauses import downstream


@dataclasses.dataclass(frozen=True)
class FinetuneConfig:
    """Prefix, pauses, target, and the loss on the target alone (paper section 3.1). Only where `task` is given."""

    task: str = ""  # a downstream task, such as "count_parity_24" (pause_jax/tasks); "": this run pretrains
    m_ft: tuple[int, ...] = (0,)  # pauses a prompt; of several numbers, one is drawn for each example
    placement: downstream.Placement = "append"  # "filler": an ordinary token in the pauses' place
    filler: str = "."  # whose last token is the filler
    attention: downstream.PrefixAttention = "prefix_and_pauses"  # over prompt and pauses; the target is always causal
    # Which positions are told intermediate results in training, as targets of their own, where the task has some (not
    # the paper's): the pauses but the last, from the first on, or the prompt's tokens up to the last but one.
    hints: downstream.Hints = "none"
    max_prompt_length: int = 128  # positions for the prompt, pauses not counted; a longer prompt loses its beginning
    target_length: int = 32  # positions for the target and its EOS; a longer target loses its end

    def validate(self) -> None:
        bounds.check(self, "config.finetune", "be at least 1", "max_prompt_length", "target_length")
        if not self.m_ft or min(self.m_ft) < 0:
            raise UserError(f"config.finetune.m_ft is {self.m_ft}, but must be numbers of pauses, 0 or more each")
        if self.m_ft != (0,) and not self.task:
            raise UserError(f"config.finetune.m_ft = {self.m_ft} appends pauses, but config.finetune.task is empty")
        if self.hints != "none" and not self.task:
            raise UserError(f"config.finetune.hints = {self.hints!r} wants hints, but config.finetune.task is empty")
        if self.hints == "pauses" and (self.placement == "prepend" or max(self.m_ft) < 2):
            raise UserError(
                f"config.finetune.hints = 'pauses' gives hints to all pauses after the prompt but the last, and there "
                f"are none: config.finetune.m_ft is {self.m_ft}, placement {self.placement!r}"
            )

    @property
    def context_length(self) -> int:
        """Positions of prompt and pauses."""
        return self.max_prompt_length + max(self.m_ft)

    def prefix_lm_length[Number: (int, np.ndarray)](self, num_pauses: Number) -> Number:
        """How many positions at the start of a row with `num_pauses` pauses see each other both ways; arrays too."""
        after_prompt = num_pauses * (self.placement != "prepend")
        return downstream.prefix_lm_length(self.attention, self.context_length - after_prompt, after_prompt)

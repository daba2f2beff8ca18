"""The rows that a run reads before it answers, prompts with pauses, and the kind of each position. NumPy only.

Letters: B rows, C positions of context (left padding, prompt and pauses), M pauses, L = M + 1 positions looked at.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from pause_jax.config import Config
from pause_jax.pauses import downstream


@dataclasses.dataclass(frozen=True)
class MarkedRows:
    """Rows that end where the answer begins: the output at the last position is the first answer token."""

    ids_BxC: np.ndarray  # int32; padding has id, position and segment 0
    positions_BxC: np.ndarray
    segments_BxC: np.ndarray
    is_pause_BxC: np.ndarray  # bool; filler tokens in the pauses' place count
    prefix_lm_length: int  # how many positions at the row's start see each other both ways

    @property
    def is_prompt_BxC(self) -> np.ndarray:
        """The prompt's own tokens: neither pause nor padding."""
        return (self.segments_BxC > 0) & ~self.is_pause_BxC

    @property
    def pauses_BxM(self) -> np.ndarray:
        """Indices of each row's pauses, int32."""
        return _indices(self.is_pause_BxC)

    @property
    def looked_at_BxL(self) -> np.ndarray:
        """Indices of each row's pauses and of its last prompt token, in the order in which they are read."""
        last_prompt_B = np.max(np.where(self.is_prompt_BxC, np.arange(self.ids_BxC.shape[1])[None], 0), axis=1)
        return _indices(self.is_pause_BxC | (np.arange(self.ids_BxC.shape[1])[None] == last_prompt_B[:, None]))

    def rows(self, part: Sequence[int]) -> MarkedRows:
        """The rows with these numbers."""
        i = list(part)
        return MarkedRows(
            self.ids_BxC[i], self.positions_BxC[i], self.segments_BxC[i], self.is_pause_BxC[i], self.prefix_lm_length
        )


def _indices(chosen_BxC: np.ndarray) -> np.ndarray:
    """Indices of the chosen positions, equally many in each row."""
    return np.nonzero(chosen_BxC)[1].reshape(len(chosen_BxC), -1).astype(np.int32)


def marked_rows(config: Config, prompts: Sequence[Sequence[int]], m_inf: int, *, filler: int = 0) -> MarkedRows:
    """The prompts, right-aligned, with `m_inf` pauses each, placed as the run was trained.

    Prompts longer than `config.finetune.max_prompt_length` lose their beginning, as in evaluation.

    Args:
      filler: id of the token in the pauses' place, used with placement "filler" alone.

    Raises:
      UserError: as `downstream.context_rows`.
    """
    finetune, model = config.finetune, config.model
    is_filler = finetune.placement == "filler"
    tokens = downstream.PauseTokens(model.vocab_size, model.num_pause_tokens, filler if is_filler else None)
    at_most = finetune.max_prompt_length if finetune.task else None
    own = [list(prompt)[-at_most:] if at_most else list(prompt) for prompt in prompts]
    after = m_inf
    if finetune.placement == "prepend":
        before = tokens.ids(m_inf).tolist()
        own, after = [[*before, *prompt] for prompt in own], 0
    rows = downstream.context_rows(own, after, tokens=tokens)
    if finetune.placement == "prepend":
        is_pause_BxC = (rows.segments_BxC > 0) & (rows.positions_BxC < m_inf)
    else:
        is_pause_BxC = np.broadcast_to(np.arange(rows.ids_BxC.shape[1]) >= rows.prompt_length, rows.ids_BxC.shape)
    attention = finetune.attention if finetune.task else "causal"
    prefix_lm_length = downstream.prefix_lm_length(attention, rows.prompt_length, after)
    return MarkedRows(rows.ids_BxC, rows.positions_BxC, rows.segments_BxC, is_pause_BxC, prefix_lm_length)


def position_names(placement: downstream.Placement, m_inf: int) -> list[str]:
    """Names of `MarkedRows.looked_at_BxL`, in order.

    >>> position_names("append", 2), position_names("prepend", 2)
    (['prompt', 'pause 1', 'pause 2'], ['pause 1', 'pause 2', 'prompt'])
    """
    numbered = [f"pause {k}" for k in range(1, m_inf + 1)]
    return [*numbered, "prompt"] if placement == "prepend" else ["prompt", *numbered]

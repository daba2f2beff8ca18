"""Pauses in pretraining: `config.pauses`."""

from __future__ import annotations

import dataclasses
from typing import Literal

from pause_jax.config import bounds
from pause_jax.errors import UserError
from pause_jax.pauses import policies


@dataclasses.dataclass(frozen=True)
class PauseConfig:
    """Pauses in pretraining (paper section 3.1). How many distinct ones there are is `ModelConfig.num_pause_tokens`."""

    rate: float = 0.0  # pauses per text token inserted into a pretraining block: 0.1 in the paper
    max_rate: float = 0.0  # if given, each block draws its number of pauses between those of `rate` and this one
    mode: Literal["trim", "exact"] = "trim"  # "trim" (paper): insert, then cut back to length; "exact": lose no text
    policy: str = "uniform"  # where they go, by its name in pause_jax/pauses/policies.py; "uniform" in the paper
    boundary: policies.Boundary = "word"  # policy "boundary": what pauses come before the start of
    burst: int = 0  # policy "burst": pauses in a run
    # Vectors of pauses that the model of `init_from` lacks: noise, or noise around the mean of its token embeddings, or
    # around the embedding of `init_token`.
    init: Literal["noise", "mean", "token"] = "noise"
    init_token: str = ""  # "token" only: a text; its last token is the one whose embedding is taken

    def validate(self) -> None:
        bounds.check(self, "config.pauses", "be in [0, 1]", "rate", "max_rate")
        if (self.init == "token") != bool(self.init_token):
            raise UserError(
                f"config.pauses.init = {self.init!r} and config.pauses.init_token = {self.init_token!r} do not go "
                "together: a token is given with init = 'token', and only there"
            )
        self._validate_range()
        self._validate_policy()

    def _validate_range(self) -> None:
        if self.max_rate and self.max_rate <= self.rate:
            raise UserError(
                f"config.pauses.max_rate = {self.max_rate} is not more than config.pauses.rate = {self.rate}, the "
                "least that a block has: raise it, or leave it 0 for one rate"
            )
        if self.max_rate and self.mode == "exact":
            raise UserError(
                f"config.pauses.max_rate = {self.max_rate} draws each block's number of pauses, but with config.pauses."
                "mode = 'exact' all blocks take the same number of text tokens: use 'trim'"
            )

    def _validate_policy(self) -> None:
        if self.policy not in policies.POLICIES:
            raise UserError(
                f"config.pauses.policy is {self.policy!r}, but must be one of {', '.join(map(repr, policies.POLICIES))}"
            )
        if self.policy == "burst" and self.burst < 1:
            raise UserError(
                f"config.pauses.policy = 'burst' wants the length of its runs, but config.pauses.burst is "
                f"{self.burst}: set --config.pauses.burst=4, say"
            )
        if self.policy != "burst" and self.burst:
            raise UserError(
                f"config.pauses.burst = {self.burst} is the length of runs, but config.pauses.policy = {self.policy!r} "
                "has none: set --config.pauses.policy=burst"
            )
        if self.policy != "boundary" and self.boundary != "word":
            raise UserError(
                f"config.pauses.boundary = {self.boundary!r} is for boundaries, but config.pauses.policy = "
                f"{self.policy!r} knows none: set --config.pauses.policy=boundary"
            )

    @property
    def mean_rate(self) -> float:
        """Pauses per text token over all blocks, before `trim` cuts; 0 where none are inserted."""
        return (self.rate + self.max_rate) / 2 if self.max_rate else self.rate

    @property
    def label(self) -> str:
        """How pauses are placed, but not how many, in one word: the column `policy` of results.csv.

        "uniform_trim", "boundary_sentence_exact", "burst_4_trim", "fixed_trim"; of a range "uniform_trim_0.05_to_0.15".
        """
        kind = {"boundary": f"boundary_{self.boundary}", "burst": f"burst_{self.burst}"}.get(self.policy, self.policy)
        spread = f"_{self.rate:g}_to_{self.max_rate:g}" if self.max_rate else ""
        return f"{kind}_{self.mode}{spread}"

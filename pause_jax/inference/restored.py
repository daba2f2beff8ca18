"""A trained run, restored and ready to answer."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from pause_jax import checkpoints, tokenizer
from pause_jax.config import Config, MeshConfig
from pause_jax.distributed import mesh
from pause_jax.inference.generate import GREEDY, generate
from pause_jax.inference.rows import BUCKET
from pause_jax.inference.sampling import Sampling
from pause_jax.inference.score import score
from pause_jax.pauses import PrefixAttention
from pause_jax.runs import RunFolder


@dataclasses.dataclass(frozen=True)
class RestoredRun:
    """Parameters of one checkpoint, and the config that they were trained with."""

    folder: RunFolder
    step: int
    config: Config
    params: Any

    @classmethod
    def restore(cls, run_or_checkpoint: str) -> RestoredRun:
        """The newest checkpoint of a run's folder, or the one given as RUN/checkpoints/STEP.

        Raises:
          UserError: there is no run or checkpoint, it cannot be read, or the run's tokenizer has changed since.
        """
        folder, step = checkpoints.locate(run_or_checkpoint)
        config = folder.config()
        tokenizer.check_fingerprint(
            config.data.vocabulary, folder.manifest()["vocabulary"], f"the run in {folder.path}"
        )
        params = checkpoints.restore_params(folder.checkpoints, step, config, mesh.make_mesh(MeshConfig()))
        return cls(folder, step, config, params)

    @property
    def attention(self) -> PrefixAttention:
        """Over prompt and pauses, as the run was trained."""
        return self.config.finetune.attention if self.config.finetune.task else "causal"

    def generate(
        self,
        prompts: Sequence[Sequence[int]],
        *,
        m_inf: int,
        max_new_tokens: int,
        eos_id: int,
        sampling: Sampling = GREEDY,
        seed: int = 0,
        bucket: int = BUCKET,
        filler: int | None = None,
    ) -> list[list[int]]:
        """What the run writes after each prompt and `m_inf` pauses, as `inference.generate.generate` has it."""
        return generate(
            self.params,
            self.config.model,
            self.config.run.execution,
            self.config.pauses.n_pauses,
            prompts,
            m_inf=m_inf,
            attention=self.attention,
            max_new_tokens=max_new_tokens,
            eos_id=eos_id,
            sampling=sampling,
            seed=seed,
            bucket=bucket,
            filler=filler,
        )

    def score(
        self,
        prompts: Sequence[Sequence[int]],
        options: Sequence[Sequence[Sequence[int]]],
        *,
        m_inf: int,
        option_length: int,
        bucket: int = BUCKET,
        filler: int | None = None,
    ) -> list[list[float]]:
        """log p of each option after its prompt and `m_inf` pauses, as `inference.score.score` has it."""
        return score(
            self.params,
            self.config.model,
            self.config.run.execution,
            self.config.pauses.n_pauses,
            prompts,
            options,
            m_inf=m_inf,
            attention=self.attention,
            option_length=option_length,
            bucket=bucket,
            filler=filler,
        )

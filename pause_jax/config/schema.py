"""The config of one run: all sections, and the checks that concern several of them."""

from __future__ import annotations

import dataclasses

from pause_jax.config.bounds import LARGEST
from pause_jax.config.data import DataConfig
from pause_jax.config.finetune import FinetuneConfig
from pause_jax.config.model import ModelConfig
from pause_jax.config.objective import ObjectiveConfig
from pause_jax.config.optimizer import OptimizerConfig
from pause_jax.config.pauses import PauseConfig
from pause_jax.config.run import RunConfig
from pause_jax.config.train import TrainConfig
from pause_jax.errors import UserError
from pause_jax.pauses import insertion


@dataclasses.dataclass(frozen=True)
class Config:
    """The config of one run."""

    seed: int = 0
    init_from: str = ""  # a run's folder, or one of its checkpoints (RUN/checkpoints/STEP): whose parameters to take
    model: ModelConfig = ModelConfig()
    pauses: PauseConfig = PauseConfig()
    data: DataConfig = DataConfig()
    finetune: FinetuneConfig = FinetuneConfig()
    objective: ObjectiveConfig = ObjectiveConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    train: TrainConfig = TrainConfig()
    run: RunConfig = RunConfig()

    def validate(self) -> None:
        """Raises UserError where a field is out of bounds, or fields contradict each other."""
        if not 0 <= self.seed < 2**31:
            raise UserError(f"config.seed is {self.seed}, but must be in 0..{2**31 - 1}")
        sections = (self.model, self.data, self.finetune, self.objective, self.optimizer, self.train, self.run)
        for section in sections:
            section.validate()
        self.validate_pauses()
        pause = self.pauses
        insertion.text_tokens_per_block(self.data.length, pause.rate, pause.mode, pause.max_rate)  # or too many of them
        if self.model.positions == "learned" and self.length > self.model.max_positions:
            name = (
                "config.finetune: max_prompt_length + m_ft + target_length - 1"
                if self.finetune.task
                else "config.data.length"
            )
            raise UserError(
                f"{name} = {self.length} is more than config.model.max_positions = {self.model.max_positions}, the "
                "rows of the learned position table"
            )
        if max(self.finetune.m_ft) and self.finetune.placement != "filler" and not self.model.num_pause_tokens:
            raise UserError(
                f"config.finetune.m_ft = {self.finetune.m_ft} gives pauses to prompts, but config.model."
                "num_pause_tokens = 0 gives the model none: set --config.model.num_pause_tokens=1"
            )
        self._validate_new_pauses()
        if self.train.batch_size % self.run.accumulation:
            raise UserError(
                f"config.train.batch_size = {self.train.batch_size} is not divisible by config.run.accumulation = "
                f"{self.run.accumulation}"
            )
        if self.train.batch_size * self.length > LARGEST[int]:  # a step counts them in int32
            raise UserError(
                f"config.train.batch_size = {self.train.batch_size} rows of {self.length} positions are more than the "
                f"{LARGEST[int]} that a batch may have: lower one of them"
            )
        self._validate_attention()

    def validate_pauses(self) -> None:
        """Raises UserError where `pauses` is wrong in itself, or the model has no pauses to insert."""
        self.pauses.validate()
        for name in ("rate", "max_rate"):
            if getattr(self.pauses, name) > 0 and self.model.num_pause_tokens == 0:
                raise UserError(
                    f"config.pauses.{name} = {getattr(self.pauses, name)} inserts pauses, but config.model."
                    "num_pause_tokens = 0 gives the model none: set --config.model.num_pause_tokens=1"
                )

    def _validate_new_pauses(self) -> None:
        if self.optimizer.pause_only_steps and not self.model.num_pause_tokens:
            raise UserError(
                f"config.optimizer.pause_only_steps = {self.optimizer.pause_only_steps} trains pauses alone, but "
                "config.model.num_pause_tokens = 0 gives the model none: set --config.model.num_pause_tokens=1"
            )
        if self.pauses.init != "noise" and not (self.init_from and self.model.num_pause_tokens):
            raise UserError(
                f"config.pauses.init = {self.pauses.init!r} makes pauses from a trained model's embeddings: give one "
                "as --config.init_from, and --config.model.num_pause_tokens"
            )

    def _validate_attention(self) -> None:
        """Raises UserError for what the attention kernel cannot serve, as far as the config tells."""
        kernel, dtype = self.run.execution.attention, self.model.dtype
        if kernel == "splash" and self.prefix_lm_length is None:
            raise UserError(
                f"config.finetune.m_ft = {self.finetune.m_ft} with config.finetune.attention = "
                f"{self.finetune.attention!r} gives each row a mask of its own, but config.run.execution.attention = "
                "'splash' compiles one for all: set --config.run.execution.attention=xla, or one number of pauses"
            )
        if kernel == "cudnn" and (dtype != "bfloat16" or self.model.head_dim % 8):
            raise UserError(
                f"config.run.execution.attention = 'cudnn' serves bfloat16 and heads of a multiple of 8, but "
                f"config.model.dtype = {dtype!r} and a head has size {self.model.head_dim}: set "
                "--config.run.execution.attention=xla"
            )

    @property
    def length(self) -> int:
        """Positions T of a row, pauses counted."""
        if not self.finetune.task:
            return self.data.length
        return self.finetune.context_length + self.finetune.target_length - 1  # the last token is only a target

    @property
    def first_loss(self) -> int:
        """The first position of a row that may carry loss: in finetuning the last of prompt and pauses, or a hint's."""
        finetune = self.finetune
        if not finetune.task or finetune.hints == "prompt":
            return 0
        return finetune.context_length - (max(finetune.m_ft) if finetune.hints == "pauses" else 1)

    @property
    def prefix_lm_length(self) -> int | None:
        """How many positions at a row's start see each other both ways; None where rows differ in it."""
        lengths = {self.finetune.prefix_lm_length(m) for m in self.finetune.m_ft} if self.finetune.task else {0}
        return lengths.pop() if len(lengths) == 1 else None

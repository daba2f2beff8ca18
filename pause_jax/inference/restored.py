"""A trained run, restored and ready to answer."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from absl import logging
from jax.sharding import Mesh

from pause_jax.checkpointing import checkpoints, history
from pause_jax.checkpointing.run_folder import RunFolder
from pause_jax.config import Config, MeshConfig
from pause_jax.distributed import memory
from pause_jax.distributed.mesh import make_mesh
from pause_jax.inference import decode, prefill, texts
from pause_jax.inference.decode import GREEDY, Decoding
from pause_jax.inference.prefill import Prefill, PromptFormat
from pause_jax.inference.sampling import Sampling
from pause_jax.network import Network
from pause_jax.pauses.downstream import BUCKET, PrefixAttention
from pause_jax.tokenizers import tokenizer


@dataclasses.dataclass(frozen=True)
class RestoredRun:
    """Parameters of one checkpoint on a mesh, and the config that they were trained with."""

    folder: RunFolder
    step: int
    config: Config
    params: Any
    mesh: Mesh

    @classmethod
    def restore(cls, run_or_checkpoint: str, mesh: MeshConfig | None = None) -> RestoredRun:
        """The newest checkpoint of a run's folder, or the one given as RUN/checkpoints/STEP.

        Args:
          mesh: how all devices are used; None: each has all parameters and its own rows. It need not be the mesh of
            training.

        Raises:
          UserError: there is no run or checkpoint, it cannot be read, the run's tokenizer is gone or has changed, or
            the mesh does not fit devices or parameters.
        """
        folder, step = checkpoints.locate(run_or_checkpoint)
        config = folder.config()
        folder.check_tokenizer()
        made = make_mesh(mesh or MeshConfig())
        memory.check_parameters(config, made, f"the run in {folder.path}")
        return cls(folder, step, config, checkpoints.restore_params(folder.checkpoints, step, config, made), made)

    @property
    def attention(self) -> PrefixAttention:
        """The attention over prompt and pauses that the run was trained with."""
        return self.config.finetune.attention if self.config.finetune.task else "causal"

    @property
    def shares_prompts(self) -> bool:
        """Whether several M_inf can share one pass over the prompts."""
        return prefill.can_share(self.attention, self.config.finetune.placement)

    @functools.cached_property
    def trained_length(self) -> int | None:
        """Positions of the longest rows that the parameters were trained on, all stages; None: not known."""
        if not self.folder.exists():
            return None
        stages = [(stage.config, stage.imported_from) for stage in history.before(self.folder, self.config)]
        stages.append((self.config, self.folder.manifest().get("imported_from", "")))
        lengths = [config.model.max_positions if imported else config.length for config, imported in stages if config]
        return max(lengths) if len(lengths) == len(stages) else None

    def _warn_if_longer(self, prompts: Sequence[Sequence[int]], m_inf: int) -> None:
        """Warn, once in a process, where prompts with their pauses are longer than the rows of training.

        Only with RoPE: with learned positions longer prompts are refused, as the table ends there.
        """
        longest = max(map(len, prompts), default=0)
        if self.config.model.positions != "rope" or (at_most := self.trained_length) is None:
            return
        if longest + m_inf > at_most:
            logging.log_first_n(
                logging.WARNING,
                "a prompt of %d tokens and %d pauses are %d positions, and %s was trained on rows of at most %d: "
                "beyond them its answers are hardly those it has learned",
                1,
                longest,
                m_inf,
                longest + m_inf,
                self.folder.name,
                at_most,
            )

    def complete(
        self,
        prompts: Sequence[str],
        *,
        m_inf: int,
        max_new_tokens: int = 100,
        sampling: Sampling = GREEDY,
        seed: int = 0,
    ) -> list[str]:
        """The run's continuation of each text after `m_inf` pauses, up to the document's end. Raises as `generate`."""
        words = tokenizer.load(self.config.data.vocabulary)
        ids = self.generate(
            [words.encode(prompt) for prompt in prompts],
            m_inf=m_inf,
            max_new_tokens=max_new_tokens,
            eos_id=words.eos_id,
            sampling=sampling,
            seed=seed,
        )
        return [words.decode(one) for one in ids]

    def likelihoods(self, prompts: Sequence[str], options: Sequence[Sequence[str]], *, m_inf: int) -> list[list[float]]:
        """log p of each text's options after `m_inf` pauses, in nats; texts and options are tokenized on their own.

        Raises:
          UserError: an option is empty, or see `generate`.
        """
        words = tokenizer.load(self.config.data.vocabulary)
        ids = [[words.encode(option) for option in row_options] for row_options in options]
        longest = max((len(one) for row_options in ids for one in row_options), default=1)
        encoded = [words.encode(prompt) for prompt in prompts]
        (read,) = self.prefill(encoded, [m_inf], extra_cache_length=longest - 1)
        log_p, _ = self.score(read, ids, option_length=longest)
        return log_p

    def logits(self, text: str, *, m_inf: int = 0) -> np.ndarray:
        """The logits at each token of a text and each pause after it: float32 [tokens + m_inf, vocabulary].

        Row k predicts what follows the first k + 1 of them. The text is read as the run reads prompts.

        Raises:
          UserError: the text is empty or too long for the model, or pauses are asked for and the run has none.
        """
        ids = tokenizer.load(self.config.data.vocabulary).encode(text)
        self._warn_if_longer([ids], m_inf)
        return self.network.logits(self.params, ids, m_inf, PromptFormat(self.attention))

    def loss(self, text: str) -> float:
        """Cross-entropy in nats per token of a text's tokens but the first, and of its end of text. Read causally.

        Raises:
          UserError: the text is empty, or too long for the model.
        """
        words = tokenizer.load(self.config.data.vocabulary)
        ids = words.encode(text)
        targets = [*ids[1:], words.eos_id]
        return texts.loss(self.network.logits(self.params, ids, 0, PromptFormat("causal")), targets)

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
        """The run's answer to each prompt after `m_inf` pauses: see `inference.decode.generate`."""
        self._warn_if_longer(prompts, m_inf)
        decoding = Decoding(max_new_tokens, eos_id, sampling, seed)
        prompt_format = PromptFormat(self.attention, filler, bucket)
        return decode.generate(self.network, self.params, prompts, m_inf, decoding, prompt_format)

    def prefill(
        self,
        prompts: Sequence[Sequence[int]],
        m_infs: Sequence[int],
        *,
        extra_cache_length: int,
        bucket: int = BUCKET,
        filler: int | None = None,
    ) -> Iterator[Prefill]:
        """Read the prompts with each number of pauses after them: see `inference.prefill.prefill`."""
        self._warn_if_longer(prompts, max(m_infs))
        prompt_format = PromptFormat(self.attention, filler, bucket)
        return self.network.prefill(self.params, prompts, m_infs, prompt_format, extra_cache_length=extra_cache_length)

    def score(
        self,
        prefill: Prefill,
        options: Sequence[Sequence[Sequence[int]]],
        *,
        option_length: int,
        compare: bool = False,
    ) -> tuple[list[list[float]], list[list[bool]]]:
        """log p of each row's options after a prefill: see `inference.score.score_from_prefill`."""
        return self.network.score(self.params, prefill, options, option_length=option_length, compare=compare)

    def decode(self, prefill: Prefill, *, max_new_tokens: int, eos_id: int) -> list[list[int]]:
        """Greedy answers after a prefill: see `inference.decode.decode`."""
        return self.network.decode(self.params, prefill, Decoding(max_new_tokens, eos_id))

    @functools.cached_property
    def network(self) -> Network:
        """The network on this machine's devices, executed as its platform's defaults say, whatever training used."""
        return Network(self.config.model, mesh=self.mesh)

"""A network as one object: what it is, how it is run, and on which devices.

The methods call functions of pause_jax/inference, whose modules list the letters of shapes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
from jax.sharding import Mesh

from pause_jax.config.model import Execution, ModelConfig, resolve
from pause_jax.distributed import sharding
from pause_jax.model import decoder
from pause_jax.model.decoder import Decoder
from pause_jax.pauses.downstream import PauseTokens

if TYPE_CHECKING:  # they import this module, so the methods below import them when called
    from pause_jax.inference.decode import Decoding
    from pause_jax.inference.prefill import Prefill, PromptFormat

Params = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Network:
    """A decoder without its parameters: hashable, so that it may be a static argument of `jax.jit`.

    network = Network(ModelConfig(vocab_size=259, num_pause_tokens=1))
    params = network.init(seed=0)
    (prefill,) = network.prefill(params, prompts, [10], PromptFormat(), extra_cache_length=31)
    answers = network.decode(params, prefill, Decoding(max_new_tokens=32, eos_id=1))
    """

    config: ModelConfig
    execution: Execution = Execution()  # its "auto" fields are resolved for the mesh's devices
    mesh: Mesh | None = None  # where arrays lie; None: wherever the parameters are

    def __post_init__(self) -> None:
        platform = jax.default_backend() if self.mesh is None else self.mesh.devices.flat[0].platform
        object.__setattr__(self, "execution", resolve(self.execution, platform))

    def init(self, seed: int | jax.Array) -> Params:
        """Fresh parameters, float32, as nested dicts: `decoder.init`."""
        return decoder.init(self.config, seed)

    def abstract_params(self) -> Params:
        """Shapes and dtypes of `init` without computing it."""
        return decoder.abstract_params(self.config)

    def param_shardings(self) -> Params:
        """Where each parameter lies on the mesh, in the tree of `init`."""
        assert self.mesh is not None
        return sharding.param_shardings(self.config, self.mesh)

    def bind(self, params: Params) -> Decoder:
        """A callable Decoder over parameters, to be traced within `sharding.with_mesh(self.mesh)`."""
        return decoder.bind(params, self.config, self.execution)

    def pause_tokens(self, filler: int | None = None) -> PauseTokens:
        """The ids put where pauses go: those of the model's pause tokens, or of the ordinary token `filler`."""
        return PauseTokens(self.config.vocab_size, self.config.num_pause_tokens, filler)

    def prefill(
        self,
        params: Params,
        prompts: Sequence[Sequence[int]],
        m_infs: Sequence[int],
        prompt_format: PromptFormat,
        *,
        extra_cache_length: int,
    ) -> Iterator[Prefill]:
        """Read the prompts once, then each number of pauses after them: see `inference.prefill.prefill`."""
        from pause_jax.inference import prefill

        return prefill.prefill(self, params, prompts, m_infs, prompt_format, extra_cache_length=extra_cache_length)

    def decode(self, params: Params, prefill: Prefill, decoding: Decoding) -> list[list[int]]:
        """Decode answers after a prefill: see `inference.decode.decode`."""
        from pause_jax.inference import decode

        return decode.decode(self, params, prefill, decoding)

    def score(
        self,
        params: Params,
        prefill: Prefill,
        options: Sequence[Sequence[Sequence[int]]],
        *,
        option_length: int,
        compare: bool = False,
    ) -> tuple[list[list[float]], list[list[bool]]]:
        """log p of options after a prefill: see `inference.score.score_from_prefill`."""
        from pause_jax.inference import score

        return score.score_from_prefill(self, params, prefill, options, option_length=option_length, compare=compare)

    def logits(self, params: Params, ids: Sequence[int], m_inf: int, prompt_format: PromptFormat) -> np.ndarray:
        """Logits at every position of a text and its pauses: see `inference.texts.logits`."""
        from pause_jax.inference import texts

        return texts.logits(self, params, ids, m_inf, prompt_format)

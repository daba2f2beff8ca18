"""What a program costs by the compiler's own figures, nothing run: the same on a busy machine as on a quiet one."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax

from pause_jax.aot import training_step
from pause_jax.config import Config, DataConfig, MeshConfig, PauseConfig, RunConfig, TrainConfig
from pause_jax.config.model import ModelConfig
from pause_jax.distributed.mesh import make_mesh
from pause_jax.inference.prefill import PromptFormat
from pause_jax.network import Network
from pause_jax.training import initialize
from pause_jax.training.optimizer import make_optimizer


@dataclasses.dataclass(frozen=True)
class Costs:
    """XLA's figures of one device's program. The body of a loop counts once, however often it runs."""

    flops: float
    bytes_accessed: float  # operands and results of all instructions, fused ones as one
    temp_bytes: int  # what the program needs besides arguments and results
    peak_bytes: int  # all that it holds: arguments, temporaries, and results that take no argument's place


def costs(compiled: jax.stages.Compiled) -> Costs:
    """Of a program that `lowered.compile()` gave."""
    analysis: Any = compiled.cost_analysis()
    memory: Any = compiled.memory_analysis()
    kept = memory.output_size_in_bytes - memory.alias_size_in_bytes
    peak = memory.argument_size_in_bytes + memory.temp_size_in_bytes + kept
    return Costs(analysis["flops"], analysis["bytes accessed"], memory.temp_size_in_bytes, peak)


def train_config(
    model: ModelConfig,
    batch_size: int,
    length: int,
    *,
    pauses: PauseConfig | None = None,
    mesh: MeshConfig | None = None,
    **run: Any,
) -> Config:
    """A run of `model` on one device unless `mesh` says otherwise; `run` are fields of config.run."""
    return Config(
        model=model,
        pauses=pauses or PauseConfig(),
        data=DataConfig(length=length),
        train=TrainConfig(batch_size=batch_size),
        run=RunConfig(mesh=mesh or MeshConfig(data=1), **run),
    )


def lower_train_step(config: Config, num_devices: int = 1) -> jax.stages.Lowered:
    """The trainer's own step on the first devices of this machine."""
    mesh = make_mesh(config.run.mesh, jax.devices()[:num_devices])
    return training_step.lower(config, mesh, initialize.abstract_state(config, make_optimizer(config.optimizer), mesh))


def lower_prefill(
    model: ModelConfig, batch_size: int, prompt_length: int, m_inf: int, extra_cache_length: int
) -> jax.stages.Lowered:
    """Reading `batch_size` prompts and `m_inf` pauses each, by a model with one pause, whatever `m_inf`."""
    prompts = [[0] * prompt_length] * batch_size
    network = Network(dataclasses.replace(model, num_pause_tokens=1))

    def prefill(params: dict[str, Any]) -> tuple[jax.Array, Any]:
        (read,) = network.prefill(
            params, prompts, [m_inf], PromptFormat("causal"), extra_cache_length=extra_cache_length
        )
        return read.logits_BxV, read.cache

    return jax.jit(prefill).lower(network.abstract_params())

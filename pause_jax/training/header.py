"""The lines that a training run prints before its first step: network, data, steps, devices, memory, starting point."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax

from pause_jax.config import Config
from pause_jax.distributed import memory
from pause_jax.model import counts
from pause_jax.report.tables import human_flops


def lines(
    run: str, config: Config, manifest: Mapping[str, Any], mesh: jax.sharding.Mesh, start: int, flops_per_step: float
) -> list[str]:
    """One line for each fact, behind its name.

    Args:
      run: its name, put in the last line, the only one that stays visible where several runs share a terminal.
      manifest: of the run's data, as in data.json.
      start: the step that training goes on from; 0 where it begins.
      flops_per_step: model FLOPs.
    """
    facts = {
        "model": _model(config),
        "data": _data(config, manifest),
        "steps": _steps(config, start, flops_per_step),
        "devices": _devices(mesh),
        "kernels": _kernels(config),
        "memory": _memory(config, mesh),
        "begins": f"{run}, {_begins(config, start)}",
    }
    return [f"{name:8} {fact}" for name, fact in facts.items()]


def _model(config: Config) -> str:
    model = config.model
    parameters, of_pauses = counts.parameter_counts(model)
    of_pauses_text = f" and {of_pauses:,} of {model.num_pause_tokens} pause token(s)" if of_pauses else ", no pauses"
    return (
        f"{parameters:,} parameters{of_pauses_text}: {model.num_layers} layers, d_model {model.d_model}, "
        f"{model.num_heads} heads, {model.vocab_size:,} text tokens, {model.dtype}"
    )


def _data(config: Config, manifest: Mapping[str, Any]) -> str:
    data = config.data
    name = config.finetune.task or data.prepared or data.files or data.task
    sizes = [part["train"] for part in manifest.get("mixture", [manifest]) if "train" in part]
    text_tokens = sum(size.get("text_tokens", 0) for size in sizes)
    examples = sum(size.get("examples", 0) for size in sizes)
    count = f"{examples:,} examples of {text_tokens:,} text tokens" if examples else f"{text_tokens:,} text tokens"
    return f"{name}: {count if sizes else 'of unknown size'}, tokenizer {data.vocabulary}"


def _steps(config: Config, start: int, flops_per_step: float) -> str:
    rows, length, steps = config.train.batch_size, config.length, config.train.steps
    finetune, rate = config.finetune, config.pauses.mean_rate
    if finetune.task:
        pauses = f"{', '.join(map(str, finetune.m_ft))} pauses ({finetune.placement}) after prompts of at most "
        pauses = f"{pauses}{finetune.max_prompt_length}"
    else:
        pauses = f"{rate:g} pauses per text token" if rate else "no pauses inserted"
    flops = human_flops((steps - start) * flops_per_step)
    return f"{start + 1} to {steps}, each of {rows} rows of {length} positions, {pauses}: {flops} model FLOPs"


def _devices(mesh: jax.sharding.Mesh) -> str:
    axes = " × ".join(f"{axis} {size}" for axis, size in mesh.shape.items() if size > 1)
    kind = mesh.devices.flat[0].device_kind
    processes = f", {jax.process_count()} processes" if jax.process_count() > 1 else ""
    return f"{mesh.size} × {kind}{f' ({axes})' if axes else ''}{processes}"


def _kernels(config: Config) -> str:
    execution, chunk = config.run.execution, config.run.loss_chunk
    layers = "scanned" if execution.scan_layers == "on" else "unrolled"
    return (
        f"{execution.kernels} (attention {execution.attention}, layers {layers}, remat {execution.remat}, loss "
        f"{f'in chunks of {chunk} positions' if chunk else 'of all positions at once'})"
    )


def _memory(config: Config, mesh: jax.sharding.Mesh) -> str:
    parts = memory.training_bytes(config, mesh.shape)
    whole = sum(parts.values())
    unit, name = (1e9, "GB") if whole >= 1e9 else (1e6, "MB")
    listed = ", ".join(f"{part} {size / unit:.3g}" for part, size in parts.items())
    return f"{whole / unit:.3g} {name} a device by formula ({listed})"


def _begins(config: Config, start: int) -> str:
    if start:
        return f"from the checkpoint of step {start}"
    return f"from the parameters of {config.init_from}" if config.init_from else "from random parameters"

"""Rows of results.csv: a run's metrics, how it was trained, and what that cost."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pause_jax import config as configs
from pause_jax.checkpointing import history
from pause_jax.checkpointing.run_folder import RunFolder
from pause_jax.config import Config
from pause_jax.logging.writers import read_jsonl
from pause_jax.report import tables
from pause_jax.report.results import LOSSES, Result

if TYPE_CHECKING:  # with JAX
    from pause_jax.evaluation.evaluator import Outcome
    from pause_jax.inference.restored import RestoredRun
    from pause_jax.tasks.examples import TaskExamples


def result_rows(run: RestoredRun, examples: TaskExamples, m_inf: int, outcome: Outcome, model: str) -> list[Result]:
    """A row of results for each metric of one M_inf."""
    suffix = "_predicted_history" if examples.render else ""
    common = {
        **training_columns(run.folder, run.config, run.step, model),
        "m_inf": m_inf,
        "placement": run.config.finetune.placement if max(run.config.finetune.m_ft) or m_inf else "none",
        "task": examples.name,
        "split": examples.split,
        "n_examples": len(examples.ids),
        "inference_flops": outcome.inference_flops,
        "attention": run.attention,
    }
    return [Result(metric=name + suffix, value=float(value), **common) for name, value in outcome.metrics.items()]


def loss_rows(folder: RunFolder, config: Config, model: str) -> list[Result]:
    """The last validation losses of a run that pretrained, as results on the text that it held out.

    Args:
      model: as of `run.evaluate_run`.
    """
    step = config.train.steps
    common: dict[str, Any] = {
        **training_columns(folder, config, step, model or size_of(config)),
        "m_inf": 0,
        "placement": "none",
        "task": config.data.prepared or config.data.files or config.data.task,
        "split": "held_out",
        "n_examples": config.run.validation_batches * config.train.batch_size,  # rows, at most
        "inference_flops": 0.0,
        "attention": "causal",
    }
    records = read_jsonl(folder.metrics) if folder.metrics.is_file() else []
    record = next((r for r in records if r["step"] == step), {})
    return [Result(metric=name, value=record[key], **common) for name, key in LOSSES.items() if key in record]


def size_of(config: Config) -> str:
    """The name of a model that has none: its number of parameters."""
    from pause_jax.model import counts

    return tables.human_count(counts.parameter_counts(config.model)[0])


def training_columns(folder: RunFolder, config: Config, step: int, model: str) -> dict[str, Any]:
    """The columns of results.csv that tell how a run was trained, and what that cost."""
    finetune = config.finetune
    stages = history.stages(folder, step)
    model_flops = history.total([stage.model_flops for stage in stages])
    finetuned = "pause" if max(finetune.m_ft) and finetune.placement != "filler" else "std"
    return {
        "model": model,
        **pretraining_columns(stages),
        "finetune": finetuned if finetune.task else "none",
        "m_ft": "|".join(map(str, finetune.m_ft)),
        "seed": config.seed,
        "text_tokens": history.total([stage.text_tokens for stage in stages]),
        "model_flops": math.nan if model_flops is None else model_flops,
        "checkpoint": f"{folder.name}/checkpoints/{step}",
        "num_pause_tokens": config.model.num_pause_tokens,
        "steps": step,
        "hints": finetune.hints,
        **start_columns(stages),
        "settings": json.dumps(all_settings(stages), sort_keys=True),
    }


def all_settings(stages: Sequence[history.Stage]) -> dict[str, Any]:
    """Settings of a run that are not at their default; those of the stages before it as `stage1.NAME`, and so on."""
    found: dict[str, Any] = {}
    for number, stage in enumerate(stages, 1):
        prefix = f"stage{number}." if number < len(stages) else ""
        if stage.config is not None:
            found |= {prefix + name: value for name, value in configs.settings(stage.config).items()}
    return found


def pretraining_columns(stages: Sequence[history.Stage]) -> dict[str, Any]:
    """The columns on the stages before finetuning; "unknown" where the config of one is not known."""
    if any(stage.config is None for stage in stages):
        return {"pretrain": "unknown", "pretrain_rate": 0.0, "policy": "none", "pretrain_steps": "unknown"}
    pretraining = [(stage.config, stage.step) for stage in stages if stage.config and not stage.config.finetune.task]
    pauses = pretraining[-1][0].pauses if pretraining else None
    return {
        "pretrain": "none" if pauses is None else "pause" if pauses.mean_rate else "std",
        "pretrain_rate": 0.0 if pauses is None else pauses.mean_rate,
        "policy": pauses.label if pauses and pauses.mean_rate else "none",
        "pretrain_steps": "|".join(str(steps) for _, steps in pretraining) or "0",
    }


def start_columns(stages: Sequence[history.Stage]) -> dict[str, str]:
    """The columns on the runs that a run started from, and the seed of the last of them; "" where not known."""
    before = stages[:-1]
    config = before[-1].config if before else None
    return {
        "pretrain_run": "|".join(stage.run.partition("/checkpoints")[0] for stage in before),
        "pretrain_seed": "" if config is None else str(config.seed),
    }

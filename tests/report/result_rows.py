"""Rows of results made up for tests."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from pause_jax.report.results import Result

TOY_NONE = [0.775, 0.742, 0.765, 0.691, 0.662, 0.805]  # ../shared/TOY_TASK.md, seeds 10 to 15
TOY_LONGER = [0.843, 0.817, 0.835, 0.884, 0.854, 0.959]
TOY_MINUS_NONE = [-0.027, 0.061, 0.235, 0.309, 0.338, 0.195]


def row(**fields: Any) -> Result:
    """A standard model finetuned without pauses, but for `fields`; with pauses where they give it some."""
    paused = fields.get("m_ft", "0") != "0" or fields.get("m_inf", 0) > 0
    plain: dict[str, Any] = {
        "model": "826.5k",
        "pretrain": "std",
        "pretrain_rate": 0.0,
        "finetune": "std",
        "m_ft": "0",
        "m_inf": 0,
        "placement": "append" if paused else "none",
        "task": "recall_8",
        "metric": "accuracy",
        "value": 50.0,
        "seed": 0,
        "text_tokens": 1000,
        "model_flops": 1e12,
        "checkpoint": "run/checkpoints/10",
        "split": "test",
        "n_examples": 100,
        "inference_flops": 1e6,
        "policy": "none",
        "num_pause_tokens": 1,
        "attention": "causal",
        "steps": 10,
        "pretrain_steps": "0" if fields.get("pretrain") == "none" else "100",
    }
    return Result(**(plain | fields))


def toy_rows() -> Iterator[Result]:
    """The toy task's three main arms: none, 24 pauses, and none with as many FLOPs."""
    for i, seed in enumerate(range(10, 16)):
        common: dict[str, Any] = {"model": "4.0k", "pretrain": "none", "task": "count_parity_24", "seed": seed}
        none, more = 100 * TOY_NONE[i], 100 * TOY_MINUS_NONE[i]
        yield row(**common, value=none, model_flops=1e12, steps=3000)
        yield row(
            **common,
            value=none + more,
            finetune="pause",
            m_ft="24",
            m_inf=24,
            model_flops=2.48e12,
            steps=3000,
            inference_flops=2.05e6,
        )
        yield row(**common, value=100 * TOY_LONGER[i], model_flops=2.5e12, steps=7500)


def grid_rows(*, seeds: int, task: str = "recall_8") -> Iterator[Result]:
    """The paper's 2 × 2 and the zero-shot models, all alike, evaluated at 0 and 10 pauses."""
    for seed in range(seeds):
        for pretrain, rate, policy in (("std", 0.0, "none"), ("pause", 0.1, "uniform_trim")):
            for finetune, m_ft in (("std", "0"), ("pause", "10"), ("none", "0")):
                for m_inf in (0, 10):
                    yield row(
                        pretrain=pretrain,
                        pretrain_rate=rate,
                        policy=policy,
                        finetune=finetune,
                        m_ft=m_ft,
                        m_inf=m_inf,
                        task=task,
                        seed=seed,
                        value=50.0 + seed,
                        pretrain_run="" if finetune == "none" else f"pretrain-{pretrain}-{seed}",
                        pretrain_seed="" if finetune == "none" else str(seed),
                    )


def sweep_rows(
    *, seeds: int, effect: float, sizes: tuple[str, ...] = ("4.0k",), splits: tuple[str, ...] = ("validation", "test")
) -> Iterator[Result]:
    """Standard and pause pretraining, finetuned and evaluated at 0, 2 and 10 pauses.

    Seeds vary with a deviation of 3, results of one seed with one of 0.5; each model finetuned with pauses gains
    `effect` if pretrained with pauses too, and is evaluated at its own M, `SPOILT` less at the others.
    """
    noise = np.random.default_rng(5)
    for i, size in enumerate(sizes):
        for seed in range(seeds):
            of_seed = 50 + 10 * i + noise.normal(0, 3)
            for pretrain, rate, policy in (("std", 0.0, "none"), ("pause", 0.1, "uniform_trim")):
                for m_ft in (0, 2, 10):
                    gain = effect * (pretrain == "pause") * (m_ft > 0) * (1 + (m_ft == 10))
                    name = f"finetune-{size}-{pretrain}-{m_ft}-{seed}"
                    for m_inf in (0, 2, 10):
                        for split in splits:
                            value = of_seed + gain - SPOILT * (m_inf != m_ft) + noise.normal(0, 0.5)
                            yield row(
                                model=size,
                                pretrain=pretrain,
                                pretrain_rate=rate,
                                policy=policy,
                                seed=seed,
                                finetune="pause" if m_ft else "std",
                                m_ft=str(m_ft),
                                m_inf=m_inf,
                                split=split,
                                placement="append" if m_ft or m_inf else "none",
                                value=value,
                                model_flops=10.0 ** (12 + i) * (1 + m_ft / 10),
                                inference_flops=10.0 ** (6 + i) * (1 + m_inf / 10),
                                checkpoint=f"{name}/checkpoints/100",
                                pretrain_seed=str(seed),
                                pretrain_run=f"pretrain-{size}-{pretrain}-{seed}",
                            )


SPOILT = 4.0


def write_runs(rows: Iterable[Result], folder: Path) -> None:
    """A pretraining and a finetuning run for each row's checkpoint, with losses that fall."""
    for result in {result.checkpoint: result for result in rows}.values():
        before = f"pretrain-{result.model}-{result.pretrain}-{result.seed}"
        write_run(folder / before, result.seed, rate=result.pretrain_rate)
        finetune = {"task": result.task, "m_ft": [int(m) for m in result.m_ft.split("|")]}
        name = result.checkpoint.partition("/")[0]
        write_run(folder / name, result.seed, init_from=f"/elsewhere/{before}", finetune=finetune)


def write_run(folder: Path, seed: int, *, rate: float = 0.0, losses: list[float] | None = None, **config: Any) -> None:
    """A run's record and metrics; of `losses` one a step, else 100 that fall."""
    folder.mkdir(parents=True, exist_ok=True)
    recorded = {
        "seed": seed,
        "pauses": {"rate": rate, "num_pause_tokens": 1},
        "train": {"steps": 100},
        "data": {"task": "wikipedia"},
    } | config
    (folder / "config.json").write_text(json.dumps(recorded))
    lines = []
    for step, loss in enumerate(losses or [2 + 0.1 * seed + 4 * math.exp(-s / 20) for s in range(100)], start=1):
        record = {"step": step, "loss": loss, "model_flops": 1e9 * step}
        if step % 20 == 0:
            record |= {"validation/loss": loss + 0.1}
            if rate:
                extra = {"paused_loss": 0.2, "after_pause_loss": -0.1, "elsewhere_loss": 0.25}
                record |= {f"validation/{name}": loss + more for name, more in extra.items()}
        lines.append(json.dumps(record))
    (folder / "metrics.jsonl").write_text("".join(f"{line}\n" for line in lines))

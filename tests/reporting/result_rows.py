"""Rows of results made up for tests."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pause_jax.reporting.results import Result

TOY_NONE = [0.775, 0.742, 0.765, 0.691, 0.662, 0.805]  # ../shared/TOY_TASK.md, seeds 10 to 15
TOY_LONGER = [0.843, 0.817, 0.835, 0.884, 0.854, 0.959]
TOY_MINUS_NONE = [-0.027, 0.061, 0.235, 0.309, 0.338, 0.195]


def row(**fields: Any) -> Result:
    """A standard model finetuned without pauses, but for `fields`; with pauses where they give it some."""
    paused = fields.get("m_ft", "0") != "0" or fields.get("m_inf", 0) > 0
    plain: dict[str, Any] = {
        "model": "826.5k", "pretrain": "std", "pretrain_rate": 0.0, "finetune": "std", "m_ft": "0", "m_inf": 0,
        "placement": "append" if paused else "none", "task": "recall_8", "metric": "accuracy", "value": 50.0, "seed": 0,
        "text_tokens": 1000, "model_flops": 1e12, "checkpoint": "run/checkpoints/10", "split": "test",
        "n_examples": 100, "inference_flops": 1e6, "policy": "none", "n_pauses": 1, "attention": "causal", "steps": 10,
        "pretrain_steps": "0" if fields.get("pretrain") == "none" else "100",
    }  # fmt: skip
    return Result(**(plain | fields))


def toy_rows() -> Iterator[Result]:
    """The toy task's three main arms: none, 24 pauses, and none with as many FLOPs."""
    for i, seed in enumerate(range(10, 16)):
        common: dict[str, Any] = {"model": "4.0k", "pretrain": "none", "task": "count_parity_24", "seed": seed}
        none, more = 100 * TOY_NONE[i], 100 * TOY_MINUS_NONE[i]
        yield row(**common, value=none, model_flops=1e12, steps=3000)
        yield row(**common, value=none + more, finetune="pause", m_ft="24", m_inf=24, model_flops=2.48e12, steps=3000,
                  inference_flops=2.05e6)  # fmt: skip
        yield row(**common, value=100 * TOY_LONGER[i], model_flops=2.5e12, steps=7500)


def grid_rows(*, seeds: int, task: str = "recall_8") -> Iterator[Result]:
    """The paper's 2 × 2 and the zero-shot models, all alike, evaluated at 0 and 10 pauses."""
    for seed in range(seeds):
        for pretrain, rate, policy in (("std", 0.0, "none"), ("pause", 0.1, "uniform_trim")):
            for finetune, m_ft in (("std", "0"), ("pause", "10"), ("none", "0")):
                for m_inf in (0, 10):
                    yield row(pretrain=pretrain, pretrain_rate=rate, policy=policy, finetune=finetune, m_ft=m_ft,
                              m_inf=m_inf, task=task, seed=seed, value=50.0 + seed)  # fmt: skip

"""Evaluations in one call, for tests that would otherwise spell out a spec and options each time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pause_jax.evaluation import run as evaluation
from pause_jax.evaluation.spec import EvaluationSpec


def evaluate(
    run: str | Path, tasks: Sequence[str], m_inf: Sequence[int], *, data_dir: str | None = None, **more: Any
) -> evaluation.Evaluation:
    """`evaluation.evaluate_run`, with `more` of the spec's fields."""
    spec = EvaluationSpec(tuple(tasks), tuple(m_inf), **{"batch_size": 64, **more})
    return evaluation.evaluate_run(str(run), spec, evaluation.Options(data_dir=data_dir))

"""The findings on one run, and their CSV files. No JAX."""

from __future__ import annotations

import csv
import dataclasses
import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pause_jax.diagnostics.flips import Flips
from pause_jax.system.files import write_atomically

if TYPE_CHECKING:
    from pause_jax.diagnostics.measure import Measured


@dataclasses.dataclass(frozen=True)
class Findings:
    """All that the page shows."""

    checkpoint: str  # NAME/checkpoints/STEP
    task: str
    split: str
    m_inf: int
    m_ft: Sequence[int]  # of the run's finetuning; empty: it was not finetuned
    placement: str
    attention: str  # over prompt and pauses
    flips: Flips
    measured: Measured
    positions: Sequence[str]  # where the lens looks, in order
    first_tokens: Sequence[str]  # of the measured examples' targets, as text


def write_tables(findings: Findings, folder: Path) -> None:
    """Write flips.csv, attention.csv, attention_by_pause.csv and lens.csv.

    Layers, heads and pauses are numbered from 1; layer 0 is what the first layer reads.
    """
    _write(
        folder / "flips.csv",
        ["id", "change", "prompt", "target", "without_pauses", "with_pauses"],
        [[f.id, change(f.to_right), f.prompt, f.target, f.without_pauses, f.with_pauses] for f in findings.flips.flips],
    )
    measured = findings.measured
    _write(
        folder / "attention.csv",
        ["layer", "head", "measure", "value", "if_even"],
        [
            [layer + 1, head + 1, name, f"{value:.6f}", f"{measured.even[name]:.6f}"]
            for name, values_NxH in measured.attention_NxH.items()
            for layer, of_heads in enumerate(values_NxH.tolist())
            for head, value in enumerate(of_heads)
        ],
    )
    _write(
        folder / "attention_by_pause.csv",
        ["layer", "head", "pause", "value"],
        [
            [layer + 1, head + 1, pause + 1, f"{value:.6f}"]
            for layer, of_heads in enumerate(measured.to_each_NxHxM.tolist())
            for head, of_pauses in enumerate(of_heads)
            for pause, value in enumerate(of_pauses)
        ],
    )
    lens = (measured.log_p_N1xL, measured.rank_N1xL, measured.first_N1xL)
    _write(
        folder / "lens.csv",
        ["layer", "position", "mean_log_p", "mean_rank", "share_first"],
        [
            [layer, position, *(f"{values[layer, i]:.6f}" for values in lens)]
            for layer in range(len(measured.log_p_N1xL))
            for i, position in enumerate(findings.positions)
        ],
    )


def change(to_right: bool) -> str:
    """How pauses changed an answer, in words."""
    return "wrong to right" if to_right else "right to wrong"


def _write(file: Path, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([columns, *rows])
    write_atomically(file, text.getvalue())

"""The paper's own numbers (Goyal et al., ICLR 2024) beside the measured ones.

`paper_results.csv` beside this file has them, each with the table or figure it was read from; the column `how` tells
printed numbers from those measured in the figures' drawings.
"""

from __future__ import annotations

import csv
import dataclasses
import functools
from pathlib import Path

from pause_jax.report.panels import Cell, Panel

FILE = Path(__file__).with_name("paper_results.csv")
RATE = 0.1  # pauses per text token in the paper's pretraining
TASKS = {  # the paper's name → ours
    "GSM8k": "gsm8k",
    "SQuAD": "squad_v1",
    "CommonSenseQA": "commonsenseqa",
    "LAMBADA": "lambada",
    "WebQuestions": "webquestions",
    "NaturalQuestions": "nq_open",
    "CoQA": "coqa",
    "PhysicalIQA": "piqa",
    "HellaSwag": "hellaswag",
}
HOW = {  # the file's column → words
    "printed": "printed",
    "figure_vector": "from the figure's drawing",
    "figure_vector_off_axis": "from the figure's drawing, off its axis",
}
METRICS = {  # the paper's task and metric → our metric
    ("GSM8k", "acc"): "accuracy",
    ("GSM8k", "rouge1"): "rouge1",
    ("SQuAD", "em"): "em",
    ("SQuAD", "f1"): "f1",
    ("CommonSenseQA", "em"): "accuracy",  # the choice's text is generated: exactly it, or not
    ("LAMBADA", "em"): "accuracy",  # of the last word
    ("WebQuestions", "em"): "em",
    ("WebQuestions", "f1"): "f1",
    ("NaturalQuestions", "em"): "em",
    ("CoQA", "f1"): "f1",
    ("PhysicalIQA", "f1"): "option_accuracy",  # "F1" of scored options is undefined there; its levels are accuracy's
    ("HellaSwag", "f1"): "option_accuracy",
}


@dataclasses.dataclass(frozen=True)
class Number:
    """One of the paper's numbers in our names."""

    model: str  # 1B or 130M
    task: str
    metric: str
    pretrain: str
    finetune: str
    m_ft: int
    m_inf: int
    value: float
    std: float | None  # over 5 runs; None where not given
    named: str  # the metric as the paper names it
    source: str  # the paper's table or figure
    how: str  # how it was read

    @property
    def setting(self) -> tuple[str, str, str, str, str, int, int]:
        return self.model, self.task, self.metric, self.pretrain, self.finetune, self.m_ft, self.m_inf


@functools.cache
def numbers() -> tuple[tuple[Number, ...], tuple[tuple[int, str], ...]]:
    """The file's numbers in our names, and the numbers of the lines that cannot be mapped, each with the reason."""
    mapped, unmapped = [], []
    with FILE.open(newline="", encoding="utf-8") as file:
        for line, row in enumerate(csv.DictReader(file), start=2):
            reason = _no_place(row)
            if reason:
                unmapped.append((line, reason))
                continue
            mapped.append(
                Number(
                    row["model"],
                    TASKS[row["task"]],
                    METRICS[row["task"], row["metric"]],
                    row["pretrain"],
                    row["finetune"],
                    int(row["m_ft"] or 0),
                    int(row["m_inf"]),
                    float(row["value"]),
                    float(row["std"]) if row["std"] else None,
                    row["metric"],
                    row["source_table"],
                    HOW[row["how"]],
                )
            )
    return tuple(mapped), tuple(unmapped)


def of_panel(panel: Panel) -> list[tuple[list[Number], list[Cell]]]:
    """For each setting of the paper on the panel's task and metric: its numbers, and the panel's cells like it."""
    settings: dict[tuple[object, ...], list[Number]] = {}
    for number in numbers()[0]:
        if (number.task, number.metric) == (panel.task, panel.metric):
            settings.setdefault(number.setting, []).append(number)
    return [(group, [cell for cell in panel.cells if _is_like(cell, group[0])]) for group in settings.values()]


def _is_like(cell: Cell, number: Number) -> bool:
    arm = cell.arm
    return (
        (arm.pretrain, arm.finetune, arm.m_ft) == (number.pretrain, number.finetune, str(number.m_ft))
        and cell.m_inf == number.m_inf
        and arm.placement == ("append" if number.m_ft else "none")
        and (arm.pretrain != "pause" or abs(arm.pretrain_rate - RATE) < 1e-9)
    )


def _no_place(row: dict[str, str]) -> str:
    """Why a row can't be mapped; "" where it can."""
    if row["task"] not in TASKS or (row["task"], row["metric"]) not in METRICS:
        return "no such task or metric here"
    if row["location"] == "append_periods":
        return "10 or 50 periods at inference: which of the two is not told"
    if row["location"] == "prepend":
        return "pauses in front: how many is not told"
    if row["m_ft"] == "best10_50":
        return "the better of 10 and 50 pauses: which of the two is not told"
    return ""

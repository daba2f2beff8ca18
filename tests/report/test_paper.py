"""The paper's numbers: every line of the file has its place here, or a reason why not."""

from __future__ import annotations

import collections
import csv
from pathlib import Path

import pytest

from pause_jax.report import panel_tables, paper
from pause_jax.report.comparisons import Report
from pause_jax.report.panels import make_panels
from tests.report.result_rows import row

TASK_FILES = Path(__file__).parents[2] / "pause_jax" / "tasks"
LINES = list(csv.DictReader(paper.FILE.open(newline="")))


def test_every_line_is_mapped_or_has_a_reason():
    mapped, unmapped = paper.numbers()
    assert len(mapped) + len(unmapped) == len(LINES) == 292
    assert len({line for line, _ in unmapped}) == len(unmapped)
    assert collections.Counter(reason for _, reason in unmapped) == {
        "10 or 50 periods at inference: which of the two is not told": 2,
        "pauses in front: how many is not told": 12,
        "the better of 10 and 50 pauses: which of the two is not told": 50,
    }
    for line, reason in unmapped:  # the line that is named is the one that is meant
        content = LINES[line - 2]
        assert ("best" in content["m_ft"]) == ("better" in reason)
        assert (content["location"] == "prepend") == ("in front" in reason)


def test_a_line_keeps_its_number_and_its_source():
    mapped, _ = paper.numbers()
    assert (
        paper.Number("1B", "squad_v1", "em", "pause", "pause", 50, 50, 55.9, 1.0, "em", "Table 1", "printed") in mapped
    )
    lines = [line for line in LINES if not any(t in str(line) for t in ("best10_50", "prepend", "append_periods"))]
    assert [(n.value, n.source) for n in mapped] == [(float(line["value"]), line["source_table"]) for line in lines]


def test_names_are_those_of_our_tasks():
    assert all((TASK_FILES / f"{task}.py").is_file() for task in paper.TASKS.values())
    assert {task for task, _ in paper.METRICS} == paper.TASKS.keys()


def table_of(*rows):
    (panel,) = make_panels(list(rows))
    return panel_tables.beside_paper(panel)


def test_measured_values_stand_beside_the_papers_of_the_same_setting():
    paused = {"pretrain": "pause", "pretrain_rate": 0.1, "finetune": "pause", "m_ft": "10", "m_inf": 10}
    table = table_of(row(task="gsm8k", value=1.0, **paused), row(task="gsm8k", value=3.0, seed=1, **paused))
    names = [column.name for column in table.columns]
    first = dict(zip(names, table.rows[0], strict=True))
    assert (first["paper"], first["± over 5 runs"], first["M_inf"], first["paper's metric"]) == (8.5, 0.9, 10, "acc")
    assert first["read from"].startswith("Table 1 (printed); Figure 4b (from the figure's drawing)")
    assert first["measured, model 826.5k"].mean == 2.0
    assert "Goyal et al." in table.note and "more settings" in table.note


@pytest.mark.parametrize(
    "fields",
    [
        {"task": "recall_8"},
        {"task": "gsm8k", "metric": "em"},
        {"task": "gsm8k", "pretrain": "none"},
        {"task": "gsm8k", "pretrain": "pause", "pretrain_rate": 0.05, "m_ft": "10", "m_inf": 10, "finetune": "pause"},
        {"task": "gsm8k", "m_ft": "10", "m_inf": 10, "finetune": "pause", "placement": "prepend"},
        {"task": "gsm8k", "m_ft": "7", "m_inf": 7, "finetune": "pause"},
    ],
)
def test_other_settings_have_no_number_of_the_paper(fields):
    assert table_of(row(**fields)) is None


def test_nothing_is_set_beside_a_validation_split(tmp_path):
    from pause_jax.report import sections

    report = Report.of([row(task="gsm8k", split=split) for split in ("validation", "test")])
    validation, test = sorted(sections.make_sections(report, []), key=lambda section: section.name)
    assert [table.name for table in test.tables] == ["arms", "paper"]
    assert [table.name for table in validation.tables] == ["arms"]

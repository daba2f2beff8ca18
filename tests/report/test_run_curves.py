"""Loss curves: which runs are found, how they are grouped and averaged, and that no damaged record stops a report."""

from __future__ import annotations

import dataclasses
import json
import math

import pytest

from pause_jax.report import run_curves
from pause_jax.report.figures import color
from pause_jax.report.run_curves import Curves, collect
from tests.report.result_rows import row, sweep_rows, write_run, write_runs
from tests.report.test_plots import pixels


def test_runs_are_found_by_stage_and_arm_and_pretraining_through_finetuning(tmp_path):
    rows = list(sweep_rows(seeds=2, effect=0.0, splits=("test",)))
    write_runs(rows, tmp_path / "runs")
    curves, remarks = collect(rows, [tmp_path / "nowhere", tmp_path / "runs"])
    assert remarks == []
    assert [curve.title for curve in curves] == [
        "Loss of pretraining on wikipedia, model 4.0k",
        "Loss of finetuning on recall_8, model 4.0k",
    ]
    pretraining, finetuning = curves
    assert {label: len(runs) for label, runs in pretraining.runs.items()} == {
        "no pauses, 100 steps": 2,
        "10 % pauses, uniform_trim, 100 steps": 2,
    }
    assert len(finetuning.runs) == 6 and "10 % pauses in pretraining, 2 pauses" in finetuning.runs
    assert run_curves.with_pauses(pretraining) == ["10 % pauses, uniform_trim, 100 steps"]
    assert run_curves.with_pauses(finetuning) == []


@pytest.mark.parametrize(
    ("data", "name"),
    [
        ({}, "python_stdlib"),
        ({"task": "wikipedia"}, "wikipedia"),
        ({"files": "/home/me/letters/*.txt"}, "letters/*.txt"),
        ({"files": "mine.jsonl"}, "mine.jsonl"),
        ({"prepared": "prepared/c4/"}, "c4"),
        ({"prepared": "prepared/c4=0.9, prepared/wiki=0.1"}, "c4 + wiki"),
    ],
)
def test_the_title_names_what_was_read(tmp_path, data, name):
    """Every config has a `data.task`, which is not read where a run has text of its own."""
    write_run(tmp_path / "mine", 0, data=data)
    (curve,), _ = collect([row(finetune="none", checkpoint="mine/checkpoints/100")], [tmp_path])
    assert curve.title == f"Loss of pretraining on {name}, model 826.5k"


def test_rows_that_do_not_name_their_pretraining_run_get_it_from_the_runs(tmp_path):
    rows = list(sweep_rows(seeds=2, effect=0.0, splits=("test",)))
    write_runs(rows, tmp_path)
    older = [dataclasses.replace(r, pretrain_run="", pretrain_seed="") for r in rows]
    assert run_curves.name_pretraining(older, [tmp_path]) == rows
    assert run_curves.name_pretraining(older, []) == older
    scratch = [row(pretrain="none"), row(finetune="none")]
    assert run_curves.name_pretraining(scratch, [tmp_path]) == scratch


def test_uptraining_is_a_stage_of_its_own(tmp_path):
    write_run(tmp_path / "first", 0)
    write_run(tmp_path / "second", 0, rate=0.1, init_from="/elsewhere/first/checkpoints/100")
    write_run(tmp_path / "third", 0, init_from="/elsewhere/second", finetune={"task": "recall_8", "m_ft": [2]})
    rows = [row(finetune="pause", m_ft="2", m_inf=2, checkpoint="third/checkpoints/100")]
    curves, _ = collect(rows, [tmp_path])
    assert [(curve.stage, list(curve.runs)) for curve in curves] == [
        ("pretraining", ["no pauses, 100 steps"]),
        ("uptraining", ["10 % pauses, uniform_trim, 100 steps, after 0 % pauses, 100 steps"]),
        ("finetuning", ["standard pretraining, 2 pauses"]),
    ]


def test_what_is_not_there_or_cannot_be_read_is_said_in_two_sentences(tmp_path):
    names = ["gone-1", "gone-2", "torn", "empty", "whole"]
    for name in names[2:]:
        write_run(tmp_path / name, 0, finetune={"task": "recall_8"})
    (tmp_path / "torn" / "config.json").write_text("{")
    (tmp_path / "empty" / "metrics.jsonl").write_text("no json\n{}\n")
    rows = [row(checkpoint=f"{name}/checkpoints/1", seed=i) for i, name in enumerate(names)]
    curves, remarks = collect(rows, [tmp_path])
    assert [len(runs) for curve in curves for runs in curve.runs.values()] == [1]
    assert remarks[0] == f"Losses of 2 runs are not shown, as they are not in {tmp_path}: gone-1 (and 1 more)."
    assert remarks[1].startswith("Losses of 2 runs are not shown, as they are not to be read: torn: ")
    assert len(remarks) == 2
    assert collect(rows, []) == ([], [])  # nowhere to look: nothing to say


def test_last_losses_by_hand():
    runs = [[{"step": s, "loss": loss} for s, loss in enumerate(losses, 1)] for losses in ([4.0, 2.0], [4.0, 3.0])]
    runs[0].append({"step": 2, "validation/loss": 2.5})
    table = Curves("pretraining", "4.0k", "text", {"a": runs}).last_losses()
    assert [column.name for column in table.columns] == ["arm", "seeds", "training", "validation"]
    ((_, seeds, training, validation),) = table.rows
    assert (seeds, training.mean, training.n, validation.mean, validation.n) == (2, 2.5, 2, 2.5, 1)


def test_training_losses_are_averaged_over_bins_of_steps():
    records = [{"step": s, "loss": float(s)} for s in range(1, 121)]
    steps, losses = run_curves.binned(records, "loss", 120.0)
    assert len(steps) == run_curves._BINS and list(steps) == list(losses)
    assert (steps[0], steps[1], steps[-1]) == (1.0, 2.5, 119.0)  # 1; 2 and 3; 118 to 120
    short = records[:3]
    assert list(run_curves.binned(short, "loss", 3.0)[0]) == [1.0, 2.0, 3.0]


def test_the_mean_over_seeds_and_its_band(tmp_path):
    from matplotlib.figure import Figure

    axes = Figure().subplots()
    runs = [[{"step": s, "loss": loss} for s in (1, 2)] for loss in (1.0, 2.0, 6.0)]
    run_curves._draw(axes, runs, "loss", {"color": "red"})
    assert list(axes.get_lines()[0].get_ydata()) == [3.0, 3.0]
    (band,) = axes.collections
    assert (band.get_datalim(axes.transData).y0, band.get_datalim(axes.transData).y1) == (1.0, 6.0)


DAMAGED = [
    [],
    [{}],
    [{"loss": 1.0}],
    [{"step": 1}],
    [{"step": 1, "loss": None}],
    [{"step": "1", "loss": "low"}],
    [{"step": 1, "loss": math.inf}, {"step": 2, "loss": math.nan}],
    [{"step": 3, "loss": 1e308}, {"step": 4, "loss": -1e308}],
    [{"step": 1, "validation/loss": 2.0}],
    [{"step": 1, "loss": True}, {"step": 5, "loss": 2.0, "validation/loss": math.inf}],
]


def test_records_without_fields_or_finite_numbers_do_not_stop_a_report(tmp_path):
    whole = [{"step": s, "loss": 2.0, "validation/loss": 2.0, "validation/after_pause_loss": 1.0} for s in (1, 2)]
    alone = Curves("pretraining", "4.0k", "text", {str(i): [records] for i, records in enumerate(DAMAGED)})
    beside = Curves("pretraining", "4.0k", "text", {"whole": [whole, *DAMAGED]})
    for curves, pictures in (
        (alone, [run_curves.plot_losses]),
        (beside, [run_curves.plot_losses, run_curves.plot_after_pauses]),
    ):
        for plot in pictures:
            plot(curves, list(curves.runs), tmp_path / "a.png")
        assert curves.last_losses().csv()
    assert pixels(tmp_path / "a.png", color(0)) > 50


def test_damaged_records_are_read_from_files(tmp_path):
    lines = [json.dumps(record) for records in DAMAGED for record in records]
    write_run(tmp_path / "run", 0, finetune={"task": "recall_8"})
    (tmp_path / "run" / "metrics.jsonl").write_text("\n".join([*lines, '{"step": 9, "lo']))
    curves, remarks = collect([row()], [tmp_path])
    assert remarks == [] and curves[0].have(run_curves.TRAINING)

"""Runs beside each other: losses at equal steps, text tokens and FLOPs by hand, and what tells them apart."""

from __future__ import annotations

import json

import pytest

from pause_jax.errors import UserError
from pause_jax.report import figures, run_curves
from pause_jax.report.comparisons import Report
from pause_jax.report.report import print_report, write_report
from pause_jax.report.run_comparison import collect
from tests.report.result_rows import write_run


def write(folder, *, seed=0, steps=100, tokens=10, flops=1e9, falls_to=0.0, **config):
    """A run whose losses fall by 0.01 a step; validated at every tenth step, at 1 more."""
    write_run(folder, seed, **config)
    lines = []
    for step in range(1, steps + 1):
        loss = 5 - 0.01 * step + falls_to
        record = {"step": step, "loss": loss, "text_tokens": tokens * step, "model_flops": flops * step}
        lines.append(json.dumps(record | ({"validation/loss": loss + 1} if step % 10 == 0 else {})))
    (folder / "metrics.jsonl").write_text("".join(f"{line}\n" for line in lines))


def test_losses_at_equal_steps_tokens_and_flops_by_hand(tmp_path):
    """One goes on for twice the steps, of half the text and a quarter of the FLOPs each."""
    write(tmp_path / "short", steps=100, tokens=10, flops=4e9)
    write(tmp_path / "long", steps=200, tokens=5, flops=1e9, rate=0.1)
    (compared,) = collect([tmp_path / "short", tmp_path / "long"])
    assert compared.curves.title == "Loss of pretraining on wikipedia" and compared.metric == "validation/loss"
    table = compared.at_equal_costs()
    assert [column.name for column in table.columns] == [
        "run",
        "seeds",
        "steps",
        "text tokens",
        "FLOPs",
        "validation loss at the end",
        "at 100 steps",
        "at 1.0k text tokens",
        "at 200.0B FLOPs",
    ]
    short, long = table.rows
    assert short[:5] == ("short", 1, "100", "1.0k", "400.0B") and long[:5] == ("long", 1, "200", "1.0k", "200.0B")
    # of 5 + 1 - 0.01 a step: 100 steps, 100 for 1,000 tokens, 50 for 200e9 FLOPs; and 200, 100, 200 and 200
    assert [value.mean for value in short[5:]] == pytest.approx([5.0, 5.0, 5.0, 5.5])
    assert [value.mean for value in long[5:]] == pytest.approx([4.0, 5.0, 4.0, 4.0])
    settings = compared.settings()
    assert ("pauses.rate", "0.0", "0.1") in settings.rows and not any(row[0] == "seed" for row in settings.rows)
    assert any("it takes 10 seeds of each arm" in sentence for sentence in compared.sentences())


def test_runs_that_differ_in_their_seed_alone_are_one_arm(tmp_path):
    for seed in (0, 1):
        write(tmp_path / f"a-{seed}", seed=seed, falls_to=0.1 * seed)
    write(tmp_path / "b" / "a-0", train={"steps": 50})
    (compared,) = collect([tmp_path / name for name in ("a-0", "a-1", "b/a-0", "a-1/checkpoints/100")])
    assert {label: len(runs) for label, runs in compared.curves.runs.items()} == {
        str(tmp_path / "a-0"): 2,
        str(tmp_path / "b" / "a-0"): 1,
    }
    both = compared.at_equal_costs().rows[0][5]
    assert (both.mean, both.n) == (pytest.approx(5.05), 2)


def test_other_data_and_stages_stand_apart(tmp_path):
    write(tmp_path / "one")
    write(tmp_path / "two", data={"files": "mine.txt"})
    write(tmp_path / "three", finetune={"task": "recall_8"}, init_from="/elsewhere/one")
    titles = [compared.curves.title for compared in collect([tmp_path / name for name in ("one", "two", "three")])]
    assert titles == [
        "Loss of pretraining on wikipedia",
        "Loss of pretraining on mine.txt",
        "Loss of finetuning on recall_8",
    ]
    (begun,) = collect([tmp_path / "three"])
    assert any("of these runs alone: three began elsewhere" in sentence for sentence in begun.sentences())


def test_training_losses_are_compared_where_a_run_was_not_validated(tmp_path):
    write(tmp_path / "one")
    write_run(tmp_path / "two", 0, losses=[3.0] * 50)
    (compared,) = collect([tmp_path / "one", tmp_path / "two"])
    assert compared.metric == "validation/loss"  # `write_run` validates
    records = [r for r in (json.loads(x) for x in (tmp_path / "two" / "metrics.jsonl").read_text().splitlines())]
    (tmp_path / "two" / "metrics.jsonl").write_text(
        "".join(f"{json.dumps({name: r[name] for name in ('step', 'loss')})}\n" for r in records)
    )
    (compared,) = collect([tmp_path / "one", tmp_path / "two"])
    table = compared.at_equal_costs()
    assert [column.name for column in table.columns][2:] == ["steps", "training loss at the end", "at 50 steps"]
    assert [row[-1].mean for row in table.rows] == pytest.approx([4.5, 3.0], abs=0.02)


def test_pictures_are_against_steps_tokens_and_flops(tmp_path, monkeypatch):
    write(tmp_path / "one", tokens=7)
    (compared,) = collect([tmp_path / "one"])
    drawn = []
    monkeypatch.setattr(figures, "save", lambda figure, out: drawn.append(figure.axes[0]))
    for x in run_curves.COSTS:
        run_curves.plot_losses(compared.curves, ["one"], tmp_path / "a.png", x=x)
    assert [axes.get_xlabel() for axes in drawn] == ["steps", "text tokens", "FLOPs"]
    ends = [max(line.get_xdata().max() for line in axes.get_lines() if len(line.get_xdata())) for axes in drawn]
    assert ends == pytest.approx([100, 700, 1e11], rel=0.02)


def test_the_page_and_the_terminal(tmp_path, capsys):
    write(tmp_path / "one")
    write(tmp_path / "two", rate=0.1)
    compared, report = collect([tmp_path / "one", tmp_path / "two"]), Report.of([], title="Runs")
    page = write_report(report, tmp_path / "out", compared=compared).read_text()
    assert page.count("<img") == 3 and "nothing to compare" not in page and "pauses.rate" in page
    assert (tmp_path / "out" / "runs-01-pretraining-equal_costs.csv").is_file()
    print_report(report, compared)
    printed = capsys.readouterr().out
    assert "Loss of pretraining on wikipedia" in printed and "nothing to compare" not in printed


def test_mistakes(tmp_path):
    with pytest.raises(UserError, match="none"):
        collect([tmp_path / "none"])
    write_run(tmp_path / "empty", 0)
    (tmp_path / "empty" / "metrics.jsonl").write_text("")
    with pytest.raises(UserError, match=r"empty has no losses in its metrics\.jsonl: leave it out"):
        collect([tmp_path / "empty"])

"""`make miniature` and `make quickstart` with everything made small: all parts, and a second time in no time."""

from __future__ import annotations

import dataclasses

import ml_collections
import pytest

from launch import miniature, quickstart
from pause_jax.report.results import read_results
from pause_jax.sweeps import parts
from tests import published_commands

SMALL = {"num_layers": 1, "d_model": 16, "num_heads": 2, "d_ff": 16}


def small(config):
    config.model.update(SMALL)
    config.data.length, config.train.batch_size, config.train.steps = 64, 8, 12
    config.optimizer.warmup_steps = 2
    config.run.update({"validate_every": 12, "loggers": ("jsonl",), "checkpoint_every": 12})


def shrink(sweep):
    """One seed, 12 steps."""
    for stage in ("pretrain", "finetune"):
        if stage in sweep:
            small(sweep[stage].config)
            axes = []
            for field, values in sweep[stage].axes:
                if field == "seed":
                    axes.append((field, values[:1]))
                elif "train.steps" in field:
                    assert field[-1] == "train.steps"
                    axes.append((field, tuple((*rest, 12) for *rest, _ in values)))
                else:
                    axes.append((field, values))
            sweep[stage].axes = tuple(axes)
    if "evaluate" in sweep:
        sweep.evaluate.update({"limit": 16, "m_inf": (0, 3)})
    return sweep.to_dict()


@pytest.fixture
def made_small(monkeypatch, tmp_path):
    load = parts.load

    def loaded(titles):
        return [
            dataclasses.replace(part, config=shrink(ml_collections.ConfigDict(part.config))) for part in load(titles)
        ]

    monkeypatch.setattr(parts, "load", loaded)
    monkeypatch.chdir(tmp_path)


@pytest.mark.slow
def test_the_papers_method_then_found_finished(tmp_path, made_small, capfd):
    assert miniature.main([]) == 0
    first = capfd.readouterr().out
    folder = tmp_path / "runs" / "miniature"
    rows = read_results(folder / "results.csv")
    assert {row.task for row in rows} == {"count_parity_24", "recall_2"}
    assert {(row.pretrain, row.finetune) for row in rows if row.task == "recall_2"} == {
        (pretrain, finetune) for pretrain in ("std", "pause") for finetune in ("std", "pause")
    }
    losses = folder / "two_by_two-losses.png"
    assert losses.stat().st_size > 10_000 and (folder / "report" / "report.html").is_file()
    assert first.index("24 pauses") < first.index("2 of 2")  # the first part's table does not wait for the second
    assert "clean validation loss" in first and "10 % pauses" in first
    assert miniature.main([]) == 0
    again = capfd.readouterr().out
    assert "running" not in again and read_results(folder / "results.csv") == rows


@pytest.mark.slow
def test_the_quickstart_pretrains_and_compares(tmp_path, made_small, capfd):
    assert quickstart.main([]) == 0
    printed = capfd.readouterr().out
    folder = tmp_path / "runs" / "quickstart"
    rows = read_results(folder / "results.csv")
    assert {(row.m_ft, row.hints, row.attention) for row in rows} == {
        ("9", "pauses", "causal"),
        ("0", "none", "causal"),
        ("0", "prompt", "prefix_and_pauses"),
    }
    assert printed.index("10 after the prompt") < printed.index("2 of 2") < printed.index("What next")
    (picture,) = (folder / "report").glob("*-seeds.png")
    assert str(picture.relative_to(tmp_path)) in printed and "report/report.html" in printed


def test_what_to_do_next_are_commands_of_ours():
    commands = list(published_commands.commands_in("launch/quickstart.py", quickstart.NEXT))
    assert [command.module for command in commands] == ["launch.train", "launch.generate", "launch.convert"]

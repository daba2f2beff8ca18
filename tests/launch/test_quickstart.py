"""`make quickstart` with everything made small: both parts, the report, and a second time in no time."""

from __future__ import annotations

import pytest

from launch import quickstart
from pause_jax.report.results import read_results

SMALL = {"num_layers": 1, "d_model": 16, "num_heads": 2, "d_ff": 16}


def small(config):
    config.model.update(SMALL)
    config.data.length, config.train.batch_size, config.train.steps = 64, 8, 12
    config.optimizer.warmup_steps = 2
    config.run.update({"validate_every": 12, "loggers": ("jsonl",), "checkpoint_every": 12})


@pytest.mark.slow
def test_the_whole_method_then_found_finished(tmp_path, monkeypatch, capfd):
    whole = quickstart.config_of

    def config_of(part):
        import ml_collections

        sweep = ml_collections.ConfigDict(whole(part))
        for stage in ("pretrain", "finetune"):
            if stage in sweep:
                small(sweep[stage].config)
                seeds_only = tuple(
                    (field, values[:1] if field == "seed" else values) for field, values in sweep[stage].axes
                )
                sweep[stage].axes = tuple(
                    (field, tuple((m, 12) for m, _ in values)) if isinstance(field, tuple) else (field, values)
                    for field, values in seeds_only
                )
        sweep.evaluate.update({"limit": 16, "m_inf": (0, 3)})
        return sweep.to_dict()

    monkeypatch.setattr(quickstart, "config_of", config_of)
    monkeypatch.chdir(tmp_path)
    assert quickstart.main([]) == 0
    first = capfd.readouterr().out
    folder = tmp_path / "runs" / "quickstart"
    rows = read_results(folder / "results.csv")
    assert {row.task for row in rows} == {"count_parity_24", "recall_2"}
    assert {(row.pretrain, row.finetune) for row in rows if row.task == "recall_2"} == {
        (pretrain, finetune) for pretrain in ("std", "pause") for finetune in ("std", "pause")
    }
    assert (folder / "losses.png").stat().st_size > 10_000 and (folder / "report" / "report.html").is_file()
    assert "1 seed: no interval, no effect can be claimed" in first
    assert first.index("24 pauses") < first.index("2 of 2")  # the first part's table does not wait for the second
    assert (folder / "time_to_think" / "report" / "report.html").is_file()
    assert "clean validation loss" in first and "10 % pauses" in first
    assert quickstart.main([]) == 0
    again = capfd.readouterr().out
    assert "running" not in again and read_results(folder / "results.csv") == rows

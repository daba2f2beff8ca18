"""From rows to arms and comparisons: what is compared with what, and what the sentences say."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math

import numpy as np
import pytest
from scipy import stats

from pause_jax import config as configs
from pause_jax.checkpointing.history import Stage
from pause_jax.errors import UserError
from pause_jax.evaluation.rows import all_settings
from pause_jax.report import panel_tables
from pause_jax.report.comparisons import Failure, Report, decide, find_pairs
from pause_jax.report.panels import make_panels, paired_differences
from tests.report.result_rows import TOY_MINUS_NONE, grid_rows, row, toy_rows


def report_of(rows, **arguments):
    return Report.of(list(rows), **arguments)


def test_the_toy_task_says_what_its_figures_allow():
    report = report_of(toy_rows())
    (panel,) = report.panels
    assert panel.title == "count_parity_24, accuracy, test split, model 4.0k"
    assert [panel.label(panel.home(arm)) for arm in panel.arms] == [
        "no pauses, 3,000 steps",
        "no pauses, 7,500 steps",
        "24 pauses, 3,000 steps",
    ]
    equal_steps, equal_flops = report.comparisons
    paired = paired_differences(equal_steps.cell, equal_steps.base)
    assert paired.values == pytest.approx([100 * d for d in TOY_MINUS_NONE]) and paired.unit == "seed"
    assert equal_steps.sentence() == (
        "24 pauses, 3,000 steps minus no pauses, 3,000 steps: +18.5 points, 95 % interval [+3.5, +33.5], 6 seeds: no "
        "effect can be claimed from fewer than 10; at 2.48 × its training FLOPs and 2.05 × its inference FLOPs."
    )
    assert equal_flops.sentence() == (
        "24 pauses, 3,000 steps minus no pauses, 7,500 steps: +6.0 points, 95 % interval [-4.7, +16.6], 6 seeds: no "
        "effect can be claimed from fewer than 10; at equal training FLOPs and 2.05 × its inference FLOPs."
    )
    assert report.remarks(panel) == []
    assert report.summary() == (
        "2 comparisons with a base without pauses: of none can an effect be claimed. With 6 seeds none could be: it "
        "takes 10."
    )


def test_without_a_base_of_equal_flops_the_reader_is_told():
    report = report_of(r for r in toy_rows() if r.steps == 3000)
    (panel,) = report.panels
    assert len(report.comparisons) == 1
    assert report.remarks(panel) == [
        "24 pauses: no base was trained with as many FLOPs (within 5%), so these figures do not tell pauses from more "
        "or less training."
    ]


def test_an_effect_on_every_seed_is_called_and_its_opposite_a_loss():
    def rows(gain):
        for seed in range(10):
            yield row(seed=seed, value=50 + seed)
            yield row(seed=seed, value=50 + seed + gain + seed % 3, finetune="pause", m_ft="10", m_inf=10)

    (gain,) = report_of(rows(20)).comparisons
    (loss,) = report_of(rows(-20)).comparisons
    assert "10 seeds, p < 0.0001: a gain beyond the chance of seeds" in gain.sentence()
    assert "10 seeds, p < 0.0001: a loss beyond the chance of seeds" in loss.sentence()
    found = report_of(rows(20))
    said = "standard pretraining, 10 pauses minus standard pretraining, no pauses, at equal training FLOPs."
    assert found.summary() == (
        "1 comparison with a base without pauses: 1 beyond the chance of seeds. +20.9 [+20.3, +21.5] points of "
        f"accuracy on recall_8, model 826.5k: {said}"
    )
    assert found.summary_of(found.panels[0]) == (
        "1 of 1 differences beyond the chance of seeds: +20.9 points at equal training FLOPs"
    )
    none = [dataclasses.replace(r, task="other", value=50.0) for r in rows(0)]
    summary = report_of([*rows(20), *none]).summary()
    assert summary.endswith(f"{said} Of the other 1 no effect can be claimed.")
    (_, alike) = report_of([*rows(20), *none]).comparisons
    assert "10 seeds: no effect can be claimed of differences that are all one number" in alike.sentence()


def test_the_grid_is_compared_with_standard_pretraining_and_finetuning():
    report = report_of(grid_rows(seeds=3))
    (panel,) = report.panels
    labels = [(panel.label(c.cell), panel.label(c.base)) for c in report.comparisons]
    base = "standard pretraining, no pauses"
    assert labels == [
        ("standard pretraining, 10 pauses", base),
        ("10 % pauses in pretraining, no pauses", base),
        ("10 % pauses in pretraining, 10 pauses", base),
        ("10 % pauses in pretraining, zero-shot", "standard pretraining, zero-shot"),
    ]
    assert report.summary().endswith("With 3 seeds none could be: it takes 10.")


def test_an_arm_is_shown_at_the_pauses_that_it_was_finetuned_with():
    evaluated = [0, 2, 10, 50]
    rows = [row(m_inf=m, placement="append" if m else "none") for m in evaluated]
    rows += [row(finetune="pause", m_ft=m_ft, m_inf=m) for m_ft in ("10", "0|10", "40") for m in evaluated]
    (panel,) = make_panels(rows)
    assert [panel.home(arm).m_inf for arm in panel.arms] == [0, 10, 10, 50]
    assert [panel.label(panel.home(arm)) for arm in panel.arms] == [
        "standard pretraining, no pauses",
        "standard pretraining, 10 pauses",
        "standard pretraining, 0 or 10 pauses",
        "standard pretraining, 40 pauses, 50 at inference",
    ]
    assert [cell.m_inf for cell in panel.of_arm(panel.arms[0])] == evaluated  # one arm, with and without pauses
    assert panel.varies_m_inf and not panel.varies_flops


def test_labels_tell_arms_apart():
    rows = [
        row(),
        row(m_ft="10", m_inf=10, placement="filler"),
        row(m_inf=10, placement="filler"),
        row(finetune="pause", m_ft="10", m_inf=10),
        row(finetune="pause", m_ft="10", m_inf=10, num_pause_tokens=10),
        row(finetune="pause", m_ft="10", m_inf=10, placement="prepend"),
        row(finetune="pause", m_ft="10", m_inf=10, attention="prefix_only"),
        row(pretrain="none", placement="none"),
        row(pretrain="pause", pretrain_rate=0.1, policy="uniform_trim"),
        row(pretrain="pause", pretrain_rate=0.1, policy="uniform_exact"),
        row(pretrain="pause", pretrain_rate=0.05, policy="uniform_trim"),
    ]
    (panel,) = make_panels(rows)
    labels = [panel.label(cell) for cell in panel.cells]
    assert len(set(labels)) == len(rows)
    assert "standard pretraining, 10 fillers, attention causal, 1 distinct" in labels
    assert "standard pretraining, filler at inference only, attention causal, 1 distinct, 10 at inference" in labels
    assert "5 % pauses in pretraining, no pauses, attention causal, policy uniform_trim, 1 distinct" in labels
    # a base shares the stages of training and the attention
    compared = [(panel.label(c.cell), c.base.arm.pretrain) for c in decide(find_pairs([panel]))]
    assert not any("prefix_only" in label for label, _ in compared)
    assert {pretrain for _, pretrain in compared} == {"std"}
    remarks = Report.of(rows).remarks(panel)
    assert any("prefix_only" in remark and "not compared" in remark for remark in remarks)


def test_only_seeds_of_both_are_compared():
    rows = [row(seed=s, value=10.0 * s) for s in (1, 2, 3)]
    rows += [row(seed=s, value=10.0 * s + 5, finetune="pause", m_ft="10", m_inf=10) for s in (4, 3, 2)]
    (comparison,) = report_of(rows).comparisons
    assert (comparison.effect.difference.mean, comparison.effect.difference.n) == (5.0, 2)
    assert comparison.cell.values == [25.0, 35.0, 45.0]
    rows = [dataclasses.replace(r, seed=1 if r.finetune == "std" else 2) for r in (rows[0], rows[-1])]
    report = report_of(rows)
    assert report.summary().startswith("There is nothing to compare")
    assert "not compared" in report.remarks(report.panels[0])[0]


def test_one_seed_claims_nothing():
    (comparison,) = report_of([row(), row(finetune="pause", m_ft="2", m_inf=2, value=99.0)]).comparisons
    assert "+49.0 points, 1 seed: no interval, no effect can be claimed from fewer than 10; at" in comparison.sentence()


def test_results_that_cannot_be_told_apart_are_a_mistake():
    rows = [row(checkpoint="a/checkpoints/1"), row(checkpoint="b/checkpoints/1")]
    with pytest.raises(UserError, match="differ in nothing but their checkpoints, a/checkpoints/1 and b/checkpoints/1"):
        report_of(rows)


@pytest.mark.parametrize("m_ft", ["", "ten", "0|", "-1", "1.5"])
def test_numbers_of_pauses_must_be_numbers(m_ft):
    with pytest.raises(UserError, match=r"m_ft of a/checkpoints/1 is .* must be a whole number"):
        report_of([row(m_ft=m_ft, checkpoint="a/checkpoints/1")])


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_value_that_is_not_finite_is_a_failure(value):
    mine = Failure("finetune", "out of memory")
    report = report_of([row(), row(seed=1, value=value)], failures=[mine])
    assert report.failures[0] == mine
    assert f"accuracy on recall_8 at M_inf 0 is {value}: left out below" in report.failures[1].error
    assert report.panels[0].cells[0].values == [50.0]


def test_costs_that_are_not_known_are_not_divided_by():
    rows = [row(model_flops=0.0, inference_flops=0.0), row(finetune="pause", m_ft="2", m_inf=2, model_flops=0.0)]
    assert report_of(rows).comparisons[0].sentence().endswith("; training FLOPs unknown.")


def test_a_whole_report_without_a_true_effect_rarely_calls_one():
    """The 5 % of the statistics survive the way from rows to sentences, for a grid of two tasks on ten seeds."""
    rng = np.random.default_rng(3)
    template = [r for task in ("a", "b") for r in grid_rows(seeds=10, task=task)]
    called = 0
    for _ in range(200):
        values = rng.normal(50, 5, len(template))
        rows = [dataclasses.replace(r, value=value) for r, value in zip(template, values, strict=True)]
        report = report_of(rows)
        assert len(report.comparisons) == 8
        said = any("beyond the chance" in comparison.sentence() for comparison in report.comparisons)
        assert said == any(c.effect.found for c in report.comparisons)
        called += said
    assert called <= 0.05 * 200 + 3 * math.sqrt(200 * 0.05 * 0.95)


def nested_rows(rng, *, runs, finetunings, told=True):
    """Standard and pause pretraining, each finetuned several times without pauses; no true effect.

    The luck of a pretraining run has a deviation of 2 points, the noise of a finetuning one of 1.
    """
    for pretrain, rate, policy in (("std", 0.0, "none"), ("pause", 0.1, "uniform_trim")):
        for run in range(runs):
            luck = rng.normal(60, 2)
            whence = {"pretrain_run": f"pretrain-{pretrain}-{run}", "pretrain_seed": str(run)} if told else {}
            for seed in range(finetunings):
                yield row(
                    pretrain=pretrain,
                    pretrain_rate=rate,
                    policy=policy,
                    seed=seed,
                    value=luck + rng.normal(),
                    checkpoint=f"finetune-{pretrain}-{run}-{seed}/checkpoints/9",
                    **whence,
                )


@pytest.mark.parametrize("told", [True, False])
def test_finetunings_of_one_pretraining_run_an_arm_are_one(told):
    """Of what eight of them say, 64 % would be called a gain or a loss if each were taken for a run of its own."""
    rng = np.random.default_rng(5)
    for _ in range(50):
        report = report_of(nested_rows(rng, runs=1, finetunings=12, told=told))
        (comparison,) = report.comparisons
        assert not comparison.effect.found and comparison.effect.difference.n == 1
        assert "12" not in comparison.sentence() and "1 pretraining run: no" in comparison.sentence()
    assert all(math.isnan(cell.estimate.low) for cell in report.panels[0].cells)
    remark = report.remarks(report.panels[0])[0]
    assert "A verdict takes 10 pretraining runs an arm." in remark
    assert ("taken to be of one" in remark) == ("the results do not say" in comparison.sentence()) == (not told)


def test_several_pretraining_runs_are_what_is_counted():
    """Each finetuned thrice: the difference of each pair of runs is the mean of its three."""
    rows = list(nested_rows(np.random.default_rng(6), runs=10, finetunings=3))
    (comparison,) = report_of(rows).comparisons
    assert (comparison.effect.difference.n, comparison.effect.difference.unit) == (10, "pretraining run")
    by_arm = np.array([r.value for r in rows]).reshape(2, 10, 3).mean(axis=2)
    wanted = stats.ttest_1samp(by_arm[1] - by_arm[0], 0).confidence_interval()
    assert (comparison.effect.difference.low, comparison.effect.difference.high) == pytest.approx(tuple(wanted))
    assert "10 pretraining runs, p = " in comparison.sentence()
    table = panel_tables.arms(report_of(rows).panels[0])
    assert [column.name for column in table.columns][3:5] == ["seeds", "pretraining runs"]
    assert [line[3:5] for line in table.rows] == [(30, 10), (30, 10)]
    interval = stats.ttest_1samp(by_arm[0], 0).confidence_interval()
    assert (comparison.base.estimate.low, comparison.base.estimate.high) == pytest.approx(tuple(interval))
    gain = [dataclasses.replace(r, value=r.value + 10 * (r.pretrain == "pause")) for r in rows]
    assert "a gain beyond the chance of seeds; at equal" in report_of(gain).comparisons[0].sentence()


def test_what_holds_for_one_pretraining_run_is_not_said_of_others():
    """Arms that differ in finetuning alone may start from one run; ten seeds of it tell of that one."""
    whence = {"pretrain_run": "pretrain", "pretrain_seed": "0"}
    rows = [row(seed=s, value=50.0 + s % 3, **whence) for s in range(10)]
    rows += [row(seed=s, value=60.0 + s % 4, finetune="pause", m_ft="10", m_inf=10, **whence) for s in range(10)]
    report = report_of(rows)
    (comparison,) = report.comparisons
    assert "tell of other finetunings of one pretraining run, not of other" in report.remarks(report.panels[0])[0]
    assert "a gain beyond the chance of seeds, of what starts from this pretraining run;" in comparison.sentence()
    assert comparison.effect.difference.unit == "seed"


def test_runs_of_one_import_differ_by_what_was_uptrained():
    """Ten seeds of uptraining, of one import: with pauses against without, and against the import as it was."""
    common = {"pretrain_steps": "0|100"}
    rows = [
        row(seed=s, value=50.0 + s, pretrain_run="import", pretrain_seed="0", pretrain_steps="0") for s in range(10)
    ]
    rows += [
        row(seed=s, value=55.0 + s, pretrain_run=f"import|std-{s}", pretrain_seed=str(s), **common) for s in range(10)
    ]
    rows += [
        row(
            seed=s,
            value=60.0 + s + s % 3,
            pretrain="pause",
            pretrain_rate=0.1,
            policy="uniform_trim",
            pretrain_run=f"import|pause-{s}",
            pretrain_seed=str(s),
            **common,
        )
        for s in range(10)
    ]
    as_long, as_it_was = report_of(rows).comparisons
    assert (as_long.base.arm.pretrain_steps, as_it_was.base.arm.pretrain_steps) == ("0|100", "0")
    for comparison in (as_long, as_it_was):
        assert comparison.effect.found and comparison.effect.difference.n == 10 and comparison.shared_runs == 1


def test_runs_that_pretrained_are_seeds_of_their_own():
    """Losses of pretraining, and zero-shot models, whatever the folders of different machines are called."""
    rows = [row(seed=s, value=50.0 + s, finetune="none") for s in range(10)]
    rows += [
        row(seed=s, value=55.0 + s + s % 2, finetune="none", pretrain="pause", pretrain_rate=0.1) for s in range(10)
    ]
    (comparison,) = report_of(rows).comparisons
    assert comparison.effect.found and comparison.effect.difference.n == 10
    assert "seed" in comparison.sentence() and comparison.cell.estimate.n == 10


def test_pauses_that_were_never_trained_say_nothing():
    """A standard model falls when it is given pauses; such a point is no base, and is said to be none."""
    rows = [row(m_inf=m, value=v, placement="append" if m else "none") for m, v in ((0, 73.8), (1, 8.2))]
    rows += [row(finetune="pause", m_ft="1", m_inf=m, value=70.0 + m) for m in (0, 1)]
    report = report_of(rows)
    (panel,) = report.panels
    untrained = [(panel.label(cell), cell.m_inf) for cell in panel.cells if cell.is_untrained]
    assert untrained == [("standard pretraining, no pauses, 1 at inference (never trained)", 1)]
    assert any("answers after pauses at inference mean nothing" in remark for remark in report.remarks(panel))
    assert [cell.m_inf for cell in panel.trained(panel.arms[0])] == [0]
    fillers = make_panels([row(m_inf=1, placement="filler"), row(pretrain="pause", m_inf=1)])
    assert not any(cell.is_untrained for panel in fillers for cell in panel.cells)
    (without_base,) = make_panels([r for r in rows if r.m_inf == 1])
    assert find_pairs([without_base]) == []


def bases_of(*bases, **arm):
    """Pretraining steps and FLOPs of the bases that an arm of 2000 steps and 10 FLOPs is compared with."""
    rows = [row(pretrain_steps=steps, model_flops=flops) for steps, flops in bases]
    rows.append(row(finetune="pause", m_ft="10", m_inf=10, pretrain_steps="2000", model_flops=10.0))
    return [(c.base.arm.pretrain_steps, c.base.training_flops) for c in report_of(rows).comparisons]


def test_a_base_was_pretrained_for_as_many_steps_where_there_is_one():
    assert bases_of(("2000", 5.0), ("4000", 9.0)) == [("2000", 5.0)]  # although the other cost nearly as much
    assert bases_of(("2000", 5.0), ("4000", 10.2)) == [("2000", 5.0), ("4000", 10.2)]  # as much: beside it
    assert bases_of(("1000", 5.0), ("4000", 12.0)) == [("4000", 12.0)]  # no such base: the nearest in FLOPs
    assert bases_of(("1000", 5.0), ("2000|100", 6.0)) == [("2000|100", 6.0)]


def rows_of_axis(axis, values, **fields):
    """Results of a sweep over a field of the config, with and without pauses, two seeds each, as evaluation notes them.

    Without pauses another warm-up is set: what the columns tell apart already needs no setting's name.
    """
    for value in values:
        for m, seed in itertools.product(("0", "10"), (0, 1)):
            flat = configs.to_dict(configs.Config(seed=seed))
            section, _, name = axis.partition(".")
            flat[section][name] = value
            flat["optimizer"]["warmup_steps"] = 7 if m == "0" else 9
            stage = Stage("run", 10, "", configs.from_config_dict(flat), None, None)
            settings = json.dumps(all_settings([stage]))
            checkpoint = f"{value}_{m}_{seed}/checkpoints/10"
            finetune = "std" if m == "0" else "pause"
            yield row(seed=seed, m_ft=m, m_inf=int(m), finetune=finetune, checkpoint=checkpoint, settings=settings)


@pytest.mark.parametrize(
    ("axis", "values", "words"),
    [
        ("optimizer.name", ["adamw", "lion"], ["optimizer.name=adamw", "optimizer.name=lion"]),
        ("objective.z_loss", [0.0, 1e-4], ["objective.z_loss=0.0", "objective.z_loss=0.0001"]),
    ],
)
def test_an_axis_that_no_column_knows_makes_arms(axis, values, words):
    """Told apart by its name and value, each compared with the base of its own value."""
    report = report_of(rows_of_axis(axis, values))
    (panel,) = report.panels
    labels = [panel.label(panel.home(arm)) for arm in panel.arms]
    assert sorted(labels) == sorted(
        f"standard pretraining, {m}, {word}" for m in ("no pauses", "10 pauses") for word in words
    )
    assert [(c.cell.arm.settings, c.cell.arm.m_ft, c.base.arm.m_ft) for c in report.comparisons] == [
        (c.base.arm.settings, "10", "0") for c in report.comparisons
    ]
    assert len(report.comparisons) == 2


def test_without_settings_such_rows_cannot_be_told_apart():
    """As in files from before there was the column."""
    rows = rows_of_axis("optimizer.name", ["adamw", "lion"])
    with pytest.raises(UserError, match="differ in nothing but their checkpoints"):
        report_of(dataclasses.replace(r, settings="") for r in rows)

"""The best M: chosen on validation, reported on test, and no effect by choosing alone."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from pause_jax.report.comparisons import Report
from pause_jax.report.statistics import mean_p
from tests.report.result_rows import row, sweep_rows


def rows_of(values, *, split="test", **fields):
    """M → a value a seed."""
    for m, by_seed in values.items():
        for seed, value in enumerate(by_seed):
            finetune = {"finetune": "pause", "m_ft": str(m), "m_inf": m} if m else {}
            yield row(**(finetune | fields), split=split, seed=seed, value=value)


VALIDATION = {0: [50.0, 50.0, 50.0], 2: [53.0, 50.0, 50.0], 10: [51.0, 51.0, 50.5]}
TEST = {0: [40.0, 41.0, 42.0], 2: [99.0, 99.0, 99.0], 10: [41.0, 43.0, 45.0]}


def selection_of(rows):
    (selection,) = Report.of(list(rows)).selections
    return selection


def test_a_choice_by_hand():
    """Means on validation are 50, 51 and 50.83; without the first seed 10 is best, without another 2."""
    selection = selection_of([*rows_of(VALIDATION, split="validation"), *rows_of(TEST)])
    assert (selection.chosen, selection.seeds) == (2, 3)
    assert selection.left_out == {0: 0, 2: 2, 10: 1}
    # 2 beats 10 in a draw where its 3 points of seed 0 outweigh 1, 1 and 0.5: with seed 0 drawn k times 2k points
    # against (seed 1 drawn) + 0.5 (seed 2 drawn). Without seed 0 (8 of 27 draws) 10 is best; with it once (12 of 27)
    # 2 has 3 against 1 + (1 to 2), so that it is best unless seed 1 is drawn twice, when both have 3: the smaller, 2.
    assert selection.bootstrap[2] == pytest.approx(19 / 27, abs=0.04)
    assert selection.bootstrap[0] == 0 and sum(selection.bootstrap.values()) == pytest.approx(1)
    assert selection.test_estimate.mean == 99.0
    assert selection.effect.difference.mean == pytest.approx(58.0)
    assert selection.sentence().startswith("standard pretraining: best M = 2 by validation, chosen in ")
    assert (
        "2 of 3 times with a seed left out; on the test split 99.0, minus no pauses +58.0 points"
        in selection.sentence()
    )
    assert selection.sentence().endswith("3 seeds: no effect can be claimed from fewer than 10.")


def test_nothing_is_chosen_on_test():
    selection = selection_of(rows_of(TEST))
    assert selection.chosen is None and selection.test_estimate is None
    assert "not chosen where there are no results on the validation split" in selection.sentence()
    seeds_apart = [
        dataclasses.replace(r, seed=r.seed + 5) if r.m_ft == "2" else r for r in rows_of(TEST, split="validation")
    ]
    selection = selection_of([*seeds_apart, *rows_of(TEST)])
    assert (
        selection.sentence()
        == "standard pretraining: the best M is not chosen: no seed has every M on the validation split."
    )


def test_no_pauses_may_be_the_best_and_a_tie_goes_to_fewer():
    tie = {0: [50.0, 51.0], 2: [50.0, 51.0], 10: [49.0, 49.0]}
    selection = selection_of([*rows_of(tie, split="validation"), *rows_of(tie)])
    assert selection.chosen == 0 and selection.effect is None
    assert selection.sentence().endswith("on the test split 50.5: no number of pauses was better than none.")


def test_one_seed_and_an_untested_choice_say_so():
    one = selection_of([*rows_of({0: [50.0], 2: [60.0]}, split="validation"), *rows_of({0: [50.0], 2: [40.0]})])
    assert "best M = 2 by validation, from 1 seed, so that it may be chance; on the test split 40.0" in one.sentence()
    assert one.sentence().endswith(
        "minus no pauses -10.0 points, 1 seed: no interval, no effect can be claimed from fewer than 10."
    )
    untested = {m: TEST[m] for m in (0, 10)}
    selection = selection_of([*rows_of(VALIDATION, split="validation"), *rows_of(untested)])
    assert selection.sentence().endswith("not evaluated on the test split.")


def test_families_are_chosen_apart():
    rows = [r for split in ("validation", "test") for r in rows_of(VALIDATION, split=split)]
    rows += [r for split in ("validation", "test") for r in rows_of(TEST, split=split, pretrain="pause")]
    rows += [r for split in ("validation", "test") for r in rows_of({10: [9.0] * 3}, split=split, placement="prepend")]
    rows += [dataclasses.replace(r, task="other", metric="no_choice") for r in rows]  # of errors less is better
    selections = Report.of(rows).selections
    assert [(c.candidates.title, c.chosen) for c in selections] == [
        ("standard pretraining, append", 2),
        ("standard pretraining, prepend", 0),
        ("0 % pauses in pretraining", 2),
    ]


def test_a_true_gain_is_called_and_the_best_m_found():
    selections = Report.of(list(sweep_rows(seeds=10, effect=2.0))).selections
    standard, paused = selections
    assert paused.chosen == 10 and paused.bootstrap[10] > 0.99 and paused.left_out[10] == 10
    assert "a gain beyond the chance of seeds and of choosing" in paused.sentence()
    assert "no effect can be claimed" in standard.sentence() or standard.chosen == 0


def test_choosing_alone_makes_no_effect():
    """Eight equal M on ten seeds, each run good or bad on validation and test alike: an effect in 5 % at most.

    Runs without pauses vary less, which leaves the more to chance in the selection.
    """
    rng, called, naive, reports = np.random.default_rng(4), 0, 0, 150
    template = list(rows_of({m: [0.0] * 10 for m in range(9)}))
    for _ in range(reports):
        runs = [rng.normal(50, 3 if r.m_inf else 0.5) for r in template]
        both = [
            dataclasses.replace(r, split=split, value=run + rng.normal(0, 0.3))
            for split in ("validation", "test")
            for r, run in zip(template, runs, strict=True)
        ]
        selection = selection_of(both)
        said = "beyond the chance" in selection.sentence()
        assert said == (selection.effect is not None and selection.effect.is_significant)
        called += said
        if selection.chosen:
            chosen, baseline = selection.candidates.test[selection.chosen], selection.candidates.test[0]
            naive += mean_p([chosen.values[i] - baseline.values[i] for i in range(10)]) <= 0.05
    assert called <= 0.05 * reports + 3 * math.sqrt(reports * 0.05 * 0.95)
    assert naive > 0.12 * reports  # what a p value that forgets the selection would have called

"""The box at the top: what it answers in each case, and that it claims nothing that the comparisons do not."""

from __future__ import annotations

import dataclasses
import math
import re
from types import SimpleNamespace

import numpy as np
import pytest

from pause_jax.report import answer as answers
from pause_jax.report import power
from pause_jax.report.answer import SHOWN, make_answer
from pause_jax.report.comparisons import Failure, Report
from pause_jax.report.panels import paired_differences
from pause_jax.report.report import print_report, write_report
from tests.report.result_rows import grid_rows, row, sweep_rows, toy_rows
from tests.report.test_comparisons import nested_rows
from tests.report.test_report import Page, without_drawing  # noqa: F401

JITTER = (0.0, 1.0, 2.0, 0.5, 1.5)  # added to the pauses' arm by seed: mean 1, deviation 0.745 over ten seeds


def two_arms(gain, seeds=10, *, spread=1.0, flops=1e12, pretrain="none", **fields):
    """An arm without pauses and one that gains about `gain` points (with JITTER's mean) with 10 pauses."""
    for seed in range(seeds):
        common = {"seed": seed, "pretrain": pretrain} | fields
        yield row(**common, value=40.0 + 3 * (seed % 4), inference_flops=1e6)
        value = 40.0 + 3 * (seed % 4) + gain + spread * JITTER[seed % 5]
        yield row(**common, value=value, finetune="pause", m_ft="10", m_inf=10, model_flops=flops, inference_flops=3e6)


def answer_of(rows, **arguments):
    return make_answer(Report.of(list(rows), **arguments))


def points(answer):
    return {point.heading: " | ".join(point.sentences) for point in answer.points}


def test_a_gain_at_equal_flops_is_a_yes_with_size_cost_and_p():
    answer = answer_of(two_arms(19.0))
    assert answer.verdict == "Yes, at equal training FLOPs."
    told = points(answer)
    assert told["By how much"] == (
        "+20.0 [+19.5, +20.5] points of accuracy on recall_8 (63.9 against 43.9): 10 pauses minus no pauses."
    )
    assert told["At what cost"] == "As many training FLOPs as without pauses; an answer costs 3.00 × as many."
    assert told["How sure"] == (
        "10 seeds (in brackets the 95 % interval), p < 0.0001: a gain beyond the chance of seeds."
    )
    assert told["What to run next"] == "Nothing more is needed for this verdict."
    assert "Without pauses" not in told and "Also" not in told


def test_a_loss_is_a_no_and_both_are_told():
    assert answer_of(two_arms(-21.0)).verdict == "No, they do harm, at equal training FLOPs."
    both = [*two_arms(19.0), *two_arms(-21.0, task="other")]
    assert answer_of(both).verdict == (
        "It depends: they help in 1 and do harm in 1 of 2 comparisons at equal training FLOPs."
    )
    some = [*two_arms(19.0), *two_arms(-1.0, task="other")]
    assert answer_of(some).verdict == (
        "Yes, at equal training FLOPs, in 1 of 2 comparisons; of the rest no effect can be claimed."
    )


@pytest.mark.parametrize("metric", ["loss", "no_choice"])
def test_of_losses_and_errors_less_is_better(metric):
    answer = answer_of(two_arms(-21.0, metric=metric))
    assert answer.verdict.startswith("Yes") and "where less is better" in points(answer)["By how much"]
    assert answer_of(two_arms(19.0, metric=metric)).verdict.startswith("No, they do harm")
    nats = points(answer_of(two_arms(-21.0, metric="loss")))["By how much"]
    assert nats.startswith("-20.000 [-20.533, -19.467] nats of loss")


def test_too_few_seeds_are_told_how_many_more_decide():
    """The toy task's six seeds, at equal FLOPs: +6.0, standard deviation 10.2, so 0.59 deviations."""
    rows = list(toy_rows())
    answer = answer_of(rows)
    assert answer.verdict == "Not known yet: a verdict takes 10 seeds of both arms, and there are 6."
    (_, equal) = Report.of(rows).comparisons
    wanted = power.plan(paired_differences(equal.cell, equal.baseline).values, 2)
    told = points(answer)["What to run next"]
    assert 30 < wanted.units < 50
    assert told.startswith(f"Run {wanted.units - 6} more seeds of both arms, {wanted.units} in all: if the difference")
    assert "p corrected for 2 comparisons" in told
    sure = points(answer_of(two_arms(19.0, seeds=6)))["What to run next"]
    assert sure.startswith("Run 4 more seeds of both arms, 10 in all") and "over 99 % of repetitions." in sure
    one = points(answer_of(two_arms(19.0, seeds=1)))
    assert one["What to run next"] == (
        "Run 9 more seeds of both arms, 10 in all, the fewest for a verdict: 1 seed leaves nothing to plan by."
    )
    alike = points(answer_of(two_arms(19.0, spread=0.0)))["What to run next"]  # ten times +19
    assert alike == "More seeds like these decide nothing, as all differences are one number: another task may."
    hopeless = points(answer_of(two_arms(-0.98, seeds=6)))["What to run next"]
    assert hopeless.startswith("Run 4 more seeds") and hopeless.endswith("takes more than 50.")


def test_enough_seeds_without_an_effect_exclude_what_the_interval_does():
    """JITTER around 0.3 by ±6: mean 0.3, standard deviation 4.47."""
    answer = answer_of(two_arms(0.3 - 6.0, spread=6.0))
    assert answer.verdict == "No effect was found: from 10 seeds none can be claimed at equal training FLOPs."
    half = 2.262 * 6 * np.std(JITTER * 2, ddof=1) / math.sqrt(10)
    told = points(answer)["What to run next"]
    assert told.startswith(f"Differences above {0.3 + half:+.1f} and below {0.3 - half:+.1f} are excluded")
    assert told.endswith("would take more than 50 seeds.")
    larger = points(answer_of(two_arms(3.0 - 6.0, spread=6.0)))["What to run next"]
    fresh = int(re.search(r"(\d+) fresh seeds find it in 8\d % of repetitions", larger)[1])
    d = 3.0 / (6 * np.std(JITTER * 2, ddof=1))
    assert (2.8 / d) ** 2 - 2 <= fresh <= (2.8 / d) ** 2 + 12  # (1.96 + 0.84)² / d² of a normal test, and some more


def test_an_interval_beyond_0_that_is_no_effect_excludes_nothing_of_its_own_sign():
    """Nine comparisons: p = 0.02 alone is 0.18 corrected. The box must not say that losses are excluded."""
    rows = list(two_arms(1.5 - 2.0, spread=2.0))
    for task in "abcdefgh":
        rows += [
            dataclasses.replace(r, value=50 + (r.seed % 3) * (r.m_inf > 0) - (r.m_inf > 0), task=task)
            for r in rows[:20]
        ]
    report = Report.of(rows)
    first = report.comparisons[0]
    assert first.effect.difference.low > 0 and first.effect.p < 0.05 and not first.effect.is_significant
    told = points(make_answer(report))["What to run next"]
    assert f"A: Differences above {first.effect.difference.high:+.1f} are excluded" in told


def test_without_equal_flops_the_missing_arm_is_named_by_its_steps():
    answer = answer_of(r for r in toy_rows() if r.steps == 3000)
    assert answer.verdict == "Not known at equal training FLOPs: no arm without pauses was trained with as many."
    told = points(answer)
    assert told["At what cost"] == (
        "2.48 × the training FLOPs of the arm without pauses; an answer costs 2.05 × as many."
    )
    assert told["What to run next"] == (
        "Train “no pauses” for 2.48 × its steps (7,440 in place of 3,000): as many FLOPs as “24 pauses”; 10 seeds of "
        "both."
    )
    found = answer_of(two_arms(19.0, flops=2e12))
    assert found.verdict.endswith("with as many. At other costs: a gain in 1 of 1 comparisons.")
    assert "yes" not in found.verdict.lower()
    pretrained = points(answer_of(two_arms(19.0, flops=2e12, pretrain="std")))["What to run next"]
    assert "with 2.00 × its training FLOPs, all stages together" in pretrained  # whose steps are not in proportion


def test_costs_that_are_not_known():
    answer = answer_of(dataclasses.replace(r, model_flops=math.nan) for r in two_arms(19.0))
    assert answer.verdict == "Not known at equal training FLOPs: the results do not say what training cost."
    assert points(answer)["At what cost"].startswith("Training FLOPs are not known")


def test_a_control_without_pauses_that_does_as_well_is_named():
    rows = list(two_arms(19.0))
    both_ways = [
        dataclasses.replace(r, attention="prefix_and_pauses", steps=20, value=r.value + 20 + (r.seed % 2) - 0.5)
        for r in rows
        if r.m_inf == 0
    ]
    told = points(answer_of([*rows, *both_ways]))["Without pauses"]
    assert told == (
        "“no pauses, 20 steps, attention prefix_and_pauses” has 63.9 at equal training FLOPs; pauses minus it: +0.0 "
        "[-0.7, +0.7], 10 seeds: by its mean it does as well or better."
    )
    worse = [dataclasses.replace(r, value=r.value - 5) for r in both_ways]
    assert "Without pauses" not in points(answer_of([*rows, *worse]))
    dearer = [dataclasses.replace(r, model_flops=1.2e12) for r in both_ways]
    assert "Without pauses" not in points(answer_of([*rows, *dearer]))
    cheaper = [dataclasses.replace(r, model_flops=5e11) for r in both_ways]
    assert "at 0.50 × the training FLOPs; pauses" in points(answer_of([*rows, *cheaper]))["Without pauses"]
    close = [dataclasses.replace(r, value=r.value - 0.3) for r in both_ways]
    assert "nothing tells the two apart" in points(answer_of([*rows, *close]))["Without pauses"]


def test_pretraining_runs_are_what_is_counted_where_arms_differ_in_them():
    rng = np.random.default_rng(6)
    few = answer_of(nested_rows(rng, runs=3, finetunings=4))
    assert few.verdict == "Not known yet: a verdict takes 10 pretraining runs of both arms, and there are 3."
    assert re.match(r"Run \d+ more pretraining runs of both arms", points(few)["What to run next"])
    untold = answer_of(nested_rows(rng, runs=1, finetunings=4, told=False))
    assert untold.verdict == "Not known: the results do not say from which pretraining runs the arms start."
    assert points(untold)["What to run next"].startswith("Ask launch.evaluate about the runs again")
    whence = {"pretrain_run": "pretrain", "pretrain_seed": "0"}
    shared = answer_of(two_arms(19.0, pretrain="std", **whence))
    assert shared.verdict == "Yes, for what starts from the pretraining runs of these arms, at equal training FLOPs."


@pytest.mark.parametrize(
    ("rows", "verdict", "next_"),
    [
        (
            [row(split="validation"), row(split="validation", finetune="pause", m_ft="2", m_inf=2)],
            "validation",
            "--split",
        ),
        ([row(), row(seed=1)], "no arm has pauses", "m_ft"),
        ([row(finetune="pause", m_ft="2", m_inf=2)], "every arm has pauses", "without pauses, trained with as many"),
        (
            [row(), row(finetune="pause", m_ft="2", m_inf=2, seed=1)],
            "on the same seeds",
            "Both arms with the same seeds",
        ),
        ([], "nothing was measured", "once the failures"),
    ],
)
def test_where_nothing_is_compared_the_box_says_what_is_missing(rows, verdict, next_):
    answer = answer_of(rows, failures=[Failure("a job", "killed")])
    assert answer.verdict.startswith("Not answered:") and verdict in answer.verdict
    assert next_ in points(answer)["What to run next"]
    assert (
        points(answer)["Also"].startswith("1 failure") and "the answer is of what is there." in points(answer)["Also"]
    )


def test_runs_alone_answer_nothing():
    answer = make_answer(Report.of([]), [SimpleNamespace()])
    assert "nothing is claimed from them" in answer.verdict
    assert "python -m launch.evaluate --run=RUN" in points(answer)["What to run next"]


def test_of_many_comparisons_the_significant_come_first_and_the_rest_is_counted():
    rows = list(sweep_rows(seeds=10, effect=3.0, sizes=("4.0k", "130m")))
    report = Report.of([dataclasses.replace(r, model_flops=1e12) for r in rows])
    answer = make_answer(report)
    assert answer.verdict == (
        "Yes, at equal training FLOPs, in 4 of 10 comparisons; of the rest no effect can be claimed."
    )
    sentences = answer.points[0].sentences
    assert [text[:3] for text in sentences] == ["A: ", "B: ", "C: "] and len(sentences) == SHOWN
    assert all("10 % pauses in pretraining" in text for text in sentences)
    assert points(answer)["What to run next"] == "Nothing more is needed for this verdict."  # once for all three
    assert points(answer)["Also"].startswith("7 more comparisons below.")


def test_of_two_metrics_of_one_task_the_box_tells_one():
    rows = list(two_arms(19.0))
    twice = [*rows, *(dataclasses.replace(r, metric="option_accuracy") for r in rows)]
    answer = answer_of(twice)
    assert answer.verdict == "Yes, at equal training FLOPs."
    assert len(answer.points[0].sentences) == 1 and " of accuracy on" in answer.points[0].sentences[0]
    noise = [dataclasses.replace(r, value=50.0 + (r.seed % 3) * r.m_inf) for r in rows]  # by the first: nothing
    other = answer_of([*noise, *(dataclasses.replace(r, metric="option_accuracy") for r in rows)])
    assert " of option_accuracy on" in other.points[0].sentences[0]


def test_the_box_claims_only_where_a_comparison_at_equal_flops_is_significant():
    """Reports with and without a true effect: "Yes" and "No, they do harm" are what the comparisons decide."""
    rng = np.random.default_rng(4)
    template = [r for r in grid_rows(seeds=10) if r.finetune != "none" and r.m_inf in (0, int(r.m_ft))]
    said = []
    for i in range(60):
        gain = (0.0, 6.0, -6.0)[i % 3]
        rows = [dataclasses.replace(r, value=rng.normal(50 + gain * (r.m_inf > 0), 4)) for r in template]
        report = Report.of(rows)
        found = [c for c in report.comparisons if c.effect.is_significant and c.has_equal_flops]
        better = {c.is_better for c in found}
        verdict = answers._verdict(report)  # the plans of what to run next take a second each
        said.append(verdict.split(",")[0].split(":")[0])
        assert (
            said[-1]
            == {
                frozenset(): "No effect was found",
                frozenset({True}): "Yes",
                frozenset({False}): "No",
                frozenset({True, False}): "It depends",
            }[frozenset(better)]
        )
    assert {"No effect was found", "Yes", "No"} <= set(said)


def test_the_page_and_the_terminal_show_it_first_and_in_full(tmp_path, capsys, without_drawing):  # noqa: F811
    report = Report.of(list(toy_rows()))
    answer = make_answer(report)
    page = Page(write_report(report, tmp_path).read_text(encoding="utf-8"))
    print_report(report)
    printed = capsys.readouterr().out
    assert printed.startswith(answer.text()) and max(map(len, answer.text().splitlines())) <= 100
    words, folded = page.words(), " ".join(printed.split())
    for text in (answer.question, answer.verdict, *(s for point in answer.points for s in point.sentences)):
        assert text in words and text in folded
    assert words.index(answer.verdict) < words.index("count_parity_24, accuracy")
    assert page.attributes("div")[0]["class"] == "answer"

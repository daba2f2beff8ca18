"""From a sweep's config to its jobs: how many, what each inherits, what makes two of them one, and mistakes."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from launch import train
from pause_jax import config as configs
from pause_jax.config import Config, FinetuneConfig, PauseConfig
from pause_jax.errors import UserError
from pause_jax.model import counts
from pause_jax.sweeps import graph

RUNS = Path("/sweep/runs")
PRETRAIN = configs.to_dict(Config(pauses=PauseConfig(n_pauses=1)))
FINETUNE = configs.to_dict(
    Config(seed=99, pauses=PauseConfig(n_pauses=1), finetune=FinetuneConfig(task="recall_2", prefix_length=8))
)
TWO_BY_TWO = {
    "pretrain": {"config": PRETRAIN, "axes": (("seed", (0, 1)), ("pauses.rate", (0.0, 0.1)))},
    "finetune": {"config": FINETUNE, "axes": (("finetune.m_ft", ((0,), (10,))),)},
    "evaluate": {"m_inf": (0, 10)},
}


def jobs_of(values):
    return graph.make_jobs(graph.parse(values), RUNS, train.resolve)


def test_two_by_two_over_two_seeds():
    jobs = jobs_of(TWO_BY_TWO)
    assert [job.kind for job in jobs] == ["pretrain"] * 4 + ["finetune"] * 8 + ["evaluate"] * 8
    by_name = {job.name: job for job in jobs}
    assert len(by_name) == 20
    for place, job in enumerate(jobs):
        assert not job.needs or [j.name for j in jobs].index(job.needs) < place
        if job.kind == "finetune":
            before = by_name[job.needs]
            assert job.config.init_from == str(RUNS / before.name)
            assert job.config.seed == before.config.seed and job.config.model == before.config.model
            assert job.config.model.vocab_size == 259
        if job.kind == "evaluate":
            assert job.evaluation.tasks == ("recall_2",) and job.evaluation.m_inf == (0, 10)
    points = {(j.config.seed, by_name[j.needs].config.pauses.rate, j.config.finetune.m_ft) for j in jobs[4:12]}
    assert points == {(seed, rate, m) for seed in (0, 1) for rate in (0.0, 0.1) for m in ((0,), (10,))}


def test_names_say_what_varies():
    names = [job.name for job in jobs_of(TWO_BY_TWO)]
    assert names[1].startswith("pretrain-seed0-rate0.1-")
    assert names[5].startswith("finetune-seed0-rate0.0-m_ft10-")
    assert names[13].startswith(f"evaluate-{names[5]}-")


def test_a_value_added_later_leaves_the_other_jobs_as_they_were():
    more = {**TWO_BY_TWO, "pretrain": {"config": PRETRAIN, "axes": (("seed", (0, 1, 2)), ("pauses.rate", (0.0, 0.1)))}}
    before, after = ({job.name for job in jobs_of(values)} for values in (TWO_BY_TWO, more))
    assert before < after and len(after) == 30


def test_what_changes_a_result_changes_a_name_and_speed_does_not():
    def names(**changes):
        config = {**PRETRAIN, **changes}
        return {job.name for job in jobs_of({"pretrain": {"config": config}})}

    assert names() == names(run={**PRETRAIN["run"], "log_every": 3})
    for changes in (
        {"seed": 5},
        {"train": {"steps": 7, "batch_size": 32}},
        {"optimizer": {**PRETRAIN["optimizer"], "b1": 0.8}},
    ):
        assert not names() & names(**changes)


def test_several_fields_may_move_together():
    arms = (("finetune.m_ft", "train.steps"), (((24,), 30), ((0,), 30), ((0,), 75)))
    jobs = jobs_of({"finetune": {"config": FINETUNE, "axes": (("seed", (1, 2)), arms)}})
    assert len(jobs) == 6 and all(job.needs == "" and job.config.init_from == "" for job in jobs)
    assert [(j.config.seed, j.config.finetune.m_ft, j.config.train.steps) for j in jobs[:3]] == [
        (1, (24,), 30), (1, (0,), 30), (1, (0,), 75),
    ]  # fmt: skip


def test_equal_points_are_one_job():
    assert len(jobs_of({"pretrain": {"config": PRETRAIN, "axes": (("seed", (0, 0, 1)),)}})) == 2


def test_a_model_without_pauses_is_asked_without_them():
    config = configs.to_dict(Config(finetune=FinetuneConfig(task="recall_2", prefix_length=8)))
    jobs = jobs_of({"finetune": {"config": config}, "evaluate": {"m_inf": (0, 10)}})
    assert jobs[1].evaluation.m_inf == (0,)


def test_cost():
    train_job, asked = jobs_of({"finetune": {"config": FINETUNE}, "evaluate": {"m_inf": (0, 10), "limit": 50}})
    steps, batch = Config().train.steps, Config().train.batch_size
    assert graph.flops(train_job) == steps * batch * counts.train_flops(train_job.config.model, 8 + 32 - 1, 32)
    model = asked.config.model
    wanted = 50 * (counts.forward_flops(model, 40) + counts.forward_flops(model, 50))
    assert graph.flops(asked) == pytest.approx(wanted)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"pretrian": {}}, r"config\.pretrian is no stage of a sweep: there are pretrain, uptrain, finetune, evaluate"),
        ({"pretrain": None, "finetune": None}, "the sweep trains nothing"),
        ({"pretrain": {"axes": ()}}, r"config\.pretrain\.config is missing"),
        (
            {"pretrain": {"config": PRETRAIN, "grid": ()}},
            r"config\.pretrain\.grid is no setting of the stage: it has config, axes, filters",
        ),
        (
            {"pretrain": {"config": PRETRAIN, "axes": (("pauses.rtae", (0.1,)),)}},
            r"config\.pretrain\.axes\[0\]: 'pauses\.rtae' is no config field: did you mean 'pauses\.rate'\?",
        ),
        ({"pretrain": {"config": PRETRAIN, "axes": (("seed", 3),)}}, r"axes\[0\] is \('seed', 3\), but must be"),
        ({"pretrain": {"config": PRETRAIN, "axes": (("seed", ()),)}}, r"axes\[0\] must have a point at least"),
        (
            {"pretrain": {"config": PRETRAIN, "axes": ((("seed", "pauses.rate"), ((1,),)),)}},
            r"axes\[0\] must have a point at least, each of 2 value\(s\): seed, pauses\.rate",
        ),
        ({"evaluate": {"m_inf": (0, -1)}}, r"config\.evaluate\.m_inf is \(0, -1\)"),
        ({"evaluate": {"m_inf": 3}}, r"config\.evaluate\.m_inf is 3"),
        ({"evaluate": {"minf": (3,)}}, r"config\.evaluate\.minf is no setting: it has tasks, m_inf"),
        (
            {"pretrain": {"config": PRETRAIN, "axes": (("train.steps", (1, -1)),)}},
            r"config\.pretrain, point steps-1: config\.train\.steps is -1, but must be at least 1",
        ),
        ({"finetune": None}, r"config\.evaluate\.tasks is empty, and the sweep finetunes on none"),
    ],
)
def test_mistakes(change, sentence):
    with pytest.raises(UserError, match=sentence):
        jobs_of({**TWO_BY_TWO, **change})


def test_the_base_is_what_makes_it_this_sweep():
    sweep = graph.parse(TWO_BY_TWO)
    assert sweep.base() == {"pretrain": PRETRAIN, "finetune": FINETUNE}
    assert dataclasses.replace(sweep, evaluate=None).base() == sweep.base()

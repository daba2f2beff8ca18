"""From a sweep's config to its jobs: how many, what each inherits, what makes two of them one, and mistakes."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from pause_jax import config as configs
from pause_jax.config import Config
from pause_jax.errors import UserError
from pause_jax.model import counts
from pause_jax.sweeps import graph
from pause_jax.training import run as train

RUNS = Path("/sweep/runs")


def template(**sections):
    """The defaults with some fields of sections changed; what follows from a size stays open, as in config files."""
    values = configs.default_values()
    values["model"]["num_pause_tokens"] = 1
    for name, fields in sections.items():
        values[name] = values[name] | fields if isinstance(fields, dict) else fields
    return values


PRETRAIN = template()
FINETUNE = template(seed=99, finetune={"task": "recall_2", "max_prompt_length": 8})
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
        assert not job.depends_on or [j.name for j in jobs].index(job.depends_on) < place
        if job.kind == "finetune":
            before = by_name[job.depends_on]
            assert job.config.init_from == str(RUNS / before.name)
            assert job.config.seed == before.config.seed and job.config.model == before.config.model
            assert job.config.model.vocab_size == 259
        if job.kind == "evaluate":
            assert job.evaluation.tasks == ("recall_2",) and job.evaluation.m_inf == (0, 10)
    points = {(j.config.seed, by_name[j.depends_on].config.pauses.rate, j.config.finetune.m_ft) for j in jobs[4:12]}
    assert points == {(seed, rate, m) for seed in (0, 1) for rate in (0.0, 0.1) for m in ((0,), (10,))}


def test_each_stage_has_pauses_or_not_on_its_own():
    """A standard model, finetuned with pauses: the network is the pretraining's, the pauses are not."""
    standard = template(model={"num_pause_tokens": 0})
    jobs = jobs_of({"pretrain": {"config": standard, "axes": ()}, "finetune": {"config": FINETUNE, "axes": ()}})
    assert [job.config.model.num_pause_tokens for job in jobs] == [0, 1]


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
    assert len(jobs) == 6 and all(job.depends_on == "" and job.config.init_from == "" for job in jobs)
    assert [(j.config.seed, j.config.finetune.m_ft, j.config.train.steps) for j in jobs[:3]] == [
        (1, (24,), 30),
        (1, (0,), 30),
        (1, (0,), 75),
    ]


def test_equal_points_are_one_job():
    assert len(jobs_of({"pretrain": {"config": PRETRAIN, "axes": (("seed", (0, 0, 1)),)}})) == 2


def test_a_model_without_pauses_is_asked_without_them():
    config = template(finetune={"task": "recall_2", "max_prompt_length": 8}, model={"num_pause_tokens": 0})
    jobs = jobs_of({"finetune": {"config": config}, "evaluate": {"m_inf": (0, 10)}})
    assert jobs[1].evaluation.m_inf == (0,)


def test_cost():
    train_job, asked = jobs_of({"finetune": {"config": FINETUNE}, "evaluate": {"m_inf": (0, 10), "limit": 50}})
    steps, batch = Config().train.steps, Config().train.batch_size
    row = counts.train_flops(train_job.config.model, 8 + 32 - 1, 32, prefix_lm_length=8)
    assert graph.flops(train_job) == steps * batch * row
    model = asked.config.model
    wanted = 50 * (
        counts.forward_flops(model, 40, prefix_lm_length=8) + counts.forward_flops(model, 50, prefix_lm_length=18)
    )
    assert graph.flops(asked) == pytest.approx(wanted)


SIZES = {"small": {"num_layers": 1, "d_model": 32}, "large": {"num_layers": 3}}
UPTRAINED = {
    "sizes": SIZES,
    "pretrain": {"config": PRETRAIN, "axes": (("size", ("small", "large")), ("pauses.rate", (0.0, 0.1)))},
    "uptrain": {
        "config": {**PRETRAIN, "pauses": {**PRETRAIN["pauses"], "rate": 0.1}},
        "axes": (("budget", (("steps", 10), ("steps", 100))),),
        "filters": {"only": ({"pretrain.pauses.rate": 0.0},)},
    },
    "finetune": {"config": FINETUNE, "axes": (("finetune.m_ft", ((0,), (10,))),)},
    "evaluate": {"m_inf": (0, 10), "splits": ("validation", "test")},
}


def test_sizes_are_those_of_the_model_and_all_jobs_bear_their_names():
    jobs = jobs_of(UPTRAINED)
    assert {job.size for job in jobs} == {"small", "large"}
    for job in jobs:
        model = job.config.model
        assert (model.num_layers, model.d_model) == {"small": (1, 32), "large": (3, 128)}[job.size]
        assert f"-size{job.size}-rate" in job.name
    assert {job.size for job in jobs_of(TWO_BY_TWO)} == {""}


def test_uptraining_goes_between_pretraining_and_finetuning():
    jobs = jobs_of(UPTRAINED)
    kinds = [job.kind for job in jobs]
    assert kinds == ["pretrain"] * 4 + ["uptrain"] * 4 + ["finetune"] * 16 + ["evaluate"] * 16
    by_name = {job.name: job for job in jobs}
    for job in jobs[4:8]:
        before = by_name[job.depends_on]
        assert before.kind == "pretrain" and before.config.pauses.rate == 0.0
        assert job.config.init_from == str(RUNS / before.name) and not job.config.finetune.task
        assert job.config.pauses.rate == 0.1 and job.config.train.steps in (10, 100)
    assert jobs[4].name.startswith("uptrain-sizesmall-rate0.0-steps10-")
    needed = [job.depends_on for job in jobs[8:24]]
    assert {name: needed.count(name) for name in needed} == {job.name: 2 for job in jobs[:8]}
    assert jobs[16].name.startswith("finetune-sizesmall-rate0.0-steps10-m_ft0-")


def test_finetuning_from_the_uptrained_runs_alone():
    uptrain = {**UPTRAINED["uptrain"], "keep_pretrained": False}
    jobs = jobs_of({**UPTRAINED, "uptrain": uptrain})
    assert len(jobs) == 4 + 4 + 8 + 8
    assert {job.depends_on for job in jobs if job.kind == "finetune"} == {job.name for job in jobs[4:8]}


def test_uptraining_may_be_the_last_stage():
    jobs = jobs_of({**UPTRAINED, "finetune": None, "evaluate": {"tasks": ("recall_2",)}})
    assert [job.kind for job in jobs] == ["pretrain"] * 4 + ["uptrain"] * 4 + ["evaluate"] * 8


def test_a_stage_may_choose_by_the_stages_before():
    """Pauses at a prompt only after pauses in pretraining or 100 steps of uptraining."""
    only = (
        {"finetune.m_ft": (0,)},
        {"finetune.m_ft": (10,), "pretrain.pauses.rate": 0.1},
        {"finetune.m_ft": (10,), "uptrain.budget": ("steps", 100)},
    )
    jobs = jobs_of({**UPTRAINED, "finetune": {**UPTRAINED["finetune"], "filters": {"only": only}}})
    chosen = [job for job in jobs if job.kind == "finetune" and job.config.finetune.m_ft == (10,)]
    assert len([job for job in jobs if job.kind == "finetune"]) == 8 + 2 + 2
    before = {job.name: job for job in jobs}
    assert {(before[j.depends_on].kind, before[j.depends_on].config.train.steps) for j in chosen} == {
        ("pretrain", Config().train.steps),
        ("uptrain", 100),
    }


def test_budgets_are_steps_of_each_point():
    """Text tokens: 256 positions, of which 26 of 282 slots are pauses; twice the FLOPs for twice the steps."""
    flops = counts.train_flops(jobs_of({"pretrain": {"config": PRETRAIN}})[0].config.model, 256) * 32
    budgets = (("steps", 5), ("text_tokens", 1e6), ("model_flops", 50 * flops))
    axes = (("pauses.rate", (0.0, 0.1)), ("budget", budgets))
    steps = [job.config.train.steps for job in jobs_of({"pretrain": {"config": PRETRAIN, "axes": axes}})]
    assert steps == [5, int(1e6 / (32 * 256)), 50, 5, int(1e6 / (32 * 256 * 256 / 282)), 50]


def test_an_evaluation_of_two_splits_costs_twice():
    one, two = (
        jobs_of({"finetune": {"config": FINETUNE}, "evaluate": {"splits": splits, "limit": 50}})[1]
        for splits in (("test",), ("validation", "test"))
    )
    assert two.evaluation.splits == ("validation", "test") and one.name != two.name
    assert graph.flops(two) == 2 * graph.flops(one)


def test_where_jobs_run_is_passed_on_and_no_part_of_the_sweep():
    execution = {"executor": "slurm", "slurm": {"partition": "gpu"}, "resources": {"default": {"gpus": 1}}}
    sweep = graph.parse({**TWO_BY_TWO, **execution})
    assert sweep.execution == execution and sweep.identity() == graph.parse(TWO_BY_TWO).identity()
    assert [job.name for job in jobs_of({**TWO_BY_TWO, **execution})] == [job.name for job in jobs_of(TWO_BY_TWO)]


def test_two_points_never_have_one_folder():
    """Learning rates that have no room in the name are told apart by its end; run.* is in no identity, and refused."""
    fields = ("data.length", "data.vocabulary", "optimizer.learning_rate")
    rows = tuple((256, "byte", rate / 1e6) for rate in range(1, 200))
    names = [job.name for job in jobs_of({"pretrain": {"config": PRETRAIN, "axes": ((fields, rows),)}})]
    assert len(set(names)) == 199 and len({name.rpartition("-")[0] for name in names}) == 1
    fields, rows = ("data.length", "data.vocabulary", "run.log_every"), ((256, "byte", 1), (256, "byte", 2))
    with pytest.raises(UserError, match=r"two points of config\.pretrain differ, but both are pretrain-length256-"):
        jobs_of({"pretrain": {"config": PRETRAIN, "axes": ((fields, rows),)}})


def test_names_fit_into_a_file_name():
    axes = tuple((f"data.{name}", ("x" * 300,)) for name in ("task", "data_dir", "text_field", "files", "prepared"))
    values = {"pretrain": {"config": PRETRAIN, "axes": axes[:3]}, "finetune": {"config": FINETUNE, "axes": axes[:4]}}
    jobs = jobs_of({**values, "evaluate": {"m_inf": (0,)}})
    assert 200 < max(len(job.name) for job in jobs) < 250


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
        ({"evaluate": {"splits": "test"}}, r"config\.evaluate\.splits is 'test', but must be names such as"),
        ({"evaluate": {"splits": ()}}, r"config\.evaluate\.splits is empty"),
        ({"sizes": {"small": {"layers": 2}}}, r"config\.sizes\.small\.layers is no field of config\.model"),
        (
            {"pretrain": {"config": PRETRAIN, "axes": (("size", ("small",)),)}},
            r"config\.pretrain\.axes\[0\]: there is no size 'small': config\.sizes is missing",
        ),
        (
            {"pretrain": {"config": PRETRAIN, "axes": (("budget", (("text_tokens", 10),)),)}},
            r"config\.pretrain, point text_tokens10: the budget \('text_tokens', 10\) is less than one step",
        ),
        (
            {
                "finetune": {
                    **TWO_BY_TWO["finetune"],
                    "filters": {"only": ({"pretrain.seed": 0},), "skip": ({"pretrain.pauses.rate": (0.0, 0.1)},)},
                }
            },
            r"config\.finetune\.filters leave no point",
        ),
        (
            {"uptrain": {"config": PRETRAIN}, "pretrain": None},
            r"config\.uptrain continues pretraining runs, but there are none: give config\.pretrain",
        ),
        (
            {"uptrain": {"config": PRETRAIN, "keep_pretrained": 3}},
            r"config\.uptrain\.keep_pretrained is 3, but must be True or False",
        ),
        ({"uptrain": 7}, r"config\.uptrain is 7, but must have config, axes, filters, keep_pretrained"),
        ({"finetune": None}, r"config\.evaluate\.tasks is empty, and the sweep finetunes on none"),
    ],
)
def test_mistakes(change, sentence):
    with pytest.raises(UserError, match=sentence):
        jobs_of({**TWO_BY_TWO, **change})


def test_the_base_is_what_makes_it_this_sweep():
    sweep = graph.parse(TWO_BY_TWO)
    assert sweep.identity() == {"pretrain": PRETRAIN, "finetune": FINETUNE}
    assert dataclasses.replace(sweep, evaluate=None).identity() == sweep.identity()

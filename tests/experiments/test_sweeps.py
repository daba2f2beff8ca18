"""The shipped sweeps: each edition makes its graph, of the jobs that its docstring promises; equal FLOPs are equal."""

from __future__ import annotations

import functools
import importlib.util
from collections import Counter
from pathlib import Path

import pytest

from experiments import sweeps
from pause_jax.errors import UserError
from pause_jax.model import counts
from pause_jax.sweeps import budgets, graph, verdicts
from pause_jax.training import run as train

FOLDER = Path(sweeps.__file__).parent
RUNS = Path("/sweep/runs")
LAPTOP_FLOPS = 30 * 5.844e12  # an hour of two cores: the quickstart's 500 steps take two minutes
EDITIONS = [
    # file, edition, jobs that pretrain, uptrain and finetune
    ("paper_grid", "", 4 * 5, 0, 4 * 9 * 3 * 5),
    ("paper_grid", "laptop", 4 * 3, 0, 4 * 3 * 3 * 3),
    ("pause_count", "", 2, 0, 2 * 9 * 6 * 5),
    ("pause_count", "laptop", 2, 0, 2 * 3 * 5 * 3),
    ("placement", "", 2 * 5, 0, 6 * (7 + 5) * 5),
    ("placement", "laptop", 2 * 3, 0, 3 * (7 + 5) * 3),
    ("robustness", "", 2 * 5, 0, 2 * 3 * 4 * 5),
    ("robustness", "laptop", 2 * 3, 0, 2 * 1 * 4 * 3),
    ("flop_matched", "", 4 * 5, 0, (3 + 3 + 1 + 1) * 5),
    ("flop_matched", "laptop", 4 * 3, 0, (3 + 3 + 1 + 1) * 3),
    ("uptraining", "", 4 * 5, 16 * 5, 20 * 3 * 2 * 5),
    ("uptraining", "laptop", 4 * 3, 16 * 3, 20 * 1 * 2 * 3),
]
SHIPPED = sorted({name for name, *_ in EDITIONS})


def get_config(name, arg):
    """What the config file returns, loaded by its path, as --config does."""
    spec = importlib.util.spec_from_file_location(f"sweep_{name}", FOLDER / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert f"--config=experiments/sweeps/{name}.py --workdir=runs/{name}" in module.__doc__
    assert f"--config=experiments/sweeps/{name}.py:laptop --workdir=runs/{name}" in module.__doc__
    return module.get_config(arg).to_dict()


@functools.cache
def jobs_of(name, arg):
    return graph.make_jobs(graph.parse(get_config(name, arg)), RUNS, train.resolve)


@pytest.mark.parametrize(("name", "arg", "pretrain", "uptrain", "finetune"), EDITIONS)
def test_the_graph(name, arg, pretrain, uptrain, finetune):
    jobs = jobs_of(name, arg)
    wanted = {"pretrain": pretrain, "uptrain": uptrain, "finetune": finetune, "evaluate": finetune}
    assert Counter(job.kind for job in jobs) == {kind: count for kind, count in wanted.items() if count}
    seen, sizes = {""}, graph.parse(get_config(name, arg)).sizes
    for job in jobs:
        assert job.depends_on in seen and job.size in sizes
        seen.add(job.name)
    flops = sum(graph.flops(job) for job in jobs)
    assert flops < LAPTOP_FLOPS if arg else flops > 1e21


@pytest.mark.parametrize("name", SHIPPED)
def test_other_arguments_are_refused(name):
    with pytest.raises(UserError, match=rf"experiments/sweeps/{name}\.py:big does not exist: give :laptop, or nothing"):
        get_config(name, "big")


def test_both_editions_vary_the_same():
    def varied(name, arg):
        sweep = graph.parse(get_config(name, arg))
        stages = {kind: getattr(sweep, kind) for kind in graph.TRAINING}
        return {kind: set(stage.points.values()) for kind, stage in stages.items() if stage is not None}

    for name in SHIPPED:
        assert varied(name, "") == varied(name, "laptop")


def test_the_papers_grid_has_the_papers_hyperparameters():
    """Table 3 and 4: GSM8k at 1B and at 130M; the size of the pretraining run decides."""
    runs = [j for j in jobs_of("paper_grid", "") if j.kind == "finetune" and j.config.finetune.task == "gsm8k"]
    found = {(j.size, j.config.train.steps, j.config.train.batch_size, j.config.optimizer.warmup_steps) for j in runs}
    assert found == {("1b", 20_000, 16, 200), ("130m", 7500, 16, 75)}
    assert {job.config.finetune.m_ft for job in runs} == {(0,), (10,), (50,)}
    pretraining = {
        (j.size, j.config.optimizer.learning_rate) for j in jobs_of("paper_grid", "") if j.kind == "pretrain"
    }
    assert pretraining == {("130m", 6e-4), ("1b", 2e-4)}


@pytest.mark.parametrize("arg", ["", "laptop"])
def test_periods_follow_standard_pretraining_only(arg):
    jobs = {job.name: job for job in jobs_of("placement", arg)}
    rates = Counter(
        (job.config.finetune.placement, jobs[job.depends_on].config.pauses.rate)
        for job in jobs.values()
        if job.kind == "finetune" and job.config.finetune.m_ft != (0,)
    )
    assert set(rates) == {("append", 0.0), ("append", 0.1), ("prepend", 0.0), ("prepend", 0.1), ("filler", 0.0)}
    assert len(set(rates.values())) == 1


@pytest.mark.parametrize("arg", ["", "laptop"])
def test_equal_flops(arg):
    """Of pretraining; of finetuning, but for the arm of equal steps; and of reading a row, within 5 %."""
    jobs = jobs_of("flop_matched", arg)

    def trained(kind):
        return [job for job in jobs if job.kind == kind]

    pretraining = [graph.flops(job) for job in trained("pretrain")]
    assert max(pretraining) <= 1.05 * min(pretraining) and len({j.config.model for j in trained("pretrain")}) == 3
    with_pauses = [job for job in trained("finetune") if max(job.config.finetune.m_ft)]
    (steps,) = {job.config.train.steps for job in with_pauses}
    usual = with_pauses[0].size
    equal_steps = [job for job in trained("finetune") if job.config.train.steps == steps and job not in with_pauses]
    assert {job.size for job in equal_steps} == {usual} and len(equal_steps) == len(with_pauses)
    others = [graph.flops(job) for job in trained("finetune") if job not in equal_steps]
    assert max(others) <= 1.05 * min(others)
    assert max(map(graph.flops, equal_steps)) < 0.95 * min(others)

    reading = {}
    for job in trained("finetune"):
        key = job.size, job.config.finetune.m_ft
        reading[key] = counts.forward_flops(job.config.model, job.config.length)
    paused = reading.pop((usual, with_pauses[0].config.finetune.m_ft))
    plain = reading.pop((usual, (0,)))
    assert {size for size, _ in reading} == {"wider", "deeper"}
    assert all(0.95 <= flops / paused <= 1.05 for flops in reading.values())
    assert plain < 0.95 * paused


@pytest.mark.parametrize("arg", ["", "laptop"])
def test_uptraining_is_1_to_10_percent_of_standard_pretraining(arg):
    jobs = {job.name: job for job in jobs_of("uptraining", arg)}
    shares = Counter()
    for job in jobs.values():
        if job.kind == "uptrain":
            before = jobs[job.depends_on]
            assert before.config.pauses.rate == 0.0 and job.config.model.num_pause_tokens == 1
            ratio = job.config.optimizer.learning_rate / before.config.optimizer.learning_rate
            assert ratio == 0.5 and job.config.optimizer.warmup_steps < before.config.train.steps / 100
            shares[round(100 * job.config.train.steps / before.config.train.steps), job.config.pauses.rate] += 1
    seeds = (sweeps.LAPTOP if arg else sweeps.PAPER).seeds
    assert shares == {(percent, rate): 2 * seeds for percent in (1, 2, 5, 10) for rate in (0.0, 0.1)}


@pytest.mark.parametrize("name", SHIPPED)
def test_arms_that_differ_in_pretraining_have_several_runs_of_it(name):
    """Each finetuning's seed is its pretraining run's, but where all start from one."""
    jobs = {job.name: job for job in jobs_of(name, "laptop")}
    seeds = Counter(
        (jobs[job.depends_on].config.seed, job.config.seed) for job in jobs.values() if job.kind == "finetune"
    )
    wanted = {(0 if name == "pause_count" else seed, seed) for seed in range(sweeps.LAPTOP.seeds)}
    assert set(seeds) == wanted and len(set(seeds.values())) == 1
    said = verdicts.sentence(list(jobs.values()))
    if name == "pause_count":
        one = "all of one pretraining run of each size, which it is then a verdict of"
        assert said == f"a verdict takes 10 seeds an arm: there are 3, {one}"
    else:
        takes = "a verdict takes 10 pretraining runs an arm, however often each is finetuned"
        assert said == f"arms differ in pretraining: {takes}; there are 3"


def test_another_number_of_seeds():
    ten = [job for job in jobs_of("paper_grid", "laptop,10") if job.kind == "pretrain"]
    assert len(ten) == 4 * 10
    assert len([job for job in jobs_of("robustness", "7") if job.kind == "pretrain"]) == 2 * 7


def test_a_random_number_of_pauses_has_none_among_them():
    lists = {job.config.finetune.m_ft for job in jobs_of("robustness", "") if job.kind == "finetune"}
    assert lists == {(0,), (10,), (50,), (0, 2, 5, 10, 25, 50)}
    asked = [job.evaluation for job in jobs_of("robustness", "") if job.kind == "evaluate"]
    assert {e.m_inf for e in asked} == {(0, 2, 5, 10, 25, 50)} and {e.splits for e in asked} == {("validation", "test")}


@pytest.mark.slow
def test_laptop_prompts_and_targets_fit():
    """All of them: nothing of a synthetic task is cut, and its end is one position more."""
    from pause_jax.tasks import synthetic

    for task, recipe in sweeps.LAPTOP.tasks.items():
        family, _, n = task.rpartition("_")
        prompts, targets, _ = synthetic.texts(family, int(n), "test")
        assert max(map(len, prompts)) == recipe.max_prompt_length and max(map(len, targets)) + 1 == recipe.target_length


def test_flops_of_a_budget_are_those_of_the_steps():
    for job in jobs_of("flop_matched", "laptop"):
        if job.kind == "finetune" and max(job.config.finetune.m_ft):
            assert graph.flops(job) == 300 * budgets.flops_per_step(job.config)


def test_the_docs_say_what_each_costs():
    rows = [line for line in (FOLDER.parents[1] / "docs" / "sweeps.md").read_text().splitlines() if line[:3] == "| `"]
    cells = {row.split("`")[1]: [cell.strip() for cell in row.split("|")[3:5]] for row in rows}
    for name, arg, *runs in EDITIONS:
        flops = sum(graph.flops(job) for job in jobs_of(name, arg))
        cost = f"{sum(runs)}, {flops:.1e}".replace("e+", "e")
        minutes = f", {60 * flops / LAPTOP_FLOPS:.0f}" if arg else ""
        assert cells[name][bool(arg)] == cost + minutes, (name, arg)

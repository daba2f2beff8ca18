"""The sweeps behind what is claimed, and those of uptraining: their graphs, and that their arms are what they say."""

import dataclasses
import functools
import importlib.util
from collections import Counter
from pathlib import Path

import pytest

from experiments.uptrain import imported
from pause_jax.checkpointing.run_folder import RunFolder
from pause_jax.config import Config, MeshConfig, from_config_dict
from pause_jax.config.model import Execution, ModelConfig
from pause_jax.errors import UserError
from pause_jax.sweeps import budgets, graph
from pause_jax.system import local_chips
from pause_jax.training.run import resolve

ROOT = Path(__file__).parents[2] / "experiments"
LAPTOP_FLOPS = 6e13  # 150 CPU minutes: two cores did the 1.25e13 of experiments/sweeps/laptop.py in 15 minutes
JOBS = {  # file → argument, jobs that pretrain, uptrain and finetune
    "science/demonstration": ("6", 0, 0, 6 * 4),
    "science/controls": ("3", 0, 0, 3 * 4),
    "science/larger_network": ("3", 0, 0, 3 * 3),
    "science/pause_count_by_length": ("3", 0, 0, 3 * 2 * 4),
    "science/pause_count_by_length_long": ("3", 0, 0, 3 * 3 * 5),
    "science/positions": ("3", 0, 0, 3 * 3 * 2),
    "science/hints": ("6", 0, 0, 6 * 3),
    "science/question_last_hints": ("6", 0, 0, 6 * 5),
    "science/operations_per_position": ("3", 0, 0, 3 * 4 * 3),
    "science/where_pauses_do_nothing": ("3", 0, 0, 3 * 5 * 2),
    "science/question_last": ("3", 0, 0, 3 * 2 * 3),
    "science/curriculum": ("10", 10 * 2, 10 * 2, 10 * 2),
    "science/pretraining": ("6", 12, 0, 12 * 2),
    "science/wikipedia": ("3", 3 * 3 * 3, 0, 0),
    "uptrain/small": ("3", 3, 9, 3 * 4 * 2),
}


@functools.cache
def jobs_of(name, argument=None):
    file = ROOT / f"{name}.py"
    spec = importlib.util.spec_from_file_location(file.stem, file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert f"--config=experiments/{name}.py --workdir=runs/" in " ".join(module.__doc__.replace("\\", "").split())
    sweep = module.get_config(argument or JOBS[name][0]).to_dict()
    return graph.make_jobs(graph.parse(sweep), Path("runs"), resolve)


def jobs_of_a_seed(name, kind="finetune", seed=10):
    return [job for job in jobs_of(name) if job.kind == kind and job.config.seed == seed]


def test_every_file_is_in_the_list():
    files = {f"science/{file.stem}" for file in (ROOT / "science").glob("*.py") if file.stem != "__init__"}
    assert files | {"uptrain/small"} == set(JOBS)


@pytest.mark.parametrize("name", JOBS)
def test_the_graph(name):
    _, pretrain, uptrain, finetune = JOBS[name]
    wanted = {"pretrain": pretrain, "uptrain": uptrain, "finetune": finetune, "evaluate": finetune}
    assert Counter(job.kind for job in jobs_of(name)) == {kind: count for kind, count in wanted.items() if count}
    assert sum(map(graph.flops, jobs_of(name))) < LAPTOP_FLOPS * (3 if name == "science/wikipedia" else 1)  # wide: fast


def test_without_hints_there_are_no_fewer_flops_than_with_hints_on_pauses():
    jobs = jobs_of_a_seed("science/hints")
    flops = {job.config.finetune.hints: graph.flops(job) for job in jobs}
    assert 1 <= flops["none"] / flops["pauses"] < 1.05 and flops["prompt"] < flops["pauses"]


def test_no_arm_without_pauses_has_fewer_flops_than_late_hints_on_pauses():
    with_hints, pauses_alone, *without = jobs = jobs_of_a_seed("science/question_last_hints")
    assert [job.config.finetune.m_ft for job in jobs] == [(13,), (13,), (0,), (0,), (0,)]
    assert with_hints.config.train.steps == pauses_alone.config.train.steps
    assert all(1 <= graph.flops(job) / graph.flops(with_hints) < 1.05 for job in without)


def test_late_hints_again_has_two_of_its_arms_on_other_seeds():
    again, first = (
        [job.config for job in jobs_of("science/question_last_hints", argument) if job.kind == "finetune"]
        for argument in ("again", "6")
    )
    assert {config.seed for config in again} == set(range(16, 26)) and len(again) == 2 * 10
    arms = [{dataclasses.replace(config, seed=0) for config in configs} for configs in (again, first)]
    assert len(arms[0]) == 2 and arms[0] < arms[1]
    assert {config.finetune.hints for config in arms[0]} == {"pauses", "none"}


@pytest.mark.parametrize("task", ["program_8", "walk_back_3"])
def test_the_last_arm_of_late_has_no_fewer_flops_than_pauses(task):
    jobs = jobs_of_a_seed("science/question_last")
    pauses, same_steps, same_flops = (job for job in jobs if job.config.finetune.task == task)
    assert pauses.config.train.steps == same_steps.config.train.steps and same_flops.config.finetune.m_ft == (0,)
    assert 1 <= graph.flops(same_flops) / graph.flops(pauses) < 1.15


def test_an_arm_of_the_curriculum_is_the_same_in_all_stages():
    jobs = {job.name: job for job in jobs_of("science/curriculum")}
    chains = [
        (jobs[jobs[job.depends_on].depends_on], jobs[job.depends_on], job)
        for job in jobs.values()
        if job.kind == "finetune"
    ]
    arms, flops = Counter(), Counter()
    for chain in chains:
        assert [job.config.finetune.task for job in chain] == [f"count_parity_{bits}" for bits in (8, 16, 24)]
        assert len({(job.config.finetune.m_ft, job.config.seed, job.config.model) for job in chain}) == 1
        pauses = chain[0].config.finetune.m_ft[0]
        arms[pauses, sum(job.config.train.steps for job in chain)] += 1
        flops[pauses] += sum(map(graph.flops, chain))
    assert arms == {(24, 3000): 10, (0, 7200): 10}
    assert 1 <= flops[0] / flops[24] < 1.05


def test_arms_of_wikipedia_are_matched():
    """Of each size: with pauses, without at equal positions, and without at equal text tokens, to one step's."""
    runs = [job.config for job in jobs_of("science/wikipedia") if (job.config.seed, job.size) == (0, "100k")]
    (pauses,) = (config for config in runs if config.pauses.rate)
    without = sorted((config for config in runs if not config.pauses.rate), key=lambda config: config.train.steps)
    assert [config.train.steps for config in without] == [200, pauses.train.steps]
    text = [budgets.text_tokens_per_step(config) * config.train.steps for config in (pauses, without[0])]
    assert abs(text[0] - text[1]) <= budgets.text_tokens_per_step(without[0])


def test_arms_of_uptraining_are_matched():
    """Equal FLOPs of the first two; equal text tokens, to one step's, of the first and the last."""
    jobs = jobs_of_a_seed("uptrain/small", kind="uptrain", seed=0)
    jobs.sort(key=lambda job: (-job.config.model.num_pause_tokens, -job.config.train.steps))
    assert graph.flops(jobs[0]) == graph.flops(jobs[1])
    pauses, control, control_text = (job.config for job in jobs)
    text = [budgets.text_tokens_per_step(config) * config.train.steps for config in (pauses, control_text)]
    assert abs(text[0] - text[1]) <= budgets.text_tokens_per_step(control_text)
    assert (pauses.pauses.init, pauses.optimizer.pause_only_steps, control.optimizer.pause_only_steps) == (
        "mean",
        10,
        0,
    )


def test_uptraining_of_an_imported_model_has_its_network(tmp_path, monkeypatch):
    model = ModelConfig(vocab_size=259, num_layers=1, d_model=16, num_heads=2, d_ff=16, max_positions=64)
    RunFolder(tmp_path).claim(
        Config(model=model, data=dataclasses.replace(Config().data, length=64)), {"vocabulary": ""}
    )
    config = from_config_dict(imported.get_config(str(tmp_path)))
    assert (
        config.model == dataclasses.replace(model, num_pause_tokens=1)
        and config.init_from == str(tmp_path)
        and config.data.length == 64
    )
    assert (config.model.num_pause_tokens, config.pauses.init) == (1, "mean")
    assert from_config_dict(imported.get_config(f"{tmp_path},control")).model.num_pause_tokens == 0
    assert config.run == Config().run  # as on any CPU
    monkeypatch.setattr(local_chips, "of_this_machine", lambda: local_chips.Chips("gpu", ("0", "1")))
    on_gpus = from_config_dict(imported.get_config(str(tmp_path)))
    assert dataclasses.replace(on_gpus, run=config.run) == config
    assert on_gpus.run.mesh == MeshConfig(data=1, fsdp=-1) and on_gpus.run.loss_chunk == 128
    assert on_gpus.run.execution == Execution()
    for wrong in ("", f"{tmp_path},both"):
        with pytest.raises(UserError, match="give the run to start from and one of pauses, control, control_text"):
            imported.get_config(wrong)

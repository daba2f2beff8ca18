"""The paper's finetuning: its tables typed off once more, lengths that fit real prompts, and a run of it in small."""

from __future__ import annotations

import dataclasses

import pytest

from experiments import finetune, paper, quickstart
from pause_jax.config import from_config_dict
from pause_jax.errors import UserError
from pause_jax.report.results import add_results, read_results
from pause_jax.training import run as train
from tests.evaluations import evaluate

# Tables 3 and 4: learning rate, warm-up, steps, batch size of 1B, then of 130M.
TABLES = """
squad_v1       1e-4 100 10000 256   1e-4 400 40000  16
gsm8k          1e-4 200 20000  16   1e-4  75  7500  16
commonsenseqa  5e-5 100  4000  16   5e-5 100  6000  16
lambada        5e-5  40  2800  16   5e-5  40  1400  16
webquestions   5e-4 200  2000  16   5e-4 200  2000  16
nq_open        1e-4 100  5000 256   5e-4 100  5000 256
coqa           5e-5  75  3500  16   1e-4  75  3500  16
piqa           1e-6  50   600  32   1e-6  50   600  32
hellaswag      5e-6 100  1000  16   1e-6 100  1000  16
"""
ROWS = {task: list(map(float, numbers)) for task, *numbers in map(str.split, TABLES.strip().splitlines())}


def loaded(task, arg):
    """What the config file returns for a task."""
    return from_config_dict(finetune.get_config(f"{task},{arg}"))


def test_all_tasks_are_there_and_named():
    assert list(finetune.TASKS) == list(ROWS)
    assert f": {', '.join(ROWS)}." in " ".join(finetune.__doc__.split())
    assert from_config_dict(finetune.get_config()) == loaded("gsm8k", "130m")


@pytest.mark.parametrize("task", ROWS)
def test_the_papers_numbers(task):
    for size, numbers in (("1b", ROWS[task][:4]), ("130m", ROWS[task][4:])):
        config = loaded(task, f"{size},m_ft=50")
        optimizer, steps = config.optimizer, config.train
        assert [optimizer.learning_rate, optimizer.warmup_steps, steps.steps, steps.batch_size] == numbers
        assert (optimizer.schedule, optimizer.weight_decay) == ("constant", 0.0)
        assert (config.finetune.task, config.finetune.m_ft, config.finetune.placement) == (task, (50,), "append")
        pretraining = from_config_dict(paper.get_config(size))
        assert config.model == pretraining.model and config.model.dtype == "bfloat16"
        assert config.pauses == dataclasses.replace(pretraining.pauses, rate=0.0)
        assert config.length <= config.model.max_positions == 2130
    toy = loaded(task, "toy,m_ft=0")
    assert toy.model == from_config_dict(quickstart.get_config("pause")).model
    assert toy.finetune.m_ft == (0,) and toy.model.num_pause_tokens == 1
    assert toy.finetune.max_prompt_length == 4 * config.finetune.max_prompt_length  # bytes
    assert loaded(task, "toy").finetune.m_ft == (10,)


@pytest.mark.parametrize("arg", ["", "gsm9k,toy", "toy", "130m,gsm8k"])
def test_other_tasks_are_refused(arg):
    with pytest.raises(
        UserError, match=rf"finetune\.py:{arg} does not exist: choose a task of squad_v1, gsm8k"
    ) as told:
        finetune.get_config(arg)
    assert str(told.value).endswith("did you mean 'gsm8k'?") == (arg == "gsm9k,toy")


@pytest.mark.parametrize(
    "arg", ["", "2b", "toy,", "toy,m_ft=", "toy,m_ft=-1", "toy,m_ft=x", "toy,m_ft=1,m_ft=2", "m_ft=1"]
)
def test_other_arguments_are_refused(arg):
    with pytest.raises(
        UserError, match=f"experiments/finetune.py:gsm8k,{arg} does not exist: choose toy, 130m or 1b as its size"
    ):
        finetune.get_config(f"gsm8k,{arg}")


@pytest.mark.slow
@pytest.mark.parametrize("task", ROWS)
def test_the_lengths_cut_at_most_one_in_a_hundred_and_the_docs_show_it(data_dir, task):
    """Of the training part, or where its file is not at hand of the test; and no length is far more than that takes."""
    from docs import write_tasks
    from pause_jax.data import preview

    config = write_tasks.config_of(task, str(data_dir), str(data_dir / "tokenizers" / "t5.spiece.model"))
    examples, part = write_tasks.examples_of(config)
    assert max(preview.cut_shares(examples, config.finetune)) <= 0.01
    lengths = {
        "max_prompt_length": config.finetune.max_prompt_length // 2,
        "target_length": config.finetune.target_length // 4,
    }
    assert min(preview.cut_shares(examples, dataclasses.replace(config.finetune, **lengths))) > 0.01
    section = write_tasks.section(config, examples, part)
    assert section in write_tasks.PAGE.read_text(), "docs/tasks.md is stale: run `python -m docs.write_tasks`"
    assert section.count("⟦") == 2 * section.count("=== example") == 6
    assert section.count("‹pause›") == 30


@pytest.mark.slow
@pytest.mark.parametrize(("task", "metrics"), [("gsm8k", ("accuracy", "rouge1")), ("squad_v1", ("em", "f1"))])
def test_finetune_without_and_with_pauses_then_evaluate(data_dir, tmp_path, task, metrics):
    """docs/tasks.md's commands with fewer steps and examples: every M_ft, M_inf and metric has its row."""
    for m_ft in (0, 10):
        config = loaded(task, f"toy,m_ft={m_ft}")
        config = dataclasses.replace(
            config,
            data=dataclasses.replace(config.data, data_dir=str(data_dir)),
            model=dataclasses.replace(config.model, num_layers=1),
            finetune=dataclasses.replace(config.finetune, max_prompt_length=64, target_length=24),
            train=dataclasses.replace(config.train, steps=2),
        )
        run = tmp_path / f"m{m_ft}"
        assert train.run_training(train.resolve(config), run) == "finished"
        evaluation = evaluate(run, [task], [0, 2, 5, 10, 25, 50], batch_size=4, limit=4)
        add_results(tmp_path / "results.csv", evaluation.results)
    rows = {(row.m_ft, row.m_inf, row.metric) for row in read_results(tmp_path / "results.csv")}
    assert rows == {(ft, m, name) for ft in ("0", "10") for m in (0, 2, 5, 10, 25, 50) for name in metrics}

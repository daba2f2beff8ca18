"""WORKSPACE.md's recipe for a downstream task, followed to the letter: its code, and its commands."""

from __future__ import annotations

import importlib
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import seqio

from pause_jax import tasks
from pause_jax.config import DataConfig, FinetuneConfig
from pause_jax.data import finetuning
from pause_jax.report.results import read_results
from pause_jax.tasks import official, seqio_examples
from tests.data.configs import config_of

ROOT = Path(__file__).parents[2]
RECIPE = (ROOT / "WORKSPACE.md").read_text().split("### A downstream task")[1].split("\n## ")[0]
(CODE,) = re.findall(r"```python\n(.*?)```", RECIPE, re.DOTALL)
(COMMANDS,) = re.findall(r"```\n(python -m .*?)```", RECIPE, re.DOTALL)


def write_data(folder: Path) -> None:
    (folder / "tenth").mkdir(parents=True)
    for split, count in (("train", 40), ("test", 8)):
        lines = [json.dumps({"question": f"{split} {i} + 1?", "answer": str(i + 1)}) for i in range(count)]
        (folder / "tenth" / f"{split}.jsonl").write_text("\n".join(lines) + "\n")


@pytest.fixture
def tenth(tmp_path, monkeypatch):
    """The task, registered as a module in `_MODULES` is; gone afterwards."""
    (tmp_path / "tenth.py").write_text(CODE)
    monkeypatch.setattr(tasks, "__path__", [*tasks.__path__, str(tmp_path)])
    importlib.import_module("pause_jax.tasks.tenth")
    yield
    del sys.modules["pause_jax.tasks.tenth"], official._SOURCES["tenth"]
    seqio.TaskRegistry.remove("tenth")


def test_its_examples_become_rows(tenth, tmp_path):
    write_data(tmp_path / "data")
    data, config = DataConfig(data_dir=str(tmp_path / "data")), FinetuneConfig(task="tenth", m_ft=(2,))
    assert "tenth" in tasks.known()
    task = finetuning.open_task(data, config)
    assert len(task.train) + len(task.validation) == 40 and len(task.validation) > 0
    run = config_of(num_pause_tokens=1, data=data, finetune=config, vocab_size=259, batch_size=4)
    batch = next(finetuning.train_batches(task.train, run, task.filler_id, range(4)))
    row = bytes(i - 3 for i in batch["inputs"][0].tolist() if 3 <= i < 259).decode()
    assert re.fullmatch(r"Question: train (\d+) \+ 1\?\nAnswer: \d+", row)
    assert (batch["inputs"] == 259).sum() == 8
    examples = seqio_examples.read_examples("tenth", vocabulary="byte", split="test", data_dir=data.data_dir)
    assert (examples.texts[7], examples.targets[7]) == ("Question: test 7 + 1?\nAnswer:", {"answers": ["8"]})
    (metric,) = examples.predict_metrics
    assert metric(examples.targets, ["8"] * 8) == {"em": 12.5, "f1": 12.5}


@pytest.mark.slow
def test_its_commands(tmp_path):
    """In a copy of the code, with a smaller network and two steps."""
    for folder in ("pause_jax", "launch", "experiments"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    write_data(tmp_path / "data")
    (tmp_path / "pause_jax/tasks/tenth.py").write_text(CODE)
    package = tmp_path / "pause_jax/tasks/__init__.py"
    package.write_text(re.sub(r"(?<=\n_MODULES = \()", '"tenth", ', package.read_text()))
    smaller = {
        "train": [
            "--config.train.steps=2",
            "--config.model.num_layers=1",
            "--config.model.d_model=16",
            "--config.train.batch_size=8",
            "--config.run.validation_batches=1",
        ],
        "evaluate": ["--batch_size=8"],
    }
    printed = {}
    for command in COMMANDS.strip().splitlines():
        arguments = command.removeprefix("python -m ").split()
        program = arguments[0].removeprefix("launch.")
        done = subprocess.run(
            [sys.executable, "-m", *arguments, *smaller.get(program, [])],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=400,
        )
        assert done.returncode == 0, done.stderr
        printed[program] = done.stdout
    assert printed["prepare"].count("=== example") == 3 and "⟦Question: train" in printed["prepare"]
    rows = {(row.m_ft, row.m_inf, row.metric, row.n_examples) for row in read_results(tmp_path / "results.csv")}
    assert rows == {("10", m, metric, 8) for m in (0, 10) for metric in ("em", "f1")}

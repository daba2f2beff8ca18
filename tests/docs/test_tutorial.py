"""docs/tutorial.md: its commands run one after the other, as they are printed, on a small text."""

from __future__ import annotations

import os
import re

import pytest

from tests.programs import Forked
from tests.published_commands import ROOT, commands_in

PAGE = ROOT / "docs" / "tutorial.md"
SMALL = ("num_layers=1", "d_model=16", "num_heads=2", "d_ff=16", "max_positions=64")
PRETRAIN = (*(f"model.{field}" for field in SMALL), "data.length=64", "train.batch_size=4")
STEPS = ("train.steps=4", "run.validate_every=2", "run.validation_batches=1", "run.log_every=2")


def shortened(module, arguments):
    """What is added to a command so that it takes seconds: a small network, few steps, few examples."""
    if module == "launch.train" and not any("init_from" in argument for argument in arguments):
        return [f"--config.{field}" for field in (*PRETRAIN, *STEPS)]
    if module == "launch.train":
        return [f"--config.{field}" for field in STEPS]
    if module == "launch.evaluate":
        return ["--limit=16"]
    if module == "launch.diagnose":
        return ["--examples=4"]
    if module == "launch.sweep":
        pretrain = [f"--config.pretrain.config.{field}" for field in (*PRETRAIN, *STEPS)]
        return [*pretrain, *(f"--config.finetune.config.{field}" for field in STEPS), "--config.evaluate.limit=16"]
    return []


@pytest.mark.slow
@pytest.mark.timeout(1800)  # two minutes on two cores that do nothing else
def test_the_tutorial(tmp_path):
    (tmp_path / "experiments").symlink_to(ROOT / "experiments")
    (tmp_path / "texts").mkdir()
    for name in ("README.md", "WORKSPACE.md", "CHANGELOG.md", "LICENSE"):
        (tmp_path / "texts" / f"{name}.txt").write_text((ROOT / name).read_text(encoding="utf-8"), encoding="utf-8")
    page = PAGE.read_text(encoding="utf-8").replace("$PWD", str(tmp_path))
    commands = list(commands_in("docs/tutorial.md", page))
    assert len(commands) == 16
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    environment.pop("XLA_FLAGS", None)  # one device, as a reader has it
    for command in commands:
        arguments = (*command.arguments, *shortened(command.module, command.arguments))
        program = Forked(command.module, *arguments, cwd=tmp_path, env=environment)
        try:
            assert program.wait(timeout=600) == 0, f"{command}\n{program.stdout[-2000:]}\n{program.stderr[-2000:]}"
        finally:
            program.kill()
    written = re.findall(r"`(runs/tutorial/[\w/]+\.(?:html|csv))`", page)
    assert len(written) >= 4
    for file in written:
        assert (tmp_path / file).is_file(), file

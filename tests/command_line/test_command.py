"""`pause-jax NAME`: what it lists, what it refuses, and a training run where only the package is installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest

import pause_jax
from tests.programs import ROOT

PROGRAMS = sorted(file.stem for file in (ROOT / "launch").glob("*.py") if file.stem != "__init__")

CONFIG = """
from pause_jax.config import default_config
from sizes import SIZES  # a file beside it

def get_config():
    config = default_config()
    config.model.update(SIZES)
    config.data.files, config.data.length = "texts/*.txt", 32
    config.model.num_pause_tokens, config.pauses.rate = 1, 0.1
    config.train.steps, config.train.batch_size, config.optimizer.warmup_steps = 4, 8, 1
    config.run.update({"log_every": 1, "validation_batches": 1, "checkpoint_every": 2})
    return config
"""
SMALL = (  # what makes the quickstart's config quick
    "--config.data.files=texts/*.txt",
    "--config.train.steps=2",
    "--config.optimizer.warmup_steps=1",
    "--config.run.validation_batches=1",
)
SIZES = 'SIZES = {"num_layers": 1, "d_model": 16, "num_heads": 2, "d_ff": 16, "max_positions": 32}\n'

SWEEP = """
import ml_collections
import mine

def get_config():
    return ml_collections.ConfigDict({"pretrain": {"config": mine.get_config(), "axes": (("seed", (0,)),)}})
"""


def run(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """The command as `python -m pause_jax`, of this checkout, in another folder."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "pause_jax", *arguments]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True)


@pytest.mark.parametrize("arguments", [(), ("--help",), ("-h",), ("help",)])
def test_it_lists_all_programs_with_a_line_each(tmp_path, arguments):
    done = run(*arguments, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    first, empty, *lines = done.stdout.splitlines()
    assert first.startswith("usage: pause-jax NAME") and empty == ""
    assert [line.split()[0] for line in lines] == PROGRAMS
    assert all(line.endswith((".", "?", "`).")) and len(line) <= 132 for line in lines), lines


@pytest.mark.parametrize(("name", "nearest"), [("trian", "train"), ("Sweeps", "sweep"), ("--workdir=x", None)])
def test_another_name_is_refused_with_the_nearest_one(tmp_path, name, nearest):
    done = run(name, "--config=x.py", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"error: pause-jax {name}: there is no such program: did you mean ")
    assert f"did you mean {nearest or ''}" in done.stderr and done.stderr.count("\n") == 1


def test_its_programs_are_those_of_launch(tmp_path):
    """The same help and mistakes, in any folder."""
    ours = run("train", "--help", cwd=tmp_path)
    theirs = subprocess.run([sys.executable, "-m", "launch.train", "--help"], cwd=ROOT, capture_output=True, text=True)
    assert ours.stdout == theirs.stdout and "Fields of a config" in ours.stdout and "--workdir=..." in ours.stdout
    mistake = run("train", "--workdir=x", cwd=tmp_path)
    assert mistake.returncode == 2 and mistake.stderr.startswith("error: --config is missing")


@pytest.mark.parametrize("argument", ["--version", "version"])
def test_it_tells_its_version(tmp_path, argument):
    done = run(argument, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, f"pause_jax {pause_jax.__version__}\n")


def build(folder: Path) -> Path:
    """The wheel, from the source distribution, from a copy of the checkout: setuptools writes into what it builds."""
    source, made = folder / "source", folder / "made"
    shutil.copytree(ROOT, source, ignore=shutil.ignore_patterns(".*", "runs", "shared", "build", "*.egg-info"))
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(made), str(source)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "is absent from the `packages` configuration" not in done.stderr + done.stdout
    files = [str(file) for file in made.iterdir()]
    checked = subprocess.run(
        [sys.executable, "-m", "twine", "check", "--strict", *files], capture_output=True, text=True
    )
    assert checked.returncode == 0 and len(files) == 2, checked.stdout + checked.stderr
    (wheel,) = made.glob(f"pause_jax-{pause_jax.__version__}-*.whl")
    return wheel


@pytest.mark.slow
@pytest.mark.timeout(1500)  # eight programs, one after the other
def test_a_wheel_is_all_that_training_needs(tmp_path):
    """Built, installed without its dependencies beside this environment's, and used in another folder."""
    wheel = build(tmp_path)
    venv.create(tmp_path / "venv", symlinks=True)
    python, (packages,) = tmp_path / "venv/bin/python", (tmp_path / "venv/lib").glob("python3*/site-packages")
    ours = next(path for path in sys.path if path.endswith("site-packages"))
    (packages / "others.pth").write_text(ours + "\n")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", "--python", str(python)]
    command = [*pip, "install", "--no-deps", "--no-index", str(wheel)]
    subprocess.run(command, check=True, capture_output=True)
    user = tmp_path / "user"
    (user / "texts").mkdir(parents=True)
    (user / "texts" / "one.txt").write_text("".join(f"{i} and {i} are {2 * i}\n" for i in range(3000)))
    (user / "mine.py").write_text(CONFIG)
    (user / "sizes.py").write_text(SIZES)
    (user / "sweep.py").write_text(SWEEP)

    def installed(*arguments: str) -> subprocess.CompletedProcess[str]:
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        command = [str(tmp_path / "venv/bin/pause-jax"), *arguments]
        return subprocess.run(command, cwd=user, env=environment, capture_output=True, text=True, timeout=900)

    listed = installed("--help")
    assert [line.split()[0] for line in listed.stdout.splitlines()[2:]] == PROGRAMS, listed.stderr
    trained = installed("train", "--config=mine.py", "--workdir=runs/mine")
    assert trained.returncode == 0 and "trained to step 4: runs/mine" in trained.stdout, trained.stderr
    assert (user / "runs/mine/checkpoints/4").is_dir()
    written = installed("generate", "--run=runs/mine", "--m_inf=2", "--prompt=7 and 7 are", "--max_new_tokens=5")
    assert written.returncode == 0 and written.stdout.startswith("7 and 7 are"), written.stderr
    swept = installed("sweep", "--config=sweep.py", "--workdir=runs/sweep", "--workers=1")
    assert swept.returncode == 0 and "1 of 1 jobs done: runs/sweep" in swept.stdout, swept.stderr
    assert (user / "runs/sweep/report/report.html").is_file()
    ours = installed("train", "--config=experiments/quickstart.py:pause", *SMALL, "--workdir=runs/ours")
    assert ours.returncode == 0 and "trained to step 2: runs/ours" in ours.stdout, ours.stderr
    assert f"taking the one that came with pause_jax, {packages}/pause_jax/installed/experiments/" in ours.stderr
    shown = installed("sweep", "--config=experiments/sweeps/two_by_two.py:1", "--workdir=runs/new", "--dry_run")
    assert shown.returncode == 0 and "10 of 10 jobs to run" in shown.stdout, shown.stdout + shown.stderr
    files = {path.relative_to(packages / "pause_jax").as_posix() for path in (packages / "pause_jax").rglob("*.*")}
    data = {file for file in (ROOT / "pause_jax").rglob("*.*") if file.suffix not in (".py", ".pyc")}
    assert {file.relative_to(ROOT / "pause_jax").as_posix() for file in data} <= files
    assert "launch/gke/jobset.yaml" in files
    configs = {f"installed/{file.relative_to(ROOT)}" for file in (ROOT / "experiments").rglob("*.py")}
    assert configs == {file for file in files if file.startswith("installed/") and not file.endswith(".pyc")}

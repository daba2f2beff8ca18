"""Every command that is published: flags and config are understood, named machines hold it, cheap ones are run."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import string
import subprocess
import sys
from collections import Counter

import pytest
import yaml

from experiments.accelerators import TOPOLOGIES
from pause_jax.aot import topologies
from pause_jax.checkpointing.run_folder import RunFolder
from pause_jax.config import Config
from pause_jax.config.model import ModelConfig
from pause_jax.sweeps.execution import GKE_ACCELERATORS
from tests import published_commands
from tests.programs import Forked
from tests.published_commands import ROOT, Command

NOT_OURS = {
    "launch.lm_eval",
    "docs.write_tasks",
    "docs.write_reference",
    "launch.NAME",
}  # have another's flags, or argparse's, or are no program
CLOUD = r"--(?:accelerator|tpu)-type=(v\w+)-(\d+)"  # how Google calls a slice
CHIPS = {"v5litepod": ("v5e", 1), "v5p": ("v5p", 2), "v4": ("v4", 2), "v6e": ("v6e", 1)}  # name, cores a chip


def machines(command: Command) -> list[tuple[str, int]]:
    """(chip, how many) of each machine that a command's line, flags, config's layout or page name."""
    line = " ".join(command.arguments)
    if topology := re.search(r"--topology=(\S+)", line):
        asked = [topologies.parse(name) for name in topology[1].split(",")]
        return [(one.chip_name, one.devices) for one in asked]
    if nodes := re.search(r"--nodes=(\d+) --gpus-per-node=(\d+)", command.text):
        return [("h100", int(nodes[1]) * int(nodes[2]))]
    page = (ROOT / command.page).read_text()
    if command.module == "launch.train" and (slice_ := re.search(CLOUD, page)):
        chip, cores = CHIPS[slice_[1]]
        slices = re.search(r"--num-slices=(\d+)", page)
        return [(chip, int(slice_[2]) // cores * (int(slices[1]) if slices else 1))]
    layouts = re.findall(r",([\w-]+)", re.search(r"--config=(\S*)", f"{line} --config=")[1])
    named = [topologies.parse(TOPOLOGIES[name]) for name in layouts if name in TOPOLOGIES]
    return [(one.chip_name, one.devices) for one in named]


def jobset() -> tuple[Command, tuple[str, int]]:
    """What the containers of launch/gke run, by the values that its README exports, and on what."""
    readme, template = ((ROOT / "launch/gke" / name).read_text() for name in ("README.md", "jobset.yaml"))
    values = dict(re.findall(r"\b([A-Z_]+)=(\S+)", "\n".join(re.findall(r"^ +export (.*)$", readme, re.MULTILINE))))
    pod = yaml.safe_load(string.Template(template).substitute(values))["spec"]["replicatedJobs"][0]["template"]["spec"]
    (container,) = pod["template"]["spec"]["containers"]
    (chip,) = (name for name, kind in GKE_ACCELERATORS.items() if kind == values["ACCELERATOR"])
    chips = int(values["SLICES"]) * int(values["HOSTS"]) * int(values["CHIPS"])
    return Command("launch/gke/jobset.yaml", "launch.train", tuple(container["args"]), ""), (chip, chips)


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    """A folder like a reader's: the experiments, and a run that others start from."""
    folder = tmp_path_factory.mktemp("desk")
    (folder / "experiments").symlink_to(ROOT / "experiments")
    model = ModelConfig(vocab_size=259, num_layers=1, d_model=16, num_heads=2, d_ff=16)
    RunFolder(folder / "runs/llama").claim(Config(model=model), {"vocabulary": ""})
    with_pause = dataclasses.replace(model, num_pause_tokens=1)
    RunFolder(folder / "runs/tutorial/pause").claim(Config(model=with_pause), {"vocabulary": ""})
    return folder


def resolved(commands, desk):
    """For each (command, its machines) "" or what is wrong with it."""
    asked = [{"module": c.module, "arguments": c.arguments, "machines": on} for c, on in commands]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(
        [sys.executable, ROOT / "tests/resolve_commands.py"],
        input=json.dumps(asked),
        cwd=desk,
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_every_published_command_is_understood_and_fits_its_machine(desk, capsys):
    commands = [c for c in published_commands.all_commands() if c.module not in NOT_OURS]
    asked = [(command, machines(command)) for command in commands]
    in_pods, chips = jobset()
    asked.append((in_pods, [chips]))
    wrong = [
        f"{command}\n    {problem}"
        for (command, _), problem in zip(asked, resolved(asked, desk), strict=True)
        if problem
    ]
    with capsys.disabled():
        judged, ran = sum(bool(on) for _, on in asked), sum(map(can_run, commands))
        rest = Counter(c.module for c, _ in asked if not can_run(c))
        print(
            f"\n{len(asked)} published commands are resolved, {judged} of them against the machine named; `make "
            f"slow` runs {ran}; only resolved are {', '.join(f'{n} of {x}' for x, n in rest.items())}"
        )
    assert not wrong, "\n".join(wrong)
    assert len(asked) > 100 and judged > 15  # or they are not found any more


@pytest.mark.parametrize(
    ("arguments", "on", "message"),
    [
        (["--config=experiments/paper.py:1b", "--config.run.mesh.dcn_data=2"], ("v5e", 512), "is not divisible"),
        (["--config=experiments/paper.py:1b", "--workdir=x"], ("v5e", 16), "training takes"),
        (["--config=experiments/paper.py:1b", "--workdir=x"], ("h100", 8), "training takes"),
        (["--config=experiments/paper.py:2b", "--workdir=x"], None, "does not exist"),
        (["--config=experiments/quickstart.py:pause", "--work_dir=x"], None, "work_dir"),
        (["--config=experiments/quickstart.py:pause", "--config.train.step=3"], None, "train.step"),
    ],
)
def test_what_was_published_once_and_its_like_would_be_seen(desk, arguments, on, message):
    (problem,) = resolved([(Command("", "launch.train", tuple(arguments), ""), [on] if on else [])], desk)
    assert message in problem


def test_commands_are_found_in_text():
    page = """Prose with `python -m launch.train --config=a.py:b
    --workdir=c`, then

        python -m launch.evaluate --run=a --m_inf=0,2 \\
          --out=b.csv   # a remark
        sbatch --nodes=2 launch/slurm/train.sbatch \\
          --config=x.py
        launch/tpu_vm/train.sh start NAME ZONE --config=y.py
        xpk --command="python3 -m launch.train --config=z.py" --more
        python -m launch.train ... --num_processes=N
    | `python -m launch.prepare --config=… --out=x` | makes |
        pause-jax describe --config=c.py
        python -m pause_jax status --workdir=w
    and `pause-jax NAME` is none, but pause-jaxed or a pause-jax.
    """
    assert [(c.module, *c.arguments) for c in published_commands.commands_in("page", page)] == [
        ("launch.train", "--config=a.py:b", "--workdir=c"),
        ("launch.evaluate", "--run=a", "--m_inf=0,2", "--out=b.csv"),
        ("launch.train", "--config=x.py"),
        ("launch.train", "--config=y.py"),
        ("launch.train", "--config=z.py"),
        ("launch.train", "--num_processes=2"),
        ("launch.prepare", "--out=x"),
        ("launch.describe", "--config=c.py"),
        ("launch.status", "--workdir=w"),
    ]


def can_run(command: Command) -> bool:
    """Whether it takes this machine less than a minute, a train's steps cut to two."""
    line = " ".join(command.arguments)
    if command.module == "launch.describe":
        return "--config=" in line  # the name alone is no command
    if command.module == "launch.sweep":
        return "--dry_run" in line
    small = re.search(r"--config=experiments/(quickstart|time_to_think)\.py:", line)
    needs = re.search(r"data\.(files|prepared)|task=tenth|init_from", line)  # text, a task or a run of the reader's
    return command.module == "launch.train" and bool(small) and not needs and "--workdir" in line


RUN = [command for command in published_commands.all_commands() if can_run(command)]


@pytest.mark.slow
@pytest.mark.parametrize("command", RUN, ids=str)
def test_those_for_this_machine_run(desk, tmp_path, command):
    short = ["--config.train.steps=2", "--config.run.validate_every=0"] if command.module == "launch.train" else []
    (tmp_path / "experiments").symlink_to(ROOT / "experiments")
    arguments = [a for a in (*command.arguments, *short) if "profile_steps" not in a]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    program = Forked(command.module, *arguments, cwd=tmp_path, env=environment)
    assert program.wait(timeout=300) == 0, program.stderr

"""The program as a user starts it, and the judgements that are committed: each shipped config must fit its chips."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from experiments import accelerators, llama, paper
from pause_jax.aot import compile as launch_compile
from pause_jax.aot import estimates, hlo, topologies
from pause_jax.aot.describe import describe
from pause_jax.config import from_config_dict
from pause_jax.distributed import kernels, mesh
from pause_jax.errors import UserError
from pause_jax.training import run as train

ROOT = Path(__file__).parents[2]
COMPILED = ROOT / "experiments" / "compiled"
KEYS = [
    "config",
    "topology",
    "devices",
    "parameters",
    "bytes_per_device",
    "hbm_bytes",
    "fits",
    "flops_per_step",
    "collective_bytes_per_step",
    "roofline_step_seconds",
    "bound_by",
]
SHIPPED = [
    *((f"experiments/paper.py:{size},{chips}", chips) for size in paper.SIZES for chips in paper.LAYOUTS[size]),
    *((f"experiments/llama.py:8b,{chips}", chips) for chips in llama.LAYOUTS),
]
RESULTS = [
    (file.name, result) for file in sorted(COMPILED.glob("*.json")) for result in launch_compile.read_results(file)
]
TINY = """
from pause_jax.config import default_config

def get_config():
    config = default_config()
    config.model.update({"num_layers": 3, "d_model": 256, "num_heads": 4, "d_ff": 512, "vocab_size": 512})
    config.model.dtype = "bfloat16"
    config.model.num_pause_tokens = 1
    config.run.mesh.update({"data": 1, "fsdp": -1})
    config.run.execution.scan_layers = "on"
    config.run.execution.remat = "full"
    config.run.loss_chunk = 128
    config.train.batch_size = 16
    return config
"""


def compile_(*arguments, timeout=300):
    command = [sys.executable, "-m", "launch.compile", *arguments]
    return subprocess.run(
        command, cwd=ROOT, env=os.environ | {"JAX_PLATFORMS": "cpu"}, capture_output=True, text=True, timeout=timeout
    )


@pytest.fixture
def tiny(tmp_path):
    file = tmp_path / "tiny.py"
    file.write_text(TINY)
    return f"--config={file}"


def config_of(name):
    """The resolved config that a result's `config` means: a file with its argument, and overrides of fields."""
    file, *overrides = shlex.split(name)
    path, _, argument = file.partition(":")
    module = {"experiments/paper.py": paper, "experiments/llama.py": llama}[path]
    config_dict = module.get_config(argument)
    for override in overrides:
        field, value = re.fullmatch(r"--config\.([\w.]+)=(.*)", override).groups()
        *sections, leaf = field.split(".")
        section = config_dict
        for part in sections:
            section = section[part]
        section[leaf] = type(section[leaf])(value)
    return train.resolve(from_config_dict(config_dict))


@pytest.mark.parametrize(("file", "result"), RESULTS, ids=[f"{file}-{r['topology']}" for file, r in RESULTS])
def test_what_was_judged_fits_and_is_what_is_shipped(file, result):
    assert list(result) == KEYS
    config, topology = config_of(result["config"]), topologies.parse(result["topology"])
    assert result["parameters"] == describe(config)["parameters"], "judge it again: the model has changed"
    row_flops = describe(config)["flops_per_token"] * config.length
    assert result["flops_per_step"] == pytest.approx(config.train.batch_size * row_flops)
    assert (result["devices"], result["hbm_bytes"]) == (topology.devices, topology.chip.hbm_bytes)
    assert result["fits"] and result["bytes_per_device"]["total"] <= 0.9 * result["hbm_bytes"], "too little room"
    assert result["bytes_per_device"]["by"] == ("compiled" if topology.is_tpu else "formula")
    assert result["roofline_step_seconds"] >= result["flops_per_step"] / (topology.devices * topology.chip.flops)


def formula_over_compiled(result):
    """(of bytes held, of bytes sent): what the formulas say over what the compiler said."""
    config = kernels.resolve_config(config_of(result["config"]), "tpu")
    execution = dataclasses.replace(config.run.execution, attention="xla")  # that of the files, made before "auto"
    config = dataclasses.replace(config, run=dataclasses.replace(config.run, execution=execution))
    sizes = dict(zip(mesh.AXES, mesh.mesh_shape(config.run.mesh, result["devices"]), strict=True))
    along = {axis: tuple(range(size)) for axis, size in sizes.items()}
    along["rows"] = tuple(range(sizes["data"] * sizes["fsdp"]))
    share = estimates.Share.of(config, sizes)
    sent = sum(hlo.bytes_by_kind(estimates.formula_collectives(config, share, along)).values())
    params = 4 * result["parameters"] / (sizes["fsdp"] * sizes["tensor"])
    held = estimates.formula_bytes(config, share, 3 * params, params)["total"]
    return held / result["bytes_per_device"]["total"], sent / sum(result["collective_bytes_per_step"].values())


def test_formulas_are_near_what_was_compiled():
    """So GPUs, of which nothing is compiled, are judged by what has been compared with compiled programs."""
    ratios = [formula_over_compiled(r) for _, r in RESULTS if r["bytes_per_device"]["by"] == "compiled"]
    # less where "dots" was kept in float32 when the file was made (docs/scale.md); of today's code tests/distributed/
    # test_memory.py knows one
    assert all(0.6 < held < 1.5 for held, _ in ratios)
    # TPUs gather some thin shards by all-reduces, at twice the bytes: far less is sent by formula then
    assert all(0.5 < sent < 1.15 for _, sent in ratios)
    assert sum(0.85 < sent < 1.15 for _, sent in ratios) >= 0.9 * len(ratios)


def test_every_shipped_config_was_judged_for_its_chips():
    judged = {(result["config"], result["topology"]) for _, result in RESULTS}
    assert judged >= {(name, accelerators.TOPOLOGIES[chips]) for name, chips in SHIPPED}


def test_the_table_is_that_of_the_files(tmp_path):
    for file in COMPILED.glob("*.json"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    assert launch_compile.write_table(tmp_path).read_text() == (COMPILED / "README.md").read_text()


@pytest.mark.parametrize("arg", ["", "7b", "8b", "8b,v9", "8b,v5e-256,x"])
def test_other_arguments_of_llama_are_refused(arg):
    with pytest.raises(UserError, match=rf"experiments/llama.py:{arg} does not exist: choose :8b,v4-128 or"):
        llama.get_config(arg)


def test_llama_has_the_published_number_of_parameters():
    assert describe(config_of("experiments/llama.py:8b,v5e-256"))["parameters"] == 8_030_261_248


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--topology is missing"),
        (["--topology=v9:4x4"], "--topology=v9:4x4 is not known: give v4:AxBxC"),
        (["--topology=h100:2", "--config.run.mesh.tensor=3"], "does not fit 2 devices"),
        (["--topology=h100:4", "--config.train.batch_size=6"], "batch_size = 6 is not divisible by"),
        (["--topology=h100:2", "--out=nowhere/x.json"], "--out=nowhere/x.json: there is no folder nowhere"),
    ],
)
def test_mistakes_are_one_sentence(tiny, arguments, message):
    result = compile_(tiny, *arguments)
    assert result.returncode == 2
    errors = [line for line in result.stderr.splitlines() if not line.startswith("compiling for")]
    assert len(errors) == 1 and errors[0].startswith("error: ") and message in errors[0]


def test_without_libtpu_the_sentence_has_the_command(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"libtpu is not installed: python -m pip install libtpu==0\.0\.50\.1$"):
        topologies.prepare_environment([topologies.parse("v5e:2x2")])
    assert f"\n{topologies.LIBTPU} " in (ROOT / "requirements-tpu.txt").read_text()


@pytest.mark.slow
def test_gpus_are_judged_by_formula(tiny, tmp_path):
    out = tmp_path / "out.json"
    result = compile_(tiny, "--topology=h100:4,h100:2x4", f"--out={out}", "--rows_per_device=4")
    assert result.returncode == 0, result.stderr
    four, eight = json.loads(out.read_text())
    assert list(four) == list(eight) == KEYS
    assert four["config"].endswith("tiny.py --config.train.batch_size=16")
    assert eight["config"].endswith("tiny.py --config.train.batch_size=32")
    assert four["bytes_per_device"]["by"] == "formula" and four["fits"]
    # the state: parameters and two moments, float32, cut over the devices
    assert 4 * four["bytes_per_device"]["arguments"] == pytest.approx(12 * four["parameters"], rel=0.01)
    assert eight["flops_per_step"] == 2 * four["flops_per_step"]
    assert four["collective_bytes_per_step"]["all-gather"] > 0
    assert "formula" in result.stdout


@pytest.mark.slow
@pytest.mark.skipif(
    importlib.util.find_spec("libtpu") is None, reason="libtpu is not installed: see requirements-tpu.txt"
)
def test_tpu_steps_are_compiled(tiny, tmp_path):
    out = tmp_path / "out.json"
    result = compile_(tiny, "--topology=v5e:2x2,v4:2x2x1", f"--out={out}")
    assert result.returncode == 0, result.stderr
    for judged in json.loads(out.read_text()):
        held = judged["bytes_per_device"]
        # so small a step's temporaries may all lie in vector memory
        assert held["by"] == "compiled" and judged["fits"] and held["total"] > held["arguments"]
        # the state, a quarter on each, beside it the batch: five features of 4 x 256 positions
        least = 12 * judged["parameters"] / 4 + 5 * 4 * 4 * 256
        assert 0.98 * least < held["arguments"] < 2 * least  # of so thin shards some are padded to whole tiles
        sent = judged["collective_bytes_per_step"]
        assert sum(sent.values()) > 0

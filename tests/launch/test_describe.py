"""The program as a user starts it, and the paper's printed numbers as what it must say."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from experiments import paper
from pause_jax.config import from_config_dict
from pause_jax.errors import UserError

ROOT = Path(__file__).parents[2]


def describe(*arguments):
    command = [sys.executable, "-m", "launch.describe", *arguments]
    environment = os.environ | {"JAX_PLATFORMS": "cpu"}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120)


def described(config, *arguments):
    result = describe(f"--config={config}", "--json", *arguments)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


# FLOPs by hand: 6 · (block matrices + V · d) + 3 · 4 · layers · d · (2048 + 1) / 2
@pytest.mark.parametrize(
    ("arg", "parameters", "width", "flops"),
    [
        ("130m", 136_237_056, 768, 6 * (84_934_656 + 64_512 * 768) + 12 * 12 * 768 * 2049 / 2),
        ("1b", 1_345_085_440, 2048, 6 * (1_207_959_552 + 64_512 * 2048) + 12 * 24 * 2048 * 2049 / 2),
    ],
)
def test_the_papers_models(arg, parameters, width, flops):
    start = time.monotonic()
    told = described(f"experiments/paper.py:{arg}")
    assert time.monotonic() - start < 30  # 3 s on an idle machine: neither TensorFlow nor any array of these sizes
    assert set(told) == {"parameters", "pause_parameters", "flops_per_token", "memory", "table"}
    assert told["parameters"] == parameters
    assert told["pause_parameters"] == width
    assert told["flops_per_token"] == flops
    assert sum(row["count"] for row in told["table"]) == parameters + width
    pause = {"path": "pause/embedding", "shape": [1, width], "axes": ["pauses", "embed"], "count": width}
    assert pause in told["table"]


def test_the_arm_without_pauses():
    told = described("experiments/paper.py:130m,standard")
    assert (told["parameters"], told["pause_parameters"]) == (136_237_056, 0)
    assert "pause/embedding" not in {row["path"] for row in told["table"]}


def test_memory_of_the_devices_named():
    """The 1B network's state: parameters and two moments, float32, cut over 16 of 256 chips."""
    told = described("experiments/paper.py:1b,v5e-256", "--topology=v5e:16x16")["memory"]
    assert (told["devices"], told["hbm_bytes"]) == (256, 16e9)
    state = told["parameters"] + told["optimizer"]
    assert state == 3 * told["parameters"] + 4 == pytest.approx(12 * 1.3451e9 / 16, rel=0.01)  # Adam counts its steps
    parts = ("parameters", "optimizer", "gradients", "activations", "logits")
    assert told["total"] == sum(told[part] for part in parts) < told["hbm_bytes"]
    assert described("experiments/paper.py:1b")["memory"]["devices"] == 1


@pytest.mark.parametrize(("chips", "verdict"), [("v5e:16x16", "fits 16 GB"), ("v5e:4x4", "does not fit 16 GB")])
def test_memory_for_people(chips, verdict):
    result = describe("--config=experiments/paper.py:1b", f"--topology={chips}")
    assert result.returncode == 0 and result.stdout.splitlines()[-1].startswith("memory  ")
    assert result.stdout.endswith(f"; {verdict}\n")


def test_for_people_with_the_tokenizers_vocabulary_size():
    result = describe("--config=experiments/quickstart.py:pause", "--config.model.num_layers=3")
    assert result.returncode == 0, result.stderr
    assert "259 × 128" in result.stdout  # vocab_size is 0 in the config: bytes and three special ids
    assert "layers, embed, heads, head" in result.stdout
    layer = 4 * (128 * 128 + 128) + 2 * 128 * 512 + 512 + 128 + 4 * 128
    assert f"parameters        {259 * 128 + 3 * layer + 2 * 128:,}\n" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--config=experiments/paper.py:7b"], "experiments/paper.py:7b does not exist: choose :130m or :1b"),
        (["--config=experiments/paper.py:1b", "--config.model.num_heads=7"], "d_model = 2048 is not divisible"),
        (["--config=experiments/paper.py:1b", "--topology=v9"], "--topology=v9 is not known: give v4:AxBxC"),
        (["--config=experiments/paper.py:1b,v5e-256", "--topology=v5e:4x4"], "does not fit 16 devices"),
        (["--config=experiments/paper.py:1b", "--config.model.vocab_size=100"], "is less than the 259 ids"),
    ],
)
def test_mistakes_are_one_sentence(arguments, message):
    result = describe(*arguments)
    assert result.returncode == 2
    assert result.stderr.startswith("error: ") and message in result.stderr
    assert result.stderr.count("\n") == 1 and not result.stdout


def test_the_two_arms_differ_in_pauses_alone():
    for size in paper.SIZES:
        pause, standard = (from_config_dict(paper.get_config(size + arm)) for arm in ("", ",standard"))
        model_without_pauses = dataclasses.replace(pause.model, num_pause_tokens=0)
        assert model_without_pauses == standard.model and pause.train == standard.train and pause.data == standard.data
        assert pause.optimizer == standard.optimizer and pause.run == standard.run
        assert (pause.model.num_pause_tokens, pause.pauses.rate, pause.pauses.mode) == (1, 0.1, "trim")
        assert (standard.model.num_pause_tokens, standard.pauses.rate) == (0, 0.0)
        positions = pause.train.steps * pause.train.batch_size * pause.data.length
        assert abs(positions - 200e9) < pause.train.batch_size * pause.data.length


@pytest.mark.parametrize("arg", ["", "2b", "1b,", "1b,pause", "1b,standard,x", "standard"])
def test_other_arguments_are_refused(arg):
    with pytest.raises(UserError, match=f"experiments/paper.py:{arg} does not exist: choose :130m or :1b"):
        paper.get_config(arg)

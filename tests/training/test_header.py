"""What a run says before its first step, word by word for two runs."""

from __future__ import annotations

import dataclasses
import re

import jax
import pytest

from pause_jax.config import Config, DataConfig, FinetuneConfig, MeshConfig, PauseConfig, TrainConfig
from pause_jax.distributed.kernels import resolve_config
from pause_jax.distributed.mesh import make_mesh
from pause_jax.training import header
from tests.small_runs import GPT, L, V

MANIFEST = {"vocabulary": "x", "train": {"documents": 3, "text_tokens": 12345}, "validation": {"text_tokens": 7}}


def test_pretraining_with_pauses_on_a_mesh():
    config = Config(
        model=dataclasses.replace(GPT, num_pause_tokens=2),
        pauses=PauseConfig(rate=0.1),
        data=DataConfig(length=L, files="a/*.txt"),
        train=TrainConfig(steps=100, batch_size=8),
    )
    mesh = make_mesh(MeshConfig(fsdp=4, tensor=2))
    lines = header.lines("mine", resolve_config(config, "cpu"), MANIFEST, mesh, start=40, flops_per_step=1e6)
    per_layer = 4 * (32 * 32 + 32) + 32 * 64 + 64 + 64 * 32 + 32 + 4 * 32
    parameters = V * 32 + L * 32 + 2 * per_layer + 2 * 32
    of_memory = lines.pop(5)
    assert re.match(
        r"memory   [\d.e-]+ MB a device by formula \(parameters [\d.e-]+, optimizer [\d.e-]+, grad", of_memory
    )
    total, parameters_mb = (float(number) for number in re.findall(r"[\d.]+(?:e-\d+)?", of_memory)[:2])
    assert parameters_mb == pytest.approx(4e-6 * (parameters + 64) / 8, rel=0.2)  # norms are cut by fsdp alone
    assert total > 4 * parameters_mb
    assert lines == [
        f"model    {parameters:,} parameters and 64 of 2 pause token(s): 2 layers, d_model 32, 4 heads, "
        "40 text tokens, float32",
        "data     a/*.txt: 12,345 text tokens, tokenizer byte",
        "steps    41 to 100, each of 8 rows of 16 positions, 0.1 pauses per text token: 6.00e+07 model FLOPs",
        f"devices  8 × {jax.devices()[0].device_kind} (fsdp 4 × tensor 2)",
        "kernels  cpu (attention xla, layers unrolled, remat none, loss of all positions at once)",
        "begins   mine, from the checkpoint of step 40",
    ]


def test_finetuning_from_another_run():
    config = Config(
        model=dataclasses.replace(GPT, num_pause_tokens=1),
        init_from="runs/pre",
        train=TrainConfig(steps=10),
        finetune=FinetuneConfig(task="addition_2", m_ft=(0, 5), max_prompt_length=20),
    )
    mesh = make_mesh(MeshConfig(), jax.devices()[:1])
    manifest = {"train": {"examples": 1000, "text_tokens": 9000}}
    config = resolve_config(config, "cpu")
    _, data, steps, devices, _, _, begins = header.lines(
        "mine", resolve_config(config, "cpu"), manifest, mesh, start=0, flops_per_step=2.0
    )
    assert data == "data     addition_2: 1,000 examples of 9,000 text tokens, tokenizer byte"
    assert "1 to 10, each of 32 rows of 56 positions, 0, 5 pauses (append) after prompts of at most 20" in steps
    assert devices == f"devices  1 × {jax.devices()[0].device_kind}"
    assert begins == "begins   mine, from the parameters of runs/pre"

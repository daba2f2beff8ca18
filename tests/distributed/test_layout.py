"""What lies where, and what is sent between devices in a step, held against listings in golden/.

A listing that changes by intent is written anew by

    PAUSE_JAX_UPDATE_GOLDEN=1 .venv/bin/python -m pytest -q tests/distributed/test_layout.py

and read before it is committed. Collectives are those of the program for 8 CPU devices; each is listed once however
often its loop runs. A CPU knows no reduce-scatter: gradients of parameters that are cut are summed whole, then cut.
"""

from __future__ import annotations

import collections
import dataclasses
import functools
import math
import os
import re
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from experiments import paper
from pause_jax import trees
from pause_jax.config import Config, DataConfig, MeshConfig, PauseConfig, RunConfig, TrainConfig, from_config_dict
from pause_jax.config.model import Execution, ModelConfig
from pause_jax.distributed import global_batch, sharding
from pause_jax.distributed.mesh import make_mesh
from pause_jax.model import decoder
from pause_jax.training import initialize, loop
from pause_jax.training.optimizer import make_optimizer

GOLDEN = Path(__file__).parent / "golden"
MIB = 2**20

# Every size is another number, also when cut, so that a shape tells what it is of.
B, L, V, D = 32, 28, 352, 64
GPT = ModelConfig(vocab_size=V, num_layers=2, d_model=D, num_heads=4, head_dim=24, d_ff=160, max_positions=30)
LLAMA = dataclasses.replace(
    GPT,
    positions="rope",
    norm="rmsnorm",
    mlp="swiglu",
    num_kv_heads=2,
    attention_bias="none",
    mlp_bias=False,
    tie_embeddings=False,
)
FAMILIES = {"gpt": GPT, "llama": LLAMA}
MESHES = {"fsdp_8": MeshConfig(data=1, fsdp=8), "tensor_2_fsdp_4": MeshConfig(data=1, fsdp=4, tensor=2)}
COLLECTIVES = ("all-gather", "all-reduce", "reduce-scatter", "all-to-all", "collective-permute")


@functools.cache
def compiled_step(family, mesh):
    config = Config(
        model=dataclasses.replace(FAMILIES[family], num_pause_tokens=1),
        pauses=PauseConfig(rate=0.1),
        data=DataConfig(length=L),
        train=TrainConfig(batch_size=B),
        run=RunConfig(mesh=MESHES[mesh], execution=Execution(scan_layers="on")),
    )
    devices = make_mesh(config.run.mesh)
    job = loop.TrainingJob(
        config=config, mesh=devices, rows=[], open_batches=iter, validation={}, folder=None, label="", provenance={}
    )
    batch = global_batch.abstract_batch(B, L, finetuning=False, mesh=devices)
    state = initialize.abstract_state(config, make_optimizer(config.optimizer), devices)
    return loop.compile_steps(job).train_step.lower(state, batch).compile()


def collectives(hlo):
    """How often each (kind, "f32[8,64]") is in a compiled program; the parts of a combined one count one by one."""
    found = collections.Counter()
    for line in hlo.splitlines():
        if match := re.match(rf"\s*(?:ROOT )?%?\S+ = (.*?) ({'|'.join(COLLECTIVES)})(?:-start)?\(", line):
            found.update((match[2], shape) for shape in re.findall(r"[a-z]+\d*\[[\d,]*\]", match[1]))
    return found


def gathers_of_logits(hlo, vocab_sizes):
    """Shapes of all-gathers whose last dimension is the vocabulary or a part of it: the tables have D there."""
    return [
        shape
        for kind, shape in collectives(hlo)
        if kind == "all-gather" and re.search(rf",({'|'.join(map(str, vocab_sizes))})\]$", shape)
    ]


def listing(family, mesh):
    step = compiled_step(family, mesh)
    params = trees.flatten(step.output_shardings[0]["params"])
    shapes = trees.flatten(decoder.abstract_params(dataclasses.replace(FAMILIES[family], num_pause_tokens=1)))
    lines = [f"{family} on {mesh}: B {B}, L {L}, V {V}, D {D}", "", "parameters"]
    for path, leaf in shapes.items():
        spec = [axes or "-" for axes in (*params[path].spec, *[None] * leaf.ndim)[: leaf.ndim]]
        lines.append(f"  {path:28} {list(leaf.shape)!s:18} {', '.join(spec)}")
    lines += ["", "collectives of a step"]
    lines += [f"  {n:3} {kind:18} {shape}" for (kind, shape), n in sorted(collectives(step.as_text()).items())]
    return "\n".join(lines) + "\n"


@pytest.mark.slow
@pytest.mark.parametrize("mesh", MESHES)
@pytest.mark.parametrize("family", FAMILIES)
def test_layout_and_collectives_are_those_of_the_listing(family, mesh):
    path = GOLDEN / f"{family}_{mesh}.txt"
    if os.environ.get("PAUSE_JAX_UPDATE_GOLDEN"):
        path.write_text(listing(family, mesh))
    assert listing(family, mesh) == path.read_text()
    assert gathers_of_logits(compiled_step(family, mesh).as_text(), (V, V // 2)) == []


@pytest.mark.slow
def test_optimizer_state_of_the_step_lies_as_its_parameters():
    (state, _), _ = compiled_step("llama", "tensor_2_fsdp_4").input_shardings
    for shardings in (state, compiled_step("llama", "tensor_2_fsdp_4").output_shardings[0]):
        adam, params = shardings["opt_state"][1], trees.flatten(shardings["params"])
        assert len({sharding.spec for sharding in params.values()}) > 3
        assert trees.flatten(adam.mu) == params == trees.flatten(adam.nu)


def test_a_gather_of_logits_is_found():
    """The control of the listing's test: a loss that wants whole logits on every device."""
    mesh = make_mesh(MESHES["tensor_2_fsdp_4"])

    cut = NamedSharding(mesh, PartitionSpec("fsdp", None, "tensor"))
    logits = jax.ShapeDtypeStruct((B, L, V), jnp.float32, sharding=cut)
    found = {}
    for axis in (None, "tensor"):
        wanted = NamedSharding(mesh, PartitionSpec("fsdp", None, axis))
        compiled = (
            jax.jit(lambda x, to=wanted: jax.lax.with_sharding_constraint(jnp.exp(x), to)).lower(logits).compile()
        )
        found[axis] = gathers_of_logits(compiled.as_text(), (V, V // 2))
    assert found == {None: [f"f32[{B // 4},{L},{V}]"], "tensor": []}


def large_and_whole(model, mesh):
    """Paths of the parameters of more than 1 MiB in float32 that are not cut over fsdp."""
    shapes = trees.flatten(decoder.abstract_params(dataclasses.replace(model, num_pause_tokens=1)))
    specs = {
        path: s.spec
        for path, s in trees.flatten(
            sharding.param_shardings(dataclasses.replace(model, num_pause_tokens=1), make_mesh(mesh))
        ).items()
    }
    return [p for p, leaf in shapes.items() if 4 * math.prod(leaf.shape) > MIB and "fsdp" not in str(specs[p])]


MODELS = {
    "paper 130M": from_config_dict(paper.get_config("130m")).model,
    "paper 1B": from_config_dict(paper.get_config("1b")).model,
    "Llama 3 8B": ModelConfig(
        vocab_size=128_256,
        num_layers=32,
        d_model=4096,
        num_heads=32,
        num_kv_heads=8,
        d_ff=14_336,
        mlp="swiglu",
        mlp_bias=False,
        attention_bias="none",
        norm="rmsnorm",
        positions="rope",
        max_positions=8192,
        tie_embeddings=False,
    ),
}


@pytest.mark.parametrize("mesh", MESHES)
@pytest.mark.parametrize("name", MODELS)
def test_no_large_parameter_is_whole_on_every_device_of_fsdp(name, mesh):
    assert large_and_whole(MODELS[name], MESHES[mesh]) == []


def test_a_large_parameter_that_is_whole_is_found(monkeypatch):
    monkeypatch.setitem(sharding.RULES, "embed", None)
    assert "layers/mlp/up/kernel" in large_and_whole(MODELS["Llama 3 8B"], MESHES["fsdp_8"])

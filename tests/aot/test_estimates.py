"""The formulas against numbers worked out by hand; tests/launch/test_compile.py has them against TPUs' compiler."""

from __future__ import annotations

import dataclasses

from pause_jax.aot import estimates
from pause_jax.aot.hlo import Collective
from pause_jax.config import Config, MeshConfig, RunConfig, TrainConfig
from pause_jax.config.model import Execution, ModelConfig

MODEL = ModelConfig(vocab_size=64, num_layers=2, d_model=8, num_heads=2, d_ff=16, dtype="bfloat16")


def config(**run):
    base = Config(model=dataclasses.replace(MODEL, num_pause_tokens=1), train=TrainConfig(batch_size=16))
    data = dataclasses.replace(base.data, length=32)
    return dataclasses.replace(base, data=data, run=RunConfig(mesh=MeshConfig(data=2, fsdp=2), **run))


def test_bytes_by_formula():
    """Two rows of 32 positions a microbatch: 64 positions, width 8, q k v and attention 4 x 8, MLP 2 x 16."""
    run = config(accumulation=2, loss_chunk=16, execution=Execution("gpu", "xla", "on", "full"))
    share = estimates.Share.of(run, {"data": 2, "fsdp": 2, "tensor": 1, "sequence": 1})
    assert share == estimates.Share(2, 32, 2, 1)
    held = estimates.formula_bytes(run, share, state_bytes=3000, params_bytes=1000)
    kept = 2 * 64 * 8 * 2  # each layer's input
    results = 24 + 2 * 8 + 16  # q k v, two outputs, MLP
    again = 64 * ((results + 3 * 8 + 16) * 2 + (2 * 8 + 8) * 4)  # a layer's: results, what they read, float32
    scores = 2 * 2 * 32 * 32 * (4 + 4 + 2)  # more than the MLP's 64 * 16 * (4 + 2)
    weights = 2 * (4 * 8 * 8 + 2 * 8 * 16) * 2
    head, logits = 64 * 8 * (4 + 2), 2 * 16 * 64 * (4 + 2)
    parts = estimates.temporaries(run, share, params_bytes=1000)
    assert parts == {"gradients": 2 * 1000, "activations": kept + again + scores + weights, "logits": head + logits}
    assert held["temporaries"] == sum(parts.values())
    dots = estimates.formula_bytes(
        config(accumulation=2, loss_chunk=16, execution=Execution("gpu", "xla", "on", "dots")), share, 3000, 1000
    )
    assert dots["temporaries"] - held["temporaries"] == 2 * 64 * results * 2
    assert held["arguments"] == 3000 and held["total"] == 3000 + held["temporaries"]


def test_hbm_traffic_by_formula():
    run = config(accumulation=2, loss_chunk=16, execution=Execution("cpu", "xla", "off", "full"))
    share = estimates.Share(2, 32, 2, 1)
    layers = 2 * (4 * 8 * 8 + 2 * 8 * 16) * 2 + 64 * 2 * (3 * 8 + 32 + 32) * 2
    scores = 2 * (2 * 2 * 32 * 32) * 2 * (4 + 2)
    loss = 3 * (2 * 64 * 8 * 2 + 64 * (64 * 4 + 8 * 2))
    assert estimates.hbm_traffic(run, share, state_bytes=3000) == 2 * (4 * (layers + scores) + loss) + 6000


def test_collectives_by_formula():
    run = config(accumulation=2, loss_chunk=16, execution=Execution("cpu", "xla", "off", "none"))
    share = estimates.Share(2, 32, 2, 2)  # tensor 2
    mesh = {"data": (0, 4), "fsdp": (0, 2), "tensor": (0, 1), "rows": (0, 2, 4, 6)}
    layer, table = (4 * 8 * 8 + 2 * 8 * 16) / 2, 64 * 8 / 2
    assert estimates.formula_collectives(run, share, mesh) == [
        Collective("all-gather", 2 * layer * 2 / 2, (0, 2), 2 * 2),
        Collective("all-gather", table * 4 / 2, (0, 2), 1),
        Collective("reduce-scatter", layer * 4 / 2, (0, 2), 2 * 2),
        Collective("all-reduce", 2 * layer * 4 / 2 / 2, (0, 4), 2 * 2),
        Collective("all-reduce", 2 * 2 * table * 2 * 3 / 4, (0, 2, 4, 6), 2 * 2),
        Collective("all-reduce", 2 * table * 4 * 3 / 4, (0, 2, 4, 6), 2),
        Collective("all-reduce", 6 * 2 * (2 * 32 * 8 * 4) / 2, (0, 1), 2 * 2),
    ]
    alone = {axis: (0,) for axis in mesh}
    assert estimates.formula_collectives(run, estimates.Share(2, 32, 2, 1), alone) == []

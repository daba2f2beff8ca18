"""Show what a config's network is: its parameters one by one, how many, and the FLOPs of training on them.

    python -m launch.describe --config=experiments/paper.py:130m
    python -m launch.describe --config=experiments/paper.py:1b,v5e-256 --topology=v5e:16x16
    python -m launch.describe --config=experiments/paper.py:1b --json

Nothing is allocated and no data is read, so sizes that fit no machine can be described as well. With --json:
`parameters` (the pauses' own not counted), `pause_parameters`, `flops_per_token` (model FLOPs of forward and backward
pass for each position of a row of data.length, pauses counted, attention causal-halved: pause_jax/model/counts.py), and
`table`, a list of `path`, `shape`, `axes` and `count`; `memory`: bytes of one device in training by what they are for
(pause_jax/distributed/memory.py), their `total`, and how many `devices`. These are those of --topology, whose chip's
`hbm_bytes` are given then, or the fewest that config.run.mesh asks for.
"""

from __future__ import annotations

import json
import math
from typing import Any

from absl import flags

from launch import train
from pause_jax.aot import topologies
from pause_jax.command_line import cli
from pause_jax.config import Config
from pause_jax.report import tables

FLAGS = flags.FLAGS


def main(argv: list[str]) -> int:
    config = train.resolve(cli.load_config())
    description = describe(config, FLAGS.topology)
    if FLAGS.json:
        print(json.dumps(description, indent=2))
    else:
        _show(config, description)
    return cli.EXIT_DONE


def describe(config: Config, topology: str | None = None) -> dict[str, Any]:
    """What `--json` prints; the config's vocabulary size must be known.

    Raises:
      UserError: there is no such topology, or mesh, batch or a parameter cannot be cut over its devices.
    """
    from pause_jax.model import counts
    from pause_jax.training import flops

    parameters, pause_parameters = counts.parameter_counts(config.model, config.pauses.num_pause_tokens)
    return {
        "parameters": parameters,
        "pause_parameters": pause_parameters,
        "flops_per_token": flops.flops_per_row(config) / config.length,
        "memory": memory_of(config, topology),
        "table": parameter_table(config),
    }


def memory_of(config: Config, topology: str | None) -> dict[str, float]:
    """The `memory` of `describe`."""
    from pause_jax.aot import topologies
    from pause_jax.distributed import kernels, memory
    from pause_jax.distributed.mesh import AXES, mesh_shape
    from pause_jax.system import local_chips

    chips = local_chips.of_this_machine()
    asked = topologies.parse(topology) if topology else None
    config = kernels.resolve_config(config, asked.platform if asked else chips.kind if chips else "cpu")
    mesh = config.run.mesh
    fewest = mesh.dcn_data * (mesh.data == -1) or 1
    devices = asked.devices if asked else fewest * math.prod(n for n in mesh.sizes.values() if n != -1)
    sizes = dict(zip(AXES, mesh_shape(mesh, devices), strict=True))
    parts = memory.training_bytes(config, sizes)
    chip = {"hbm_bytes": asked.chip.hbm_bytes} if asked else {}
    return {**parts, "total": sum(parts.values()), "devices": devices, **chip}


def parameter_table(config: Config) -> list[dict[str, Any]]:
    """A row for each parameter: path, shape, logical axes (one a dimension), count."""
    from pause_jax import trees
    from pause_jax.model import decoder

    axes = decoder.logical_axes(config.model, config.pauses.num_pause_tokens)
    shapes = trees.flatten(decoder.abstract_params(config.model, config.pauses.num_pause_tokens))
    return [
        {"path": path, "shape": list(leaf.shape), "axes": list(axes[path]), "count": math.prod(leaf.shape)}
        for path, leaf in shapes.items()
    ]


def _show(config: Config, description: dict[str, Any]) -> None:
    rows = [
        [r["path"], " × ".join(map(str, r["shape"])), ", ".join(axis or "-" for axis in r["axes"]), f"{r['count']:,}"]
        for r in description["table"]
    ]
    tables.print_table("Parameters", ["path", "shape", "logical axes", "count"], rows)
    print(f"parameters        {description['parameters']:,}")
    print(f"pause parameters  {description['pause_parameters']:,}")
    flops = tables.human_flops(description["flops_per_token"])
    print(f"FLOPs per token   {flops} of training, in rows of {config.length}")
    print(f"memory            {_memory_line(description['memory'])}")


def _memory_line(memory: dict[str, float]) -> str:
    told = "total", "devices", "hbm_bytes"
    parts = ", ".join(f"{name} {size / 1e9:.3g}" for name, size in memory.items() if name not in told)
    each = f"on each of {memory['devices']} devices" if memory["devices"] > 1 else "on one device"
    line = f"{memory['total'] / 1e9:.3g} GB {each} in training, by formula: {parts}"
    if "hbm_bytes" not in memory:
        return line
    fits = "fits" if memory["total"] <= memory["hbm_bytes"] else "does not fit"
    return f"{line}; {fits} {memory['hbm_bytes'] / 1e9:.3g} GB"


if __name__ == "__main__":
    cli.config_flag()
    flags.DEFINE_string("topology", None, f"the chips that it is trained on: {topologies.FORMS}")
    flags.DEFINE_bool("json", False, "print JSON instead of a table")
    cli.run(main)

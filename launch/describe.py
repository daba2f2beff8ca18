"""Show what a config's network is: its parameters one by one, how many, and the FLOPs of training on them.

    python -m launch.describe --config=experiments/paper.py:130m
    python -m launch.describe --config=experiments/paper.py:1b --json

Nothing is allocated and no data is read, so sizes that fit no machine can be described as well. With --json:
`parameters` (the pauses' own not counted), `pause_parameters`, `flops_per_token` (model FLOPs of forward and backward
pass for each position of a row of data.length, pauses counted, attention causal-halved: pause_jax/model/counts.py), and
`table`, a list of `path`, `shape`, `axes` and `count`.
"""

from __future__ import annotations

import json
import math
from typing import Any

from absl import flags

from launch import cli, train
from pause_jax.config import Config
from pause_jax.reporting import tables


def main(argv: list[str]) -> int:
    config = train.resolve(cli.load_config())
    description = describe(config)
    if flags.FLAGS.json:
        print(json.dumps(description, indent=2))
    else:
        _show(config, description)
    return cli.EXIT_DONE


def describe(config: Config) -> dict[str, Any]:
    """What `--json` prints; the config's vocabulary size must be known."""
    from pause_jax.model import counts
    from pause_jax.training import flops

    parameters, pause_parameters = counts.parameter_counts(config.model, config.pauses.n_pauses)
    return {
        "parameters": parameters,
        "pause_parameters": pause_parameters,
        "flops_per_token": flops.flops_per_row(config) / config.length,
        "table": parameter_table(config),
    }


def parameter_table(config: Config) -> list[dict[str, Any]]:
    """A row for each parameter: path, shape, logical axes (one a dimension), count."""
    from pause_jax import trees
    from pause_jax.model import decoder

    axes = decoder.logical_axes(config.model, config.pauses.n_pauses)
    shapes = trees.flatten(decoder.abstract_params(config.model, config.pauses.n_pauses))
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


if __name__ == "__main__":
    cli.config_flag()
    flags.DEFINE_bool("json", False, "print JSON instead of a table")
    cli.run(main)

"""Describe a config's network: its parameters one by one, how many there are, and FLOPs and memory of training.

    python -m launch.describe --config=experiments/paper.py:130m
    python -m launch.describe --config=experiments/paper.py:1b,v5e-256 --topology=v5e:16x16
    python -m launch.describe --config=experiments/paper.py:1b --json

Nothing is allocated and no data is read, so sizes that fit no machine can be described as well. With --json:
`parameters` (the pauses' own not counted), `pause_parameters`, `flops_per_token` (model FLOPs of forward and backward
pass for each position of a row, pauses counted, attention for the pairs that the mask allows:
pause_jax/model/counts.py), and `table`, a list of `path`, `shape`, `axes` and `count`; `memory`: bytes of one device in
training by what they are for (pause_jax/distributed/memory.py), their `total`, and how many `devices`. The devices are
those of --topology, whose chip's `hbm_bytes` are given then, or the fewest that config.run.mesh asks for.
"""

from __future__ import annotations

import json

from absl import flags

from pause_jax.aot import describe, topologies
from pause_jax.command_line import cli
from pause_jax.training import run

FLAGS = flags.FLAGS


def main(argv: list[str]) -> int:
    config = run.resolve(cli.load_config())
    description = describe.describe(config, FLAGS.topology)
    if FLAGS.json:
        print(json.dumps(description, indent=2))
    else:
        describe.show(config, description)
    return cli.EXIT_DONE


if __name__ == "__main__":
    cli.config_flag()
    flags.DEFINE_string("topology", None, f"the chips that it is trained on: {topologies.FORMS}")
    flags.DEFINE_bool("json", False, "print JSON instead of a table")
    cli.run(main)

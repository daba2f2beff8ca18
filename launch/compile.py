"""Compile a config's training step for accelerators that are not here: does it fit, and what bounds its speed?

    python -m launch.compile --config=experiments/paper.py:1b --topology=v5e:16x16
    python -m launch.compile --config=experiments/paper.py:1b --topology=v5e:16x16 --out=1b.json
    python -m launch.compile --config=experiments/paper.py:1b --topology=v5p:4x4x4,v5p:4x4x16 --rows_per_device=2
    python -m launch.compile --table=experiments/compiled

It runs on a CPU machine. For a TPU slice (v4, v5e, v5p, v6e) the real step is compiled by the TPU's own compiler
(pip install libtpu==0.0.50.1) with the shardings of the config's mesh. For GPUs (h100:8, h100:8x8: nodes x GPUs) XLA
partitions the step over as many virtual devices of the CPU, which shows that it can be cut; what it holds and sends is
told by formula (pause_jax/aot/estimates.py), and marked so.

With --out the result is written as JSON, of several topologies a list of such: `config topology devices parameters
bytes_per_device hbm_bytes fits flops_per_step collective_bytes_per_step roofline_step_seconds bound_by`. Bytes of
collectives are what one device sends in a step, those in loops as often as the loop runs. The roofline is a lower
bound: the longest of FLOPs at peak, bytes through HBM and bytes through the links, by the makers' figures
(pause_jax/aot/chips.py). --rows_per_device changes the batch with the number of devices, for tables that
show how cost grows; without it the batch is the config's, whatever the topology. --table writes FOLDER/README.md
from the JSON files in FOLDER.
"""

from __future__ import annotations

from pathlib import Path

from absl import flags

from pause_jax.aot import compile, topologies
from pause_jax.command_line import cli
from pause_jax.errors import UserError
from pause_jax.training import run

FLAGS = flags.FLAGS


def main(argv: list[str]) -> int:
    if FLAGS.table:
        print(f"written: {compile.write_table(Path(FLAGS.table))}")
        return cli.EXIT_DONE
    if not FLAGS.topology:
        raise UserError(f"--topology is missing: give {topologies.FORMS}; several with commas between them")
    if FLAGS.out and not Path(FLAGS.out).parent.is_dir():
        raise UserError(f"--out={FLAGS.out}: there is no folder {Path(FLAGS.out).parent}")
    config = run.resolve(cli.load_config())
    asked = [topologies.parse(name) for name in FLAGS.topology.split(",")]
    results = compile.compile_for(config, asked, cli.config_arguments(), FLAGS.rows_per_device)
    compile.show(results)
    if FLAGS.out:
        compile.write_results(Path(FLAGS.out), results)
    return cli.EXIT_DONE


if __name__ == "__main__":
    cli.config_flag()
    flags.DEFINE_string("topology", None, f"what to compile for, several with commas between them: {topologies.FORMS}")
    cli.path_flag("out", None, "a JSON file to write")
    flags.DEFINE_integer(
        "rows_per_device", None, "rows of the batch for each device, in place of the config's batch", lower_bound=1
    )
    cli.path_flag("table", None, "a folder of such JSON files, to write their table into; nothing is compiled")
    cli.run(main)

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

import dataclasses
import json
import re
import sys
import time
from pathlib import Path
from typing import Any

from absl import flags

from launch import train
from pause_jax.aot import topologies
from pause_jax.aot.hlo import KINDS
from pause_jax.aot.topologies import Topology
from pause_jax.command_line import cli
from pause_jax.config import Config
from pause_jax.errors import UserError
from pause_jax.report import tables

FLAGS = flags.FLAGS
_COLUMNS = [
    "config",
    "topology",
    "devices",
    "GB held",
    "of HBM",
    "fits",
    "by",
    "FLOPs a step",
    "all-gather",
    "reduce-scatter",
    "all-reduce",
    "permute",
    "all-to-all",
    "step at least",
    "bound by",
]


def main(argv: list[str]) -> int:
    if FLAGS.table:
        print(f"written: {write_table(Path(FLAGS.table))}")
        return cli.EXIT_DONE
    if not FLAGS.topology:
        raise UserError(f"--topology is missing: give {topologies.FORMS}; several with commas between them")
    if FLAGS.out and not Path(FLAGS.out).parent.is_dir():
        raise UserError(f"--out={FLAGS.out}: there is no folder {Path(FLAGS.out).parent}")
    config = train.resolve(cli.load_config())
    asked = [topologies.parse(name) for name in FLAGS.topology.split(",")]
    topologies.prepare_environment(asked)
    results = [_compile_and_tell(config, topology) for topology in asked]
    tables.print_table("Compiled, GB of 10^9 bytes a device", _COLUMNS, [_cells(result) for result in results])
    if FLAGS.out:
        content = results[0] if len(results) == 1 else results
        Path(FLAGS.out).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        print(f"written: {FLAGS.out}")
    return cli.EXIT_DONE


def _compile_and_tell(config: Config, topology: Topology) -> dict[str, Any]:
    from pause_jax.aot import training_step  # JAX: only now, as the environment is set before

    name = _config_name()
    if FLAGS.rows_per_device:
        rows = FLAGS.rows_per_device * topology.devices
        config = dataclasses.replace(config, train=dataclasses.replace(config.train, batch_size=rows))
        config.validate()
        name += f" --config.train.batch_size={rows}"
    print(f"compiling for {topology.name}: {topology.devices} devices", file=sys.stderr, flush=True)
    start = time.monotonic()
    result = {"config": name, **training_step.judge(config, topology)}
    print(f"compiled for {topology.name} in {time.monotonic() - start:.0f} s", file=sys.stderr, flush=True)
    return result


def _config_name() -> str:
    """What makes this config again: the file with its argument, and the fields that flags change."""
    flag: Any = FLAGS["config"]
    return " ".join([flag.config_filename, *(a for a in sys.argv[1:] if re.match(r"--?(no)?config\.", a))])


def write_table(folder: Path) -> Path:
    """Write FOLDER/README.md, a table of all JSON files in `folder`."""
    files = sorted(folder.glob("*.json"))
    if not files:
        raise UserError(f"--table={folder} has no .json files: make some with --out={folder}/NAME.json")
    rows = [_cells(result) for file in files for result in read_results(file)]
    lines = ["| " + " | ".join(cells) + " |" for cells in (_COLUMNS, ["---"] * len(_COLUMNS), *rows)]
    readme = folder / "README.md"
    readme.write_text(_TABLE_HEAD + "\n".join(lines) + "\n", encoding="utf-8")
    return readme


def read_results(file: Path) -> list[dict[str, Any]]:
    """What `--out` wrote, one or several, as a list."""
    content = json.loads(file.read_text(encoding="utf-8"))
    return content if isinstance(content, list) else [content]


def _cells(result: dict[str, Any]) -> list[str]:
    sent = result["collective_bytes_per_step"] or {}
    seconds = result["roofline_step_seconds"]
    return [
        result["config"],
        result["topology"],
        f"{result['devices']:,}",
        f"{result['bytes_per_device']['total'] / 1e9:.2f}",
        f"{result['hbm_bytes'] / 1e9:.0f}",
        "yes" if result["fits"] else "no",
        result["bytes_per_device"]["by"],
        tables.human_flops(result["flops_per_step"]),
        *(f"{sent[kind] / 1e9:.2f}" if sent else "-" for kind in KINDS),
        "-" if seconds is None else f"{seconds:.3f} s",
        result["bound_by"] or "-",
    ]


_TABLE_HEAD = """# Compiled ahead of time

Made by `python -m launch.compile --table=experiments/compiled` from the files here, each of which
`python -m launch.compile --config=... --topology=... --out=experiments/compiled/NAME.json` wrote on a CPU machine.
No chip has run any of it. GB are 10^9 bytes of one device; collectives: what it sends in a step. "by formula": what it
holds was not compiled for the chip but estimated. [docs/scale.md](../../docs/scale.md) says what the columns mean.

"""


if __name__ == "__main__":
    cli.config_flag()
    flags.DEFINE_string("topology", None, f"what to compile for, several with commas between them: {topologies.FORMS}")
    cli.path_flag("out", None, "a JSON file to write")
    flags.DEFINE_integer(
        "rows_per_device", None, "rows of the batch for each device, in place of the config's batch", lower_bound=1
    )
    cli.path_flag("table", None, "a folder of such JSON files, to write their table into; nothing is compiled")
    cli.run(main)

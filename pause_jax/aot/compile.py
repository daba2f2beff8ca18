"""Compiles a training step for several topologies, and writes tables and files of the results."""

from __future__ import annotations

import dataclasses
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pause_jax.aot import topologies
from pause_jax.aot.hlo import KINDS
from pause_jax.aot.topologies import Topology
from pause_jax.config import Config
from pause_jax.errors import UserError
from pause_jax.report import tables

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


def compile_for(
    config: Config, asked: list[Topology], name: str, rows_per_device: int | None = None
) -> list[dict[str, Any]]:
    """The result of `training_step.analyze_step` for each topology, with the config's name. To be called before JAX.

    Args:
      config: resolved.
      name: the arguments of a command that make this config again.
      rows_per_device: rows of the batch for each device, in place of the config's batch.

    Raises:
      UserError: there is no compiler for a topology, or mesh, batch or a parameter cannot be cut over its devices.
    """
    topologies.prepare_environment(asked)
    return [_compile_and_log(config, topology, name, rows_per_device) for topology in asked]


def _compile_and_log(config: Config, topology: Topology, name: str, rows_per_device: int | None) -> dict[str, Any]:
    from pause_jax.aot import training_step  # JAX: only now, as the environment is set before

    if rows_per_device:
        rows = rows_per_device * topology.devices
        config = dataclasses.replace(config, train=dataclasses.replace(config.train, batch_size=rows))
        config.validate()
        name += f" --config.train.batch_size={rows}"
    print(f"compiling for {topology.name}: {topology.devices} devices", file=sys.stderr, flush=True)
    start = time.monotonic()
    result = {"config": name, **training_step.analyze_step(config, topology)}
    print(f"compiled for {topology.name} in {time.monotonic() - start:.0f} s", file=sys.stderr, flush=True)
    return result


def show(results: Sequence[dict[str, Any]]) -> None:
    """Print a table with a row for each result."""
    tables.print_table("Compiled, GB of 10^9 bytes a device", _COLUMNS, [_cells(result) for result in results])


def write_results(file: Path, results: Sequence[dict[str, Any]]) -> None:
    """Write a single result as JSON, several as a list."""
    content = results[0] if len(results) == 1 else list(results)
    file.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    print(f"written: {file}")


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
    """The results that `--out` wrote, one or several, as a list."""
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

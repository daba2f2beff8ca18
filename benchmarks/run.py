"""Measure pause_jax against its peers on this machine's CPU, in turn within one run, and show who is how fast.

    python -m benchmarks.run
    python -m benchmarks.run --only=train_step --out=results.json

It takes some minutes, on a machine that does nothing else if the numbers are to be kept. `ratio` is our time over the
peer's, below 1 where we are faster: the median over repeats, the extremes beside it. --out gets an object by benchmark
with `ours`, `peer` (median seconds, by `unit`), `ratio`, `goal` (the largest ratio wanted), `unit`, `holds` and the
spread; benchmarks/__init__.py says more. Exit code 1: a goal does not hold; all were measured, shown and written. Peers
want `pip install -r requirements-bench.txt`.
"""

from __future__ import annotations

import datetime
import gc
import itertools
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from absl import flags

from benchmarks import registry
from benchmarks.machine import load, machine, versions
from benchmarks.measure import REPEATS, measure
from benchmarks.registry import Entry
from launch import cli
from pause_jax.errors import UserError
from pause_jax.reporting import tables
from pause_jax.reporting.progress import Progress
from pause_jax.runs import write_atomically

EXIT_GOAL_MISSED = 1
BUSY = 0.5  # load average from which on others take part in the measurement
HISTORY = Path(__file__).parent / "history.jsonl"
FLAGS = flags.FLAGS

Results = dict[str, dict[str, Any]]  # an entry's name → Measurement.result


def main(argv: list[str]) -> int:
    entries = registry.select(registry.ENTRIES, FLAGS.only)
    out = _checked(FLAGS.out) if FLAGS.out else None
    os.environ["JAX_PLATFORMS"] = "cpu"  # before JAX is imported: the peers run there
    commit = cli.code_version()  # of what is measured, whatever changes meanwhile
    load_before = load()
    results = run(entries)
    show(results)
    if load_before > BUSY:
        print(f"the machine was busy (load {load_before:.1f} at the start): these numbers say little")
    if out is not None:
        write_atomically(out, json.dumps(results, indent=1) + "\n")
    if FLAGS.append:
        append(HISTORY, record(results, commit, load_before))
    return cli.EXIT_DONE if all(result["holds"] for result in results.values()) else EXIT_GOAL_MISSED


def run(entries: Sequence[Entry]) -> Results:
    """Measure one after the other; a progress line tells how far it is."""
    results = {}
    with Progress("benchmarks", len(entries) * REPEATS, unit="repeats") as progress:
        for number, entry in enumerate(entries):
            results[entry.name] = _run_one(entry, progress, done=number * REPEATS)
            gc.collect()  # networks hold cycles, and would stay in memory beside the next ones
    return results


def show(results: Results) -> None:
    """Print the results as a table."""
    columns = ["benchmark", "ours", "peer", "unit", "ratio", "min", "max", "goal", "holds"]
    rows = [
        [name, f"{r['ours']:.4g}", f"{r['peer']:.4g}", r["unit"], f"{r['ratio']:.3f}", f"{r['ratio_min']:.3f}",
         f"{r['ratio_max']:.3f}", f"<= {r['goal']:g}", "yes" if r["holds"] else "NO"]
        for name, r in results.items()
    ]  # fmt: skip
    tables.print_table("Benchmarks: ratio is our time over the peer's", columns, rows)


def record(results: Results, commit: str, load_before: float) -> dict[str, Any]:
    """One line of the history."""
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    where = machine() | {"load_before": load_before}
    return {"date": now, "commit": commit, "machine": where, "versions": versions(), "results": results}


def append(history: Path, line: Mapping[str, Any]) -> None:
    """Add `line` to a file of JSON lines, made where it is missing."""
    lines = history.read_text() if history.exists() else ""
    write_atomically(history, lines + json.dumps(line) + "\n")


def _run_one(entry: Entry, progress: Progress, done: int) -> dict[str, Any]:
    """Set up and measure one entry, of whose predecessors `done` repeats were made."""
    progress.update(done, {"setting up": entry.name})
    pair = entry.make_pair()
    made = itertools.count(done + 1)
    measurement = measure(pair, after_repeat=lambda ratio: progress.update(next(made), {entry.name: ratio}))
    return measurement.result(goal=entry.goal, unit=entry.unit, work=pair.work)


def _checked(out: str) -> Path:
    """The file to write, found to be possible before minutes are spent on its content."""
    file = Path(out)
    if file.is_dir() or not os.access(file.parent, os.W_OK):
        raise UserError(f"--out={out} cannot be written: give a file in a folder that exists and can be written to")
    return file


if __name__ == "__main__":
    flags.DEFINE_string("only", "", "measure the benchmarks whose names begin so, such as train_step; all if empty")
    flags.DEFINE_string("out", None, "a JSON file to write the results to, in a folder that exists")
    flags.DEFINE_bool(
        "append", False, "add the results, with date, commit, machine and versions, to benchmarks/history.jsonl"
    )
    cli.run(main)

"""Measure pause_jax against its peers on this machine, in turn within one run, and show who is how fast.

    python -m benchmarks.run
    python -m benchmarks.run --only=train_step --out=results.json
    python -m benchmarks.run --device=gpu

It takes about 20 minutes, on a machine that does nothing else if the numbers are to be kept. `ratio` is our time over
the peer's, below 1 where we are faster: the median over repeats, the extremes beside it. --out gets an object by
benchmark with `ours`, `peer` (median seconds, by `unit`), `ratio`, `goal` (the largest ratio wanted), `unit`, `holds`
and the spread; benchmarks/__init__.py says more. Exit code 1: a goal does not hold; all were measured, shown and
written. Peers want `pip install -r requirements-bench.txt`; a GPU's a torch that was built for it.
"""

from __future__ import annotations

import gc
import itertools
import json
import os
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from absl import flags

from benchmarks import registry
from benchmarks.machine import load, stamp
from benchmarks.measure import Measurement, Pair, Timings, measure
from benchmarks.registry import Entry
from pause_jax.command_line import cli
from pause_jax.errors import UserError
from pause_jax.logging.progress import Progress
from pause_jax.report import tables
from pause_jax.system.code_version import code_version
from pause_jax.system.files import write_atomically

EXIT_GOAL_MISSED = 1
BUSY = 0.5  # load average from which on others take part in the measurement
HISTORY = Path(__file__).parent / "history.jsonl"
# Of JAX. By default accelerators round the operands of float32 products, which torch does not.
PLATFORMS = {
    "cpu": {"JAX_PLATFORMS": "cpu"},
    "gpu": {"JAX_PLATFORMS": "cuda,cpu", "JAX_DEFAULT_MATMUL_PRECISION": "float32"},
    "tpu": {"JAX_PLATFORMS": "tpu,cpu", "JAX_DEFAULT_MATMUL_PRECISION": "float32"},
}
FLAGS = flags.FLAGS

Results = dict[str, dict[str, Any]]  # an entry's name → Measurement.result


def main(argv: list[str]) -> int:
    entries = registry.select(registry.ENTRIES, FLAGS.only)
    out = _checked(FLAGS.out) if FLAGS.out else None
    os.environ |= PLATFORMS[FLAGS.device]  # before JAX is imported
    commit = code_version()  # of what is measured, whatever changes meanwhile
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
    groups = [list(group) for _, group in itertools.groupby(entries, key=lambda entry: entry.make_pair)]
    results: Results = {}
    done = 0
    with Progress("benchmarks", sum(group[0].repeats for group in groups), unit="repeats") as progress:
        for group in groups:
            results |= _run_together(group, progress, done)
            done += group[0].repeats
            gc.collect()  # networks hold cycles, and would stay in memory beside the next ones
    return results


def show(results: Results) -> None:
    """Print the results as a table."""
    columns = ["benchmark", "ours", "peer", "unit", "ratio", "min", "max", "goal", "MFU", "holds"]
    rows = [
        [
            name,
            f"{r['ours']:.4g}",
            f"{r['peer']:.4g}",
            r["unit"],
            f"{r['ratio']:.3f}",
            f"{r['ratio_min']:.3f}",
            f"{r['ratio_max']:.3f}",
            "-" if r["goal"] is None else f"<= {r['goal']:.3g}",
            f"{r['mfu']:.0%}" if "mfu" in r else "-",
            "yes" if r["holds"] else "NO",
        ]
        for name, r in results.items()
    ]
    tables.print_table("Benchmarks: ratio is our time over the peer's", columns, rows)


def record(results: Results, commit: str, load_before: float) -> dict[str, Any]:
    """One line of the history."""
    return stamp(commit, device=FLAGS.device, load_before=load_before) | {"results": results}


def append(history: Path, line: Mapping[str, Any]) -> None:
    """Add `line` to a file of JSON lines, made where it is missing."""
    lines = history.read_text(encoding="utf-8") if history.exists() else ""
    write_atomically(history, lines + json.dumps(line) + "\n")


def _run_together(group: Sequence[Entry], progress: Progress, done: int) -> Results:
    """Set up and measure the entries of one pair, before which `done` repeats were made."""
    first = group[0]
    progress.update(done, {"setting up": first.name})
    pair = first.make_pair()
    made = itertools.count(done + 1)
    timings = measure(
        pair,
        repeats=first.repeats,
        min_seconds=first.min_seconds,
        after_repeat=lambda ratio: progress.update(next(made), {first.name: ratio}),
    )
    return {entry.name: _result(entry, pair, timings) for entry in group}


def _result(entry: Entry, pair: Pair, timings: Timings) -> dict[str, Any]:
    """What is kept of an entry, its pair's facts included."""
    measured = timings.compare(entry.ours, entry.peer)
    result = measured.result(goal=entry.goal, unit=entry.unit, work=pair.work) | dict(pair.facts)
    if entry.dtype:
        result |= _utilization(entry, pair.flops, measured)
        result["holds"] &= result["mfu"] >= entry.mfu_goal
    return result


def _utilization(entry: Entry, flops: float, measured: Measurement) -> dict[str, float]:
    """Model FLOPs utilization of both sides, over the peak that is measured now."""
    from benchmarks import peak

    per_second = peak.matmul_flops_per_second(entry.dtype)
    ours, peer = (flops / (statistics.median(seconds) * per_second) for seconds in (measured.ours, measured.peer))
    return {
        "model_flops": flops,
        "peak_flops_per_second": per_second,
        "mfu": ours,
        "peer_mfu": peer,
        "mfu_goal": entry.mfu_goal,
    }


def _checked(out: str) -> Path:
    """The file to write, found to be possible before minutes are spent on its content."""
    file = Path(out)
    if file.is_dir() or not os.access(file.parent, os.W_OK):
        raise UserError(f"--out={out} cannot be written: give a file in a folder that exists and can be written to")
    return file


if __name__ == "__main__":
    flags.DEFINE_string("only", "", "measure the benchmarks whose names begin so, such as train_step; all if empty")
    flags.DEFINE_enum("device", "cpu", list(PLATFORMS), "what JAX computes on, and torch if it can")
    cli.path_flag("out", None, "a JSON file to write the results to, in a folder that exists")
    flags.DEFINE_bool(
        "append", False, "add the results, with date, commit, machine and versions, to benchmarks/history.jsonl"
    )
    cli.run(main)

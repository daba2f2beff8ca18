"""The last complete record of benchmarks/history.jsonl as a Markdown table, and the ratios of all as a picture.

    python -m benchmarks.show
    python -m benchmarks.show --plot=history.png

README's table of speed is what the first prints. The record with most results counts, of those the latest: runs with
`--only` leave some out. The picture has a line a benchmark: its ratio, our time over the peer's, at each run.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from absl import flags

from benchmarks.run import HISTORY
from launch import cli
from pause_jax.errors import UserError

FLAGS = flags.FLAGS

Record = dict[str, Any]  # a line of the history: benchmarks/__init__.py


def main(argv: list[str]) -> int:
    records = read_history(HISTORY)
    if FLAGS.plot:
        plot(records, Path(FLAGS.plot))
        print(f"written: {FLAGS.plot}")
    else:
        print(table(most_complete(records)))
    return cli.EXIT_DONE


def read_history(history: Path) -> list[Record]:
    """All records, the oldest first. Raises UserError where there are none."""
    lines = history.read_text().splitlines() if history.exists() else []
    if not lines:
        raise UserError(f"{history} has no results: make some with python -m benchmarks.run --append")
    return [json.loads(line) for line in lines]


def most_complete(records: Sequence[Record]) -> Record:
    """The latest of those with most results."""
    return max(records, key=lambda record: (len(record["results"]), record["date"]))


def table(record: Record) -> str:
    """Markdown: where and when it was measured, and a row a benchmark."""
    machine, versions = record["machine"], record["versions"]
    software = ", ".join(f"{name} {versions[name]}" for name in ("jax", "torch", "transformers") if name in versions)
    lines = [
        f"Measured {record['date'][:10]} at commit {record['commit']} on {machine['cpu']}, {machine['cores']} cores "
        f"(--device={machine.get('device', 'cpu')}), load {machine['load_before']:g} before the run, with {software}. "
        "Ratio: our time over the peer's, median and extremes of the repeats.",
        "",
        "| benchmark | ours | peer | unit | ratio | goal | MFU (peer's) | holds |",
        "|---|---|---|---|---|---|---|---|",
    ]
    return "\n".join([*lines, *(_row(name, result) for name, result in record["results"].items())])


def plot(records: Sequence[Record], out: Path) -> None:
    """Ratios over dates, a panel for each group of benchmarks (what stands before the first "/")."""
    from matplotlib.figure import Figure

    from pause_jax.reporting.plots import COLORS, MARKERS

    names = list(dict.fromkeys(name for record in records for name in record["results"]))
    groups = list(dict.fromkeys(name.partition("/")[0] for name in names))
    rows = -(-len(groups) // 3)
    figure = Figure(figsize=(15, 3.4 * rows), dpi=120, layout="constrained")
    panels = list(figure.subplots(rows, 3, squeeze=False).flat)
    for axes in panels:
        axes.set_axis_off()  # but for those that a group has
    for axes, group in zip(panels, groups, strict=False):
        axes.set_axis_on()
        for i, name in enumerate(name for name in names if name.partition("/")[0] == group):
            points = [(datetime.datetime.fromisoformat(record["date"]), record["results"][name]["ratio"])
                      for record in records if name in record["results"]]  # fmt: skip
            axes.plot(*zip(*points, strict=True), color=COLORS[i % len(COLORS)], marker=MARKERS[i % len(MARKERS)],
                      linewidth=1.2, label=name.partition("/")[2])  # fmt: skip
        axes.axhline(1.0, color="#888888", linewidth=0.8)
        axes.set_title(group, fontsize=11)
        axes.set_ylim(bottom=0)
        axes.tick_params(axis="x", labelrotation=30, labelsize=7)
        axes.legend(fontsize=7, frameon=False)
    figure.suptitle("Our time over the peer's, run by run", fontsize=13)
    figure.savefig(out)


def _row(name: str, result: dict[str, Any]) -> str:
    goal = "-" if result["goal"] is None else f"≤ {result['goal']:.3g}"
    mfu = f"{result['mfu']:.0%} ({result['peer_mfu']:.0%})" if "mfu" in result else "-"
    ratio = f"{result['ratio']:.2f} ({result['ratio_min']:.2f} to {result['ratio_max']:.2f})"
    cells = [name, f"{result['ours']:.3g}", f"{result['peer']:.3g}", result["unit"], ratio, goal, mfu,
             "yes" if result["holds"] else "no"]  # fmt: skip
    return "| " + " | ".join(cells) + " |"


if __name__ == "__main__":
    flags.DEFINE_string("plot", None, "a PNG to write, instead of the table")
    cli.run(main)

"""The latest results in benchmarks/history.jsonl as a Markdown table, and the ratios of all as a picture.

    python -m benchmarks.show
    python -m benchmarks.show --plot=history.png

The first prints the table of speed that docs/performance.md has: of each benchmark with a goal its latest result on the
machine that was measured last, with its date, as runs with `--only` leave some out. The picture has a line a benchmark:
its ratio, our time over the peer's, at each run.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from absl import flags

from benchmarks import registry
from benchmarks.run import HISTORY
from pause_jax.command_line import cli
from pause_jax.errors import UserError

FLAGS = flags.FLAGS

Record = dict[str, Any]  # a line of the history: benchmarks/__init__.py


def main(argv: list[str]) -> int:
    records = read_history(HISTORY)
    if FLAGS.plot:
        plot(records, Path(FLAGS.plot))
        print(f"written: {FLAGS.plot}")
    else:
        print(table(records))
    return cli.EXIT_DONE


def read_history(history: Path) -> list[Record]:
    """All records, the oldest first. Raises UserError where there are none."""
    lines = history.read_text(encoding="utf-8").splitlines() if history.exists() else []
    if not lines:
        raise UserError(f"{history} has no results: make some with python -m benchmarks.run --append")
    return [json.loads(line) for line in lines]


def table(records: Sequence[Record]) -> str:
    """Markdown: which machine, and of each benchmark with a goal its latest result there."""
    last = records[-1]
    here = [record for record in records if _place(record) == _place(last)]
    latest = {name: record for record in here for name in record["results"]}
    software = ", ".join(
        f"{name} {last['versions'][name]}" for name in ("jax", "torch", "transformers") if name in last["versions"]
    )
    lines = [
        f"On {_place(last)}, with {software}. Ratio: our time over the peer's, median and extremes of the repeats; "
        "load: as the run began.",
        "",
        "| benchmark | ours | peer | unit | ratio | goal | MFU (peer's) | holds | measured |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    shown = [entry.name for entry in registry.ENTRIES if entry.goal is not None and entry.name in latest]
    return "\n".join([*lines, *(_row(name, latest[name]) for name in shown)])


def _place(record: Record) -> str:
    machine = record["machine"]
    return f"{machine['cpu']}, {machine['cores']} cores (--device={machine.get('device', 'cpu')})"


def plot(records: Sequence[Record], out: Path) -> None:
    """Ratios over dates, a panel for each group of benchmarks (what stands before the first "/")."""
    from matplotlib.figure import Figure

    from pause_jax.report.plots import COLORS, MARKERS

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
            points = [
                (datetime.datetime.fromisoformat(record["date"]), record["results"][name]["ratio"])
                for record in records
                if name in record["results"]
            ]
            axes.plot(
                *zip(*points, strict=True),
                color=COLORS[i % len(COLORS)],
                marker=MARKERS[i % len(MARKERS)],
                linewidth=1.2,
                label=name.partition("/")[2],
            )
        axes.axhline(1.0, color="#888888", linewidth=0.8)
        axes.set_title(group, fontsize=11)
        axes.set_ylim(bottom=0)
        axes.tick_params(axis="x", labelrotation=30, labelsize=7)
        axes.legend(fontsize=7, frameon=False)
    figure.suptitle("Our time over the peer's, run by run", fontsize=13)
    figure.savefig(out)


def _row(name: str, record: Record) -> str:
    result = record["results"][name]
    goal, holds = f"≤ {result['goal']:.3g}", "yes" if result["holds"] else "no"
    if result.get("mfu_goal"):
        goal += f", MFU ≥ {result['mfu_goal']:.0%}"
    mfu = f"{result['mfu']:.0%} ({result['peer_mfu']:.0%})" if "mfu" in result else "-"
    ratio = f"{result['ratio']:.2f} ({result['ratio_min']:.2f} to {result['ratio_max']:.2f})"
    measured = f"{record['date'][:10]}, {record['commit'][:7]}, load {record['machine']['load_before']:g}"
    cells = [name, f"{result['ours']:.3g}", f"{result['peer']:.3g}", result["unit"], ratio, goal, mfu, holds, measured]
    return "| " + " | ".join(cells) + " |"


if __name__ == "__main__":
    cli.path_flag("plot", None, "a PNG to write, instead of the table")
    cli.run(main)

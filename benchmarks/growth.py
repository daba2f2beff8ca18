"""How time and memory of a training step grow with length, batch, depth, width and vocabulary, one at a time.

    python -m benchmarks.growth --out=growth

writes growth.json (every point, the fitted exponents, machine and versions) and growth.png. Time is the median of some
steps after compilation, memory is the compiler's figure of all that the step holds. Both are told a position of the
batch ("token": text and pauses alike). The exponent p of a curve is the slope of its logarithms, by least squares over
its upper half, where what does not grow weighs less: 0 is linear cost in length or batch, 1 in depth, width or
vocabulary. It takes some minutes.
"""

from __future__ import annotations

import dataclasses
import gc
import json
import math
import os
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from absl import flags

from benchmarks.machine import load, stamp
from benchmarks.measure import seconds
from pause_jax.command_line import cli
from pause_jax.config.model import ModelConfig
from pause_jax.errors import UserError
from pause_jax.logging.progress import Progress
from pause_jax.system.code_version import code_version
from pause_jax.system.files import write_atomically

FLAGS = flags.FLAGS
STEPS = 5  # of each point, after two that are not counted


@dataclasses.dataclass(frozen=True)
class Size:
    """What a step is of. The defaults are where the curves meet."""

    length: int = 256
    batch: int = 2
    depth: int = 4
    width: int = 256
    vocabulary: int = 8192

    @property
    def model(self) -> ModelConfig:
        return ModelConfig(
            vocab_size=self.vocabulary,
            num_layers=self.depth,
            d_model=self.width,
            d_ff=4 * self.width,
            num_heads=max(1, self.width // 64),
            max_positions=self.length,
        )


CURVES: dict[str, tuple[int, ...]] = {
    "length": (128, 256, 512, 1024, 2048, 4096),
    "batch": (1, 2, 4, 8, 16),
    "depth": (1, 2, 4, 8),
    "width": (64, 128, 256, 512, 1024),
    "vocabulary": (1024, 4096, 8192, 16_384, 32_768),
}


def main(argv: list[str]) -> int:
    out = Path(FLAGS.out)
    if not os.access(out.parent, os.W_OK):
        raise UserError(f"--out={FLAGS.out} cannot be written: give a name in a folder that exists")
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    commit, load_before = code_version(), load()
    curves = measure_curves(CURVES)
    record = stamp(commit, load_before=load_before) | {"curves": curves}
    write_atomically(out.with_suffix(".json"), json.dumps(record, indent=1) + "\n")
    plot(curves, out.with_suffix(".png"))
    for name, curve in curves.items():
        print(f"{name}: time a token ~ {name}^{curve['time_exponent']:.2f}, memory ~ {curve['memory_exponent']:.2f}")
    return cli.EXIT_DONE


def measure_curves(curves: dict[str, tuple[int, ...]], steps: int = STEPS) -> dict[str, Any]:
    """For each name in `curves` its points, and the exponents `time_exponent` and `memory_exponent`."""
    measured: dict[str, Any] = {}
    done = 0
    with Progress("growth", sum(map(len, curves.values())), unit="points") as progress:
        for name, values in curves.items():
            points = []
            for value in values:
                points.append({name: value, **measure_point(dataclasses.replace(Size(), **{name: value}), steps)})
                gc.collect()
                done += 1
                progress.update(done, {name: str(value)})
            exponents = {
                f"{what}_exponent": fitted_exponent(values, [point[unit] for point in points])
                for what, unit in (("time", "seconds_per_token"), ("memory", "bytes_per_token"))
            }
            measured[name] = {"points": points, **exponents}
    return measured


def measure_point(size: Size, steps: int) -> dict[str, float]:
    """Median seconds of a step and the bytes that it holds, and both a token."""
    from benchmarks import costs
    from benchmarks.steps import stepper

    config = costs.train_config(size.model, size.batch, size.length)
    compiled = costs.lower_train_step(config).compile()
    step = stepper(config, compiled)
    taken = statistics.median([seconds(step) for _ in range(steps + 2)][2:])
    held = costs.costs(compiled).peak_bytes
    tokens = size.batch * size.length
    return {"seconds": taken, "bytes": held, "seconds_per_token": taken / tokens, "bytes_per_token": held / tokens}


def fitted_exponent(xs: Sequence[float], ys: Sequence[float]) -> float:
    """p of y = c x^p, by least squares of logarithms over the upper half of the points (three at least).

    >>> round(fitted_exponent([1, 2, 4, 8], [9.0, 4.0, 16.0, 64.0]), 6)
    2.0
    """
    first = min(len(xs) // 2, len(xs) - 3)
    log_x, log_y = ([math.log(value) for value in values[first:]] for values in (xs, ys))
    return statistics.linear_regression(log_x, log_y).slope


def plot(curves: dict[str, Any], out: Path) -> None:
    """Two rows of panels, time and memory, one column a curve; logarithmic axes, a straight line is a power."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator

    from pause_jax.report.plots import COLORS

    figure = Figure(figsize=(3.2 * len(curves), 6), dpi=150, layout="constrained")
    panels = figure.subplots(2, len(curves), squeeze=False)
    rows = (("seconds_per_token", "time", "µs a token", 1e6), ("bytes_per_token", "memory", "KiB a token", 1 / 1024))
    for row, (unit, what, label, scale) in enumerate(rows):
        for column, (name, curve) in enumerate(curves.items()):
            axes = panels[row][column]
            xs = [point[name] for point in curve["points"]]
            axes.loglog(xs, [scale * point[unit] for point in curve["points"]], marker="o", color=COLORS[row])
            axes.set_title(f"{name}: exponent {curve[f'{what}_exponent']:.2f}", fontsize=10)
            axes.set_xticks(xs, [str(x) for x in xs], fontsize="small")
            axes.minorticks_off()
            axes.yaxis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 5, 7)))  # some curves stay within a decade
            axes.yaxis.set_major_formatter("{x:,.0f}")
            axes.tick_params(axis="y", labelsize="small")
            axes.grid(color="#DDDDDD", linewidth=0.6)
            axes.set_ylabel(label if column == 0 else "")
    figure.suptitle("A training step: time and memory a token", fontsize=13)
    figure.savefig(out)


if __name__ == "__main__":
    cli.path_flag("out", "growth", "the files to write, without .json and .png")
    cli.run(main)

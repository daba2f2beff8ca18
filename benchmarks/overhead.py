"""A step of a whole run of the quickstart, data, logs and checkpoints included, over the jitted step alone.

Ours is `launch.train`, a hundred steps further at each call, by its own counters: seconds a step, waiting for data and
writing logs included, and seconds of checkpoints. The first step of each start, which compiles, is left out, and so is
the last save, after which nothing is counted: with one more halfway there is one for a hundred steps, as by default.
The peer is the same step called again and again on one batch that lies on the device.
"""

from __future__ import annotations

import atexit
import json
import shutil
import tempfile
from pathlib import Path

from benchmarks import costs, start
from benchmarks.measure import Pair, Seconds, seconds
from benchmarks.steps import stepper
from experiments import quickstart
from launch import train
from pause_jax.config import from_config_dict

STEPS = 100  # a call
BARE_STEPS = 50


def make_pair(steps: int = STEPS, bare_steps: int = BARE_STEPS) -> Pair:
    """Seconds of one step."""
    folder = Path(tempfile.mkdtemp(prefix="pause_jax_benchmark_"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    reached = 0
    config = train.resolve(from_config_dict(quickstart.get_config("pause")))
    step = stepper(config, costs.lower_train_step(config).compile())

    def ours() -> Seconds:
        nonlocal reached
        every = f"--config.run.checkpoint_every={steps // 2}"
        start.train_to(folder / "run", reached + steps, folder / "cache", (every,))
        records = [json.loads(line) for line in (folder / "run" / "metrics.jsonl").read_text().splitlines()]
        taken = seconds_a_step(records[reached:])
        reached += steps
        return Seconds(taken)

    return Pair(ours, lambda: Seconds(seconds(step, bare_steps)))


def seconds_a_step(records: list[dict[str, float]]) -> float:
    """From the records of one start, one a step, of which those at the end of a stretch have its times.

    >>> seconds_a_step([{"step": 1, "step_seconds": 9.0}, {"step": 2}, {"step": 3, "step_seconds": 0.5,
    ...                 "checkpoint_seconds": 0.2}])
    0.6
    """
    last, total = records[0]["step"], 0.0
    for record in records[1:]:
        if "step_seconds" in record:
            total += record["step_seconds"] * (record["step"] - last) + record.get("checkpoint_seconds", 0.0)
            last = record["step"]
    return total / (last - records[0]["step"])

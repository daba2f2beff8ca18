"""A tiny training as a real process, or as one of several, on batches made here.

    python -m tests.reliability.training_program HOST:PORT NUM_PROCESSES PROCESS_ID JSON

The JSON: {"folder": …, "steps": …, "run": {fields of config.run}, "seconds": that each batch takes to be made,
"slow": [a batch, seconds that it takes],
"poison": [batches that make the loss infinite], "signal": [process, step, number of the signal it sends to itself]}.
"""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import sys
import time
from pathlib import Path

from pause_jax.checkpointing.run_folder import RunFolder
from pause_jax.command_line import cli
from pause_jax.config import Config, DataConfig, MeshConfig, OptimizerConfig, PauseConfig, RunConfig, TrainConfig
from pause_jax.config.model import Execution, ModelConfig
from pause_jax.distributed import processes
from tests.small_runs import B, L, V, make_batch

MODEL = ModelConfig(vocab_size=V, num_layers=1, d_model=32, num_heads=2, d_ff=32, max_positions=L)


def make_config(steps: int, **run) -> Config:
    fields = {
        "mesh": MeshConfig(data=-1),
        "execution": Execution(scan_layers="on"),
        "log_every": 2,
        "validate_every": 0,
        "checkpoint_every": 4,
        "loggers": ("jsonl",),
    }
    return Config(
        model=dataclasses.replace(MODEL, num_pause_tokens=1),
        pauses=PauseConfig(rate=0.1),
        data=DataConfig(length=L),
        optimizer=OptimizerConfig(learning_rate=1e-2, warmup_steps=2, schedule="constant"),
        train=TrainConfig(steps=steps, batch_size=B),
        run=RunConfig(**(fields | run)),
    )


def job_of(task: dict):
    from pause_jax.distributed import global_batch
    from pause_jax.distributed.mesh import make_mesh
    from pause_jax.training.loop import TrainingJob

    config = make_config(task["steps"], **task.get("run", {}))
    config.validate()
    folder = RunFolder(Path(task["folder"]))
    mesh = make_mesh(config.run.mesh)
    rows = global_batch.process_rows(B, L, mesh)

    def open_batches(start: int):
        t = start
        while True:
            if task.get("signal", [])[:2] == [processes.index(), t + 1]:
                os.kill(os.getpid(), task["signal"][2])
            time.sleep(task.get("seconds", 0))
            if t == task.get("slow", [-1])[0]:
                time.sleep(task["slow"][1])
            batch = make_batch(t)
            if t in task.get("poison", []):
                batch["loss_weights"][3, 5] = float("inf")
            yield {name: array[rows] for name, array in batch.items()}
            t += 1

    return TrainingJob(config, mesh, rows, open_batches, {}, folder, folder.path.name, {})


def train(task: dict) -> str:
    from pause_jax.training import loop

    job = job_of(task)
    with job.folder.held():
        job.folder.claim(job.config, {"vocabulary": "byte-259"})
        return loop.train(job)


def main(argv: list[str]) -> int:
    coordinator, size, me, task = ARGUMENTS
    address = processes.Address(coordinator, int(size), int(me)) if int(size) > 1 else None
    with processes.initialize(address, start_timeout=60):
        return cli.EXIT_DONE if train(json.loads(task)) == "finished" else cli.EXIT_STOPPED


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell that runs the tests behind itself ignores it
    ARGUMENTS, sys.argv[1:] = sys.argv[1:], []
    processes.HEARTBEAT_SECONDS = int(os.environ.get("HEARTBEAT_SECONDS", processes.HEARTBEAT_SECONDS))
    cli.run(main)

"""One process of a run of several, on batches made here: no data to prepare. Started by test_processes.py.

    python -m tests.distributed.process_program HOST:PORT NUM_PROCESSES PROCESS_ID JSON

The JSON is a list of actions, done one after the other in one start of the processes:
  {"train": FOLDER, "steps": N, "signal": [process, step, number of a signal]}
  {"move": FOLDER, "to": FOLDER}                a copy without its last checkpoint, by process 0
  {"agree": [facts of process 0, of process 1, …]}
  {"fail": [what process 0 raises or null, …]}
  {"time": number of steps at which to ask for a stop}
"""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import sys
import time
from pathlib import Path

from pause_jax.checkpointing.run_folder import RunFolder
from pause_jax.command_line import cli
from pause_jax.config import Config, DataConfig, MeshConfig, OptimizerConfig, PauseConfig, RunConfig, TrainConfig
from pause_jax.config.model import Execution
from pause_jax.distributed import processes
from pause_jax.errors import UserError
from tests.small_runs import FAMILIES, B, L, make_batch


def make_config(steps: int) -> Config:
    """Four devices, accumulation, pauses."""
    return Config(
        model=dataclasses.replace(FAMILIES["gpt"], num_pause_tokens=1),
        pauses=PauseConfig(rate=0.1),
        data=DataConfig(length=L),
        optimizer=OptimizerConfig(learning_rate=1e-2, warmup_steps=2, schedule="constant"),
        train=TrainConfig(steps=steps, batch_size=B),
        run=RunConfig(
            mesh=MeshConfig(data=2, tensor=2),
            execution=Execution(scan_layers="on"),
            accumulation=2,
            log_every=2,
            validate_every=5,
            checkpoint_every=10,
            keep_checkpoints=9,
        ),
    )


def train(folder: Path, steps: int, signal: list[int] | None = None) -> str:
    """Train in `folder`; `signal` is sent by the process to itself when it makes the batch of that step."""
    from pause_jax.distributed import global_batch
    from pause_jax.distributed.mesh import make_mesh
    from pause_jax.training import loop

    config = make_config(steps)
    run_folder = RunFolder(folder)
    run_folder.claim(config, {"vocabulary": "byte-259"})
    mesh = make_mesh(config.run.mesh)
    rows = global_batch.process_rows(B, L, mesh, config.run.accumulation)

    def open_batches(start: int):
        t = start
        while True:
            if signal and signal[:2] == [processes.index(), t + 1]:
                os.kill(os.getpid(), signal[2])
            if signal and t + 1 > signal[1]:
                time.sleep(0.3)  # for JAX looks for signals once a second
            yield {name: array[rows] for name, array in make_batch(t).items()}
            t += 1

    return loop.train(
        loop.TrainingJob(
            config=config,
            mesh=mesh,
            rows=rows,
            open_batches=open_batches,
            validation={"loss": lambda: ({k: v[rows] for k, v in make_batch(10**6 + i).items()} for i in range(2))},
            folder=run_folder,
            label=folder.name,
            provenance={"code": "test", "vocabulary": "byte-259"},
        )
    )


def do(action: dict) -> None:
    me = processes.index()
    if "train" in action:
        outcome = train(Path(action["train"]), action["steps"], action.get("signal"))
        print(f"process {me}: {outcome}")
    if "move" in action:
        if me == 0:
            shutil.copytree(action["move"], action["to"])
            shutil.rmtree(Path(action["to"]) / "checkpoints" / "20")
        processes.assert_equal_across_processes({})
    if "agree" in action:
        processes.assert_equal_across_processes(action["agree"][me])
    if "fail" in action and action["fail"][me] is not None:
        raise UserError(action["fail"][me])
    if "time" in action:
        from pause_jax.training.signals import StopSignals

        with StopSignals() as stop:
            begun = time.perf_counter()
            assert not any(stop.agreed(step) for step in range(1, action["time"] + 1))
            print(f"microseconds {1e6 * (time.perf_counter() - begun) / action['time']:.1f}")


def main(argv: list[str]) -> None:
    coordinator, size, me, actions = ARGUMENTS
    address = processes.Address(coordinator, int(size), int(me)) if int(size) > 1 else None
    with processes.initialize(address, start_timeout=int(os.environ.get("START_TIMEOUT", 60))):
        for action in json.loads(actions):
            do(action)


if __name__ == "__main__":
    ARGUMENTS, sys.argv[1:] = sys.argv[1:], []
    if "SECONDS_TO_LEAVE" in os.environ and ARGUMENTS[2] != "0":
        tell = processes._tell
        processes._tell = lambda why: tell(why) or time.sleep(float(os.environ["SECONDS_TO_LEAVE"]))
    processes.HEARTBEAT_SECONDS = int(os.environ.get("HEARTBEAT_SECONDS", processes.HEARTBEAT_SECONDS))
    cli.run(main)

"""Each command of standard input (JSON) in a fork of this process: flags parsed, config resolved, memory judged.

Prints a JSON list: for each command "" or what is wrong. Programs do nothing else, as `cli.run` is replaced.
"""

from __future__ import annotations

import dataclasses
import json
import os
import runpy
import sys
import traceback
from pathlib import Path
from typing import Any, NoReturn

import jax  # so that the forks have it
import ml_collections

from pause_jax.aot import topologies
from pause_jax.command_line import cli, flag_errors
from pause_jax.config import Config
from pause_jax.distributed import kernels, memory
from pause_jax.distributed.mesh import AXES, mesh_shape
from pause_jax.errors import UserError
from pause_jax.sweeps import execution, graph
from pause_jax.training import run as train

FLAGS = cli.FLAGS
del jax, ml_collections


def main() -> None:
    print(json.dumps([in_fork(command) for command in json.load(sys.stdin)]))


def in_fork(command: dict[str, Any]) -> str:
    reading, writing = os.pipe()
    if (child := os.fork()) == 0:
        os.close(reading)
        answer(command, writing)
    os.close(writing)
    with os.fdopen(reading) as told:
        text = told.read()
    _, status = os.waitpid(child, 0)
    return text if os.waitstatus_to_exitcode(status) == 0 else text or f"ended with {status}"


def answer(command: dict[str, Any], writing: int) -> NoReturn:
    problem = f"{command['module']} does not call cli.run"

    def resolve(_: Any) -> None:
        nonlocal problem
        try:
            check(command["module"], command["machines"])
            problem = ""
        except UserError as error:
            problem = str(error)

    cli.run = resolve
    sys.argv = [command["module"], *command["arguments"]]
    try:
        runpy.run_module(command["module"], run_name="__main__", alter_sys=True)
    except BaseException:
        problem = traceback.format_exc()
    os.write(writing, problem.encode())
    os._exit(0)


def check(module: str, machines: list[list[Any]]) -> None:
    """Raises UserError where the command line is a mistake, or its config does not go on the machines."""
    flag_errors.parse(sys.argv)
    if "config" not in FLAGS or not FLAGS["config"].present:
        return
    if module == "launch.sweep":
        sweep = graph.parse(flag_errors.as_dict(FLAGS.config, FLAGS["config"].config_filename))
        execution.parse(sweep.execution, sweep.sizes)
        return
    config = cli.load_config()
    if config.data.vocabulary != "byte" and not Path(config.data.vocabulary).exists():  # a file of the reader's
        config = dataclasses.replace(config, data=dataclasses.replace(config.data, vocabulary="byte"))
    config = train.resolve(config)
    for chip, devices in machines:
        fits(config, chip, devices)


def fits(config: Config, chip: str, devices: int) -> None:
    """Raises UserError where mesh, batch or memory do not go on so many chips of a kind."""
    rows = FLAGS["rows_per_device"].value * devices if "rows_per_device" in FLAGS and FLAGS.rows_per_device else 0
    if rows:
        config = dataclasses.replace(config, train=dataclasses.replace(config.train, batch_size=rows))
    sizes = dict(zip(AXES, mesh_shape(config.run.mesh, devices), strict=True))
    parts = sizes["data"] * sizes["fsdp"] * config.run.accumulation
    if config.train.batch_size % parts:
        raise UserError(f"config.train.batch_size = {config.train.batch_size} is not divisible by {parts}")
    config = kernels.resolve_config(config, topologies.platform_of_chip(chip))
    memory.check_chips(config, sizes, topologies.CHIPS[chip].hbm_bytes, f"the memory of a {chip}")


if __name__ == "__main__":
    main()

"""A training run, from its config to its end: data opened, everything checked, trained or replayed."""

from __future__ import annotations

import dataclasses
import functools
from importlib import metadata
from pathlib import Path
from typing import Literal

from absl import logging

from pause_jax import extras
from pause_jax.checkpointing import starting
from pause_jax.checkpointing.run_folder import RunFolder
from pause_jax.config import Config, flatten, to_dict
from pause_jax.distributed import processes
from pause_jax.errors import UserError
from pause_jax.logging import loggers
from pause_jax.system import code_version

Outcome = Literal["finished", "stopped", "replayed"]


def prepare(config: Config, workdir: Path) -> Config:
    """The resolved config of the run in `workdir`, the same in all processes.

    Raises:
      UserError: `init_from` is no run, the tokenizer does not fit, or another process has another config or code.
    """
    starting.check_source(config.init_from)
    config = resolve(starting.with_own_tokenizer(config, RunFolder(workdir)))
    fields = to_dict(config)
    del fields["data"]["data_dir"]  # each process may find the data elsewhere
    processes.assert_equal_across_processes(
        {
            **flatten({"config": fields}),
            "the code's version": code_version.code_version(),
            "JAX's version": metadata.version("jax"),
        }
    )
    return config


def conclusion(outcome: Outcome, config: Config, workdir: Path) -> str:
    """The line to print at the end of `run_training`; "" after a replay, which has printed its result."""
    return {
        "finished": f"trained to step {config.train.steps}: {workdir}",
        "stopped": f"stopped before the end, everything saved; run the same command again to go on from {workdir}",
        "replayed": "",
    }[outcome]


def notes(config: Config) -> list[str]:
    """Sentences that the user should read before a run is trained for long."""
    from pause_jax.interop import configs

    finetune = config.finetune
    if not finetune.task or finetune.attention == "causal":
        return []
    try:
        configs.hf_config(config.model)
    except UserError:
        return []  # it could not be exported anyway
    return [
        f"with config.finetune.attention = {finetune.attention!r} the run cannot be exported to Hugging Face: 'causal' "
        "can"
    ]


def check_data(config: Config) -> None:
    """Raises UserError where a config's text is not there, or what reads it. Reads names: TensorFlow takes seconds."""
    from pause_jax.data import shards, splits

    extras.require("data")
    if config.finetune.task:
        return
    if config.data.prepared:
        for folder, _ in config.data.prepared_folders:
            shards.read_manifest(Path(folder))
    elif config.data.files:
        splits.files_of(config.data)


def resolve(config: Config) -> Config:
    """`config` with the vocabulary's size filled in.

    Raises:
      UserError: the tokenizer has ids that the model has no row for.
    """
    from pause_jax.tokenizers import tokenizer

    size = tokenizer.load(config.data.vocabulary).size
    if config.model.vocab_size and config.model.vocab_size < size:
        raise UserError(
            f"config.model.vocab_size = {config.model.vocab_size} is less than the {size} ids of "
            f"config.data.vocabulary = {config.data.vocabulary!r}: raise it, or leave it 0 to take as many"
        )
    model = dataclasses.replace(config.model, vocab_size=config.model.vocab_size or size)
    return dataclasses.replace(config, model=model)


def run_training(config: Config, workdir: Path) -> Outcome:
    """Train a resolved config in its folder, from wherever it stands; or print what its `run.replay_step` computes.

    Raises:
      UserError: the folder holds another run, or config, data or mesh do not fit; nothing was written then.
      RunStopped: loss or gradient was not finite for too long.
    """
    folder = RunFolder(workdir)
    replaying = config.run.replay_step > 0
    if replaying:
        folder.check_config(config)
    finished = folder.is_finished(config) and not replaying
    processes.assert_equal_across_processes({f"the steps saved in --workdir={workdir}": folder.saved_steps()})
    if finished and folder.has_places_of(config):
        return "finished"
    loggers.check_installed(config.run.loggers)
    check_data(config)
    # Imported here: TensorFlow and JAX take seconds, and a mistake in the command is reported before that.
    from pause_jax.data.training_data import open_training_data
    from pause_jax.distributed import global_batch, kernels, memory, mesh
    from pause_jax.training import initialize, loop, optimizer, replay

    devices = mesh.make_mesh(config.run.mesh)
    config = kernels.resolve_config(config, kernels.platform_of(devices))
    rows = global_batch.process_rows(config.train.batch_size, config.length, devices, config.run.accumulation)
    initialize.check_config(config, devices)
    memory.check_training(config, devices)
    data = open_training_data(config)
    if processes.index() == 0:
        for sentence in data.warnings:
            logging.warning("%s", sentence)
    processes.assert_equal_across_processes(flatten({"data": data.manifest}))
    job = loop.TrainingJob(
        config=config,
        mesh=devices,
        rows=rows,
        open_batches=functools.partial(data.train, rows),
        validation={name: functools.partial(open_, rows) for name, open_ in data.validation.items()},
        folder=folder,
        label=workdir.name,
        provenance={"code": code_version.code_version(), "vocabulary": data.manifest["vocabulary"]},
    )
    with folder.held():
        before = folder.config() if folder.exists() else config
        folder.claim(config, data.manifest)
        if rise := optimizer.check_prolonged(before, config, max(folder.saved_steps(), default=0)):
            logging.warning("%s", rise)
        if finished:
            return "finished"
        if not replaying:
            return loop.train(job)
        text = replay.replay(job)
        if processes.index() == 0:
            print(text)
        return "replayed"

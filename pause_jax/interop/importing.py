"""Imports a Hugging Face folder as a run, with one weight in this machine's memory at a time."""

from __future__ import annotations

import dataclasses
import functools
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from absl import logging
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from pause_jax import trees
from pause_jax.checkpointing import checkpoints
from pause_jax.checkpointing.run_folder import RunFolder
from pause_jax.config import Config, DataConfig, TrainConfig
from pause_jax.config.model import ModelConfig
from pause_jax.distributed import processes, sharding
from pause_jax.errors import UserError
from pause_jax.interop import configs, files, tokenizers
from pause_jax.interop.weights import TOKEN_TABLES, Folder, Reader, TextRows
from pause_jax.system.files import check_writable
from pause_jax.tokenizers import tokenizer

_LENGTH = 256  # positions in a row of the run's config; a run that starts from it has its own


def import_folder(source: Path, workdir: Path, mesh: Mesh, vocabulary: str = "") -> RunFolder:
    """Make `workdir` a run at step 0 with the weights, config and tokenizer of `source`.

    Args:
      vocabulary: as `config.data.vocabulary`; "": the tokenizer of `source`. It is copied into the run's folder.

    Raises:
      UserError: `source` is incomplete or damaged, the decoder cannot be its model, or `workdir` holds a run already.
    """
    folder, is_new = RunFolder(workdir), not workdir.exists()
    if folder.exists():
        raise UserError(f"--workdir={workdir} holds a run already: give another, or delete it")
    try:
        if processes.index() == 0:
            check_writable(workdir / "config.json", f"--workdir={workdir}")
        with tempfile.TemporaryDirectory() as scratch:
            _import(source, folder, mesh, vocabulary, Path(scratch))
    except BaseException:
        if is_new and not folder.exists() and processes.index() == 0:
            shutil.rmtree(workdir, ignore_errors=True)  # a checkpoint may be there already
        raise
    return folder


def _import(source: Path, folder: RunFolder, mesh: Mesh, vocabulary: str, scratch: Path) -> None:
    model, pauses = _read_config(source)
    weights = Folder(source)
    text_only = TextRows(weights, model.vocab_size) if pauses else weights
    reader = Reader(text_only, model)
    paused = dataclasses.replace(model, num_pause_tokens=len(pauses))
    sharding.param_shardings(paused, mesh)  # or it cannot be cut over the mesh
    named = vocabulary or tokenizers.find(source)
    vocabulary = vocabulary or tokenizers.read_tokenizer(source, pauses, scratch)
    _check_tokenizer(vocabulary, named, model, source)
    config = Config(
        model=paused,
        train=TrainConfig(steps=1),
        data=DataConfig(vocabulary=vocabulary, length=min(_LENGTH, model.max_positions)),
    )
    config.validate()
    params = place(reader, model, mesh)
    if pauses:
        to = sharding.param_shardings(paused, mesh)["pause"]["embedding"]
        params["pause"] = {"embedding": _put(_table(weights)[pauses].astype(np.float32), to)}
    origin = {"imported_from": str(source.absolute())}
    with folder.held():
        if processes.index() == 0:
            shutil.rmtree(folder.checkpoints, ignore_errors=True)  # of an import that was killed: it is no run yet
        processes.assert_equal_across_processes({})
        checkpoints.save_params(folder.checkpoints, 0, params, origin)
        folder.claim(config, {"vocabulary": tokenizer.fingerprint(vocabulary), **origin})


def place(reader: Reader, model: ModelConfig, mesh: Mesh) -> dict[str, Any]:
    """The parameters on their devices; each layer's array is sent there as soon as it is read."""
    shardings = trees.flatten(sharding.param_shardings(model, mesh))
    flat: dict[str, Any] = {}
    for path, arrays in reader:
        to = shardings[path]
        flat[path] = _stack(arrays, model.num_layers, to) if path.startswith("layers/") else _put(next(arrays), to)
        logging.info("%s %s", path, flat[path].shape)
    return trees.unflatten(flat)


def _stack(arrays: Iterator[np.ndarray], num_layers: int, to: NamedSharding) -> jax.Array:
    """The layers' arrays as one, made on its devices and filled layer by layer."""
    of_one = NamedSharding(to.mesh, PartitionSpec(*to.spec[1:]))
    stacked: jax.Array | None = None
    for layer, array in enumerate(arrays):
        if stacked is None:
            stacked = jax.jit(functools.partial(jax.numpy.zeros, (num_layers, *array.shape)), out_shardings=to)()
        stacked = _fill(stacked, _put(array, of_one), layer, to=to)
    assert stacked is not None
    return stacked


@functools.partial(jax.jit, static_argnames="to", donate_argnums=0)
def _fill(stacked: jax.Array, one: jax.Array, layer: jax.Array, to: NamedSharding) -> jax.Array:
    filled = jax.lax.dynamic_update_index_in_dim(stacked, one, layer, axis=0)
    return jax.lax.with_sharding_constraint(filled, to)


def _put(array: np.ndarray, to: NamedSharding) -> jax.Array:
    """`array` on the devices of all processes, each of which sends its own part."""
    return jax.make_array_from_callback(array.shape, to, lambda index: array[index])


def _table(weights: Mapping[str, np.ndarray]) -> np.ndarray:
    """The token embedding, with the pauses' rows."""
    return next(weights[name] for name in weights if name.endswith(TOKEN_TABLES))


def _read_config(source: Path) -> tuple[ModelConfig, list[int]]:
    """The model of config.json, and which rows of its embedding are pauses. Raises UserError, which names the file."""
    file = source / "config.json"
    if not file.is_file():
        raise UserError(f"{file} is missing: give the folder of a Hugging Face model, with config.json and safetensors")
    hf = files.read_json(file)
    try:
        return configs.model_config(hf), configs.pauses_of(hf)
    except UserError as error:
        raise UserError(f"{file}: {str(error).removeprefix('Hugging Face config: ')}") from None


def _check_tokenizer(vocabulary: str, named: str, model: ModelConfig, source: Path) -> None:
    words = tokenizer.load(vocabulary)
    size = words.size
    if words.eos_id < 0:
        raise UserError(f"the tokenizer {named} has no token that ends a text: give another as --vocabulary")
    if size > model.vocab_size:
        raise UserError(
            f"the tokenizer {named} has ids up to {size - 1}, but the model in {source} has {model.vocab_size} "
            "rows of embeddings: give the tokenizer that it was trained with, as --vocabulary"
        )

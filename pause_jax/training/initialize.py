"""The state a run starts from: fresh, or with the parameters of another run's checkpoint."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import jax
import optax
from absl import logging

from pause_jax import trees
from pause_jax.checkpointing import checkpoints
from pause_jax.checkpointing.run_folder import RunFolder
from pause_jax.config import Config
from pause_jax.distributed import kernels, sharding
from pause_jax.distributed.optimizer_sharding import shardings_like_parameters
from pause_jax.errors import UserError
from pause_jax.model import decoder
from pause_jax.tokenizers import tokenizer
from pause_jax.training.step import State, new_state

# Random draws take LLVM 2 s each to optimize on a CPU, and run once: unoptimized, ten take 2 s together.
_COMPILE_FAST = {"xla_backend_optimization_level": "0"}


def check_config(config: Config, mesh: jax.sharding.Mesh) -> None:
    """Check all that can be wrong with the state, by shapes and names, before anything is computed or written.

    Raises:
      UserError: a parameter cannot be cut over the mesh, the mesh cannot run the attention kernel, or
        `config.init_from` is not there, does not fit or had another tokenizer.
    """
    sharding.param_shardings(config.model, mesh)
    kernels.check_kernels(config, mesh)
    if config.init_from:
        _locate_source(config)


def state_shardings(config: Config, optimizer: optax.GradientTransformation, mesh: jax.sharding.Mesh) -> Any:
    """The sharding of each array of the state: the optimizer's like its parameter's, counters replicated."""
    shapes = decoder.abstract_params(config.model)
    params = sharding.param_shardings(config.model, mesh)
    everywhere = sharding.replicated(mesh)
    opt_state = shardings_like_parameters(jax.eval_shape(optimizer.init, shapes), shapes, params)
    return {"params": params, "opt_state": opt_state, "step": everywhere}


def abstract_state(config: Config, optimizer: optax.GradientTransformation, mesh: jax.sharding.Mesh) -> State:
    """Shapes, dtypes and shardings of the state: what a checkpoint is restored into."""
    shapes = jax.eval_shape(lambda: new_state(decoder.init(config.model, config.seed), optimizer))
    return checkpoints.with_shardings(shapes, state_shardings(config, optimizer, mesh))


def initial_state(config: Config, optimizer: optax.GradientTransformation, mesh: jax.sharding.Mesh) -> State:
    """The state before step 1, already cut over the mesh; every array is made where it stays."""
    shardings = state_shardings(config, optimizer, mesh)
    if not config.init_from:

        def fresh() -> State:
            return new_state(decoder.init(config.model, config.seed), optimizer)

        return jax.jit(fresh, out_shardings=shardings, compiler_options=_COMPILE_FAST)()
    params = params_from(config, mesh)
    make = jax.jit(functools.partial(new_state, optimizer=optimizer), out_shardings=shardings, donate_argnums=0)
    return make(params)


def params_from(config: Config, mesh: jax.sharding.Mesh) -> Any:
    """Parameters of the checkpoint `config.init_from` for a model of `config`.

    Pauses that the checkpoint lacks are drawn from the seed; pauses that the model does not have are left out.
    Raises as `check_config`.
    """
    folder, step, source = _locate_source(config)
    params = checkpoints.restore_params(folder.checkpoints, step, source, mesh)
    logging.info("parameters from %s, step %d", folder.path, step)
    if source.model.num_pause_tokens and not config.model.num_pause_tokens:
        del params["pause"]
    elif config.model.num_pause_tokens and not source.model.num_pause_tokens:
        pause_sharding = sharding.param_shardings(config.model, mesh)["pause"]
        fresh = functools.partial(_new_pauses, config=config, size=tokenizer.load(config.data.vocabulary).size)
        params["pause"] = jax.jit(fresh, out_shardings=pause_sharding)(params["token"]["embedding"])
    return params


def _new_pauses(table_VxD: jax.Array, config: Config, size: int) -> dict[str, jax.Array]:
    """The `pause` part of the parameters for a model with these embeddings: noise around what `pauses.init` names."""
    noise = decoder.new_pauses(config.model, config.seed)
    if config.pauses.init == "noise":
        return noise
    if config.pauses.init == "mean":
        centre_D = table_VxD[:size].mean(axis=0)  # rows beyond the tokenizer's ids were never trained
    else:
        centre_D = table_VxD[tokenizer.load(config.data.vocabulary).encode(config.pauses.init_token)[-1]]
    return jax.tree.map(lambda vectors_PxD: centre_D[None] + vectors_PxD, noise)


def _locate_source(config: Config) -> tuple[RunFolder, int, Config]:
    """The run, step and config that `config.init_from` means, once they fit the model of `config`."""
    try:
        folder, step = checkpoints.locate(config.init_from)
    except UserError as error:
        raise UserError(
            f"config.init_from = {config.init_from!r}: {error}; where it has been moved, give --config.init_from its "
            "new place"
        ) from None
    source = folder.config()
    tokenizer.check_fingerprint(
        config.data.vocabulary,
        str(folder.manifest().get("vocabulary")),
        f"the checkpoint of config.init_from = {config.init_from!r}",
    )
    ours, theirs = config.model.num_pause_tokens, source.model.num_pause_tokens
    if ours and theirs and ours != theirs:
        raise UserError(
            f"config.model.num_pause_tokens = {ours}, but the checkpoint of config.init_from = {config.init_from!r} "
            f"has {theirs} distinct pauses: take as many"
        )
    without_pauses = (dataclasses.replace(model, num_pause_tokens=0) for model in (config.model, source.model))
    shapes, source_shapes = (trees.flatten(decoder.abstract_params(model)) for model in without_pauses)
    for path in sorted(shapes.keys() | source_shapes.keys()):
        here, there = (tree[path].shape if path in tree else "absent" for tree in (shapes, source_shapes))
        if here != there:
            raise UserError(
                f"the model does not fit the checkpoint of config.init_from = {config.init_from!r}: parameter {path} "
                f"is {here} here and {there} there; make config.model that of the checkpoint's run"
            )
    other = [
        name
        for name, value in dataclasses.asdict(config.model).items()
        if name != "num_pause_tokens" and value != getattr(source.model, name)
    ]
    if other:
        logging.warning("config.model differs from that of %s in %s", config.init_from, ", ".join(other))
    return folder, step, source

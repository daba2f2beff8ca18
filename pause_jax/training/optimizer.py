"""The optimizer, all of it in Optax, and the schedules of its learning rate.

`make_optimizer` chains, in this order: clipping of the gradients, the algorithm that `config.optimizer.name` names in
`ALGORITHMS`, decoupled weight decay, freezing, and the learning rate. Parameters are treated differently (decay, Muon,
freezing) by their group, which follows from their path.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
import optax
import optax.contrib

from pause_jax import trees
from pause_jax.config import Config, OptimizerConfig

NOTICED = 1.1  # how many times the learning rate before a rise must be for a warning

Group = Literal["pause", "embedding", "kernel", "vector"]


def group(path: str) -> Group:
    """The group of the parameter at `path`: pause embeddings, embeddings and the head, matrices, biases and norms."""
    if path.startswith("pause/"):
        return "pause"
    name = path.rpartition("/")[2]
    return name if name in ("embedding", "kernel") else "vector"  # type: ignore[return-value]


def make_optimizer(config: OptimizerConfig) -> optax.GradientTransformationExtraArgs:
    """The optimizer whose updates are added to the parameters (`optax.apply_updates`).

    Its `update` takes two more arguments: `step`, the number of steps before this one, skipped ones counted, and
    `learning_rate`, the schedule's value there. So neither is part of the state.
    """
    chain = optax.chain(
        optax.clip_by_global_norm(config.clip_norm) if config.clip_norm else optax.identity(),
        ALGORITHMS[config.name](config),
        optax.add_decayed_weights(config.weight_decay, mask=decay_mask),
    )

    def update(grads: Any, state: Any, params: Any, *, step: Any, learning_rate: Any) -> tuple[Any, Any]:
        updates, state = chain.update(grads, state, params)
        if config.pause_only_steps:
            updates = _freeze(updates, step < config.pause_only_steps)
        return jax.tree.map(lambda u: -learning_rate * u, updates), state

    # Freezing and the rate are no links of the chain: a link adds an entry to the state, and older checkpoints lack it.
    return optax.GradientTransformationExtraArgs(chain.init, update)  # type: ignore[arg-type]


def _adamw(config: OptimizerConfig) -> optax.GradientTransformation:
    """Adam (Kingma & Ba 2015); with the weight decay of `make_optimizer` it is AdamW."""
    return optax.scale_by_adam(config.b1, config.b2, config.eps, mu_dtype=jnp.dtype(config.moments_dtype))


def _lion(config: OptimizerConfig) -> optax.GradientTransformation:
    """Lion (Chen et al. 2023): the sign of a momentum; the momentum is its only state."""
    return optax.scale_by_lion(config.b1, config.b2, mu_dtype=jnp.dtype(config.moments_dtype))


def _muon(config: OptimizerConfig) -> optax.GradientTransformation:
    """Muon (Jordan 2024) for matrices, with momentum b1; NAdam for embeddings, head, biases, norms and pauses.

    Each layer's matrix is orthogonalized on its own: from d_model to the heads (or back) and to the MLP's width.
    Updates have the root mean square of AdamW's, 0.2, so that a learning rate of AdamW serves (Liu et al. 2025).
    """
    return optax.contrib.muon(
        learning_rate=-1.0,  # the update's direction alone: its sign and size come last in `make_optimizer`
        beta=config.b1,
        eps=config.eps,
        mu_dtype=jnp.dtype(config.moments_dtype),
        adam_b1=config.b1,
        adam_b2=config.b2,
        muon_weight_dimension_numbers=_matrix_dims,
        consistent_rms=0.2,
    )


def _adafactor(config: OptimizerConfig) -> optax.GradientTransformation:
    """Adafactor (Shazeer & Stern 2018) as `optax.adafactor` has it, without momentum.

    Where a matrix's two largest dimensions are both at least 128, it keeps second moments of rows and columns only. The
    learning rate is relative to each parameter's root mean square; b1, b2 and eps are not used.
    """
    del config
    return optax.chain(optax.scale_by_factored_rms(), optax.clip_by_block_rms(1.0), optax.scale_by_param_block_rms())


# config.optimizer.name → the function that makes it: updates in the direction of the gradient, of size 1.
ALGORITHMS: dict[str, Callable[[OptimizerConfig], optax.GradientTransformation]] = {
    "adamw": _adamw,
    "lion": _lion,
    "muon": _muon,
    "adafactor": _adafactor,
}


def decay_mask(params: Any) -> Any:
    """True for matrices (kernels and embeddings), False for biases, norms and the pauses' vectors."""
    return trees.map_with_path(lambda path, _: group(path) in ("kernel", "embedding"), params)


def _freeze(updates: Any, frozen: jax.Array) -> Any:
    """`updates`; where `frozen`, all but those of pauses become zero."""
    moves = jnp.where(frozen, 0.0, 1.0)
    return trees.map_with_path(lambda path, u: u if group(path) == "pause" else u * moves, updates)


def _matrix_dims(params: Any) -> Any:
    """Which dimensions of each matrix are its inputs and outputs, the first being that of layers; None for others."""

    def dims(path: str, param: Any) -> optax.contrib.MuonDimensionNumbers | None:
        if group(path) != "kernel":
            return None
        inputs = (1, 2) if path.endswith("attention/out/kernel") else (1,)  # heads · head size
        return optax.contrib.MuonDimensionNumbers(inputs, tuple(range(1 + len(inputs), param.ndim)))

    return trees.map_with_path(dims, params)


def make_schedule(config: OptimizerConfig, steps: int) -> optax.Schedule:
    """Learning rate of update number 0, 1, … `steps` − 1: linear warm-up to the peak, then the schedule."""
    peak, warmup, steps = config.learning_rate, config.warmup_steps, config.schedule_steps or steps
    rest = max(1, steps - 1 - warmup)  # the last update is made at the final value
    after: optax.Schedule
    if config.schedule == "cosine":
        after = optax.cosine_decay_schedule(peak, rest, alpha=config.final_fraction)
    elif config.schedule == "linear":
        after = optax.linear_schedule(peak, peak * config.final_fraction, rest)
    elif config.schedule == "rsqrt":
        anchor = max(1, warmup)

        def after(count: Any) -> Any:  # continuous with the warm-up: peak · sqrt(warmup / step)
            return peak * (anchor / (anchor + count)) ** 0.5
    elif config.schedule == "wsd":
        stable = min(rest - 1, max(0, round(config.decay_from * steps) - warmup))
        after = optax.linear_schedule(peak, peak * config.final_fraction, rest - stable, transition_begin=stable)
    else:
        after = optax.constant_schedule(peak)
    if not warmup:
        return after
    # The first update already moves: peak / warmup, not zero.
    warm = optax.linear_schedule(peak / warmup, peak, max(1, warmup - 1))
    return optax.join_schedules([warm, after], [warmup])


def check_prolonged(before: Config, now: Config, step: int) -> str | None:
    """A warning for a run that goes on at a higher learning rate than it had; None where the rate hardly rises.

    Args:
      before: the config that the run had up to its checkpoint of step `step`.
      now: the config that it goes on with.
    """
    if not step:
        return None
    last, following = (
        float(make_schedule(config.optimizer, config.train.steps)(count))
        for config, count in ((before, step - 1), (now, step))
    )
    if following <= NOTICED * last:
        return None
    schedule, end = now.optimizer.schedule, before.optimizer.schedule_steps or before.train.steps
    return (
        f"the learning rate rises from {last:.3g} at step {step} to {following:.3g} at step {step + 1}, and the loss "
        f"may with it: config.optimizer.schedule = {schedule!r} now ends at step "
        f"{now.optimizer.schedule_steps or now.train.steps} in place of {end}; to stay at the last value add "
        f"--config.optimizer.schedule_steps={end}, and a run that is to be prolonged is best made with "
        "--config.optimizer.schedule=wsd, from a checkpoint before its decay"
    )

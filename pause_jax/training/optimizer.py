"""AdamW and its schedules. The learning rate is a function of the step alone, skipped steps counted."""

from __future__ import annotations

from typing import Any

import optax

from pause_jax import trees
from pause_jax.config import Config, OptimizerConfig

NOTICED = 1.1  # times the learning rate before


def make_optimizer(config: OptimizerConfig) -> optax.GradientTransformation:
    """Clipping, Adam, decoupled weight decay; its updates are to be multiplied by minus the learning rate."""
    clip = optax.clip_by_global_norm(config.clip_norm) if config.clip_norm else optax.identity()
    return optax.chain(
        clip,
        optax.scale_by_adam(config.b1, config.b2, config.eps),
        optax.add_decayed_weights(config.weight_decay, mask=decay_mask),
    )


def decay_mask(params: Any) -> Any:
    """True for matrices (kernels and embeddings), False for biases, norms and the pauses' vectors."""

    def decays(path: str, _: Any) -> bool:
        return path.split("/")[-1] in ("kernel", "embedding") and not path.startswith("pause/")

    return trees.map_with_path(decays, params)


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
    """What to tell where a run goes on at another learning rate than it had; None where it hardly changes.

    Args:
      before: the config that the run had up to its checkpoint of step `step`; `now`: the one that it goes on with.
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

import dataclasses

import jax.numpy as jnp
import numpy as np
import optax
import pytest

from pause_jax import trees
from pause_jax.config import Config, OptimizerConfig, TrainConfig
from pause_jax.config.model import ModelConfig
from pause_jax.errors import UserError
from pause_jax.model import decoder
from pause_jax.training.optimizer import check_prolonged, decay_mask, make_optimizer, make_schedule


def learning_rates(steps, **fields):
    schedule = make_schedule(OptimizerConfig(**fields), steps)
    return np.array([float(schedule(jnp.asarray(step))) for step in range(steps)])


def test_warmup_is_linear_and_reaches_the_peak():
    rates = learning_rates(10, learning_rate=1.0, schedule="constant", warmup_steps=4)
    np.testing.assert_allclose(rates, [0.25, 0.5, 0.75, 1, 1, 1, 1, 1, 1, 1], rtol=1e-6)


def test_cosine_and_linear_end_at_the_final_fraction():
    cosine = learning_rates(11, learning_rate=2.0, schedule="cosine", warmup_steps=0, final_fraction=0.1)
    linear = learning_rates(11, learning_rate=2.0, schedule="linear", warmup_steps=0, final_fraction=0.1)
    np.testing.assert_allclose([cosine[0], cosine[5], cosine[10]], [2.0, 1.1, 0.2], rtol=1e-6)
    np.testing.assert_allclose(linear, np.linspace(2.0, 0.2, 11), rtol=1e-6)


def test_rsqrt_is_continuous_with_the_warmup():
    rates = learning_rates(64, learning_rate=1.0, schedule="rsqrt", warmup_steps=16)
    np.testing.assert_allclose([rates[15], rates[16], rates[63]], [1.0, 1.0, np.sqrt(16 / 63)], rtol=1e-6)


def test_wsd_warms_up_stays_and_falls():
    """100 steps, 10 of warm-up, flat to step 60, then in a line to a tenth at the last."""
    rates = learning_rates(100, learning_rate=2.0, schedule="wsd", warmup_steps=10, decay_from=0.6)
    np.testing.assert_allclose(rates[:10], np.arange(1, 11) * 0.2, rtol=1e-6)
    np.testing.assert_allclose(rates[10:61], 2.0, rtol=1e-6)
    np.testing.assert_allclose(rates[60:], 2.0 - 1.8 * np.arange(40) / 39, rtol=1e-5)


@pytest.mark.parametrize("schedule", ["cosine", "linear", "wsd"])
def test_a_schedule_that_ends_before_the_run_stays_at_its_last_value(schedule):
    fields = {"learning_rate": 2.0, "schedule": schedule, "warmup_steps": 2, "final_fraction": 0.1}
    rates = learning_rates(15, schedule_steps=10, **fields)
    np.testing.assert_array_equal(rates[:10], learning_rates(10, **fields))
    np.testing.assert_allclose(rates[10:], 0.2, rtol=1e-6)


def test_only_schedules_with_an_end_have_steps():
    with pytest.raises(UserError, match=r"schedule = 'rsqrt' has no end: leave it 0"):
        OptimizerConfig(schedule="rsqrt", schedule_steps=5).validate()


def prolonged(schedule, step=6, to=12, **fields):
    before = Config(
        optimizer=OptimizerConfig(learning_rate=3e-3, schedule=schedule, warmup_steps=1), train=TrainConfig(steps=6)
    )
    optimizer = dataclasses.replace(before.optimizer, **fields)
    return check_prolonged(before, dataclasses.replace(before, optimizer=optimizer, train=TrainConfig(steps=to)), step)


@pytest.mark.parametrize("schedule", ["cosine", "linear", "wsd"])
def test_a_learning_rate_that_rises_as_a_run_is_prolonged_is_told(schedule):
    told = prolonged(schedule)
    assert told.startswith("the learning rate rises from 0.0003 at step 6 to 0.00")
    assert "ends at step 12 in place of 6" in told and "--config.optimizer.schedule_steps=6" in told
    assert prolonged(schedule, schedule_steps=6) is None  # as it advises
    assert prolonged(schedule, step=0) is None  # nothing was trained
    assert prolonged(schedule, to=6) is None  # the same command again


def test_schedules_without_an_end_do_not_rise():
    assert prolonged("constant") is None and prolonged("rsqrt") is None
    assert prolonged("wsd", step=4) is None  # before its decay: what wsd is for


@pytest.mark.parametrize("warmup", [0, 1, 100])
def test_odd_warmups_stay_finite(warmup):
    rates = learning_rates(5, learning_rate=1.0, schedule="cosine", warmup_steps=warmup)
    assert np.isfinite(rates).all() and rates.max() <= 1.0 and rates[0] > 0


def test_only_matrices_decay():
    config = ModelConfig(vocab_size=11, num_layers=2, d_model=8, num_heads=2, d_ff=8, max_positions=4, qk_norm=True)
    mask = trees.flatten(decay_mask(decoder.abstract_params(dataclasses.replace(config, num_pause_tokens=2))))
    decayed = {path for path, decays in mask.items() if decays}
    assert decayed == {
        "token/embedding",
        "positions/embedding",
        "layers/attention/q/kernel",
        "layers/attention/k/kernel",
        "layers/attention/v/kernel",
        "layers/attention/out/kernel",
        "layers/mlp/up/kernel",
        "layers/mlp/down/kernel",
    }
    assert mask["pause/embedding"] is False


def test_first_update_by_hand():
    """Adam's first update is the gradient's sign; decay adds weight_decay · parameter, to the kernel alone."""
    optimizer = make_optimizer(OptimizerConfig(weight_decay=0.5, clip_norm=0.0, eps=0.0))
    params = {"a": {"kernel": jnp.array([2.0, -4.0]), "bias": jnp.array([3.0])}}
    grads = {"a": {"kernel": jnp.array([0.1, -0.2]), "bias": jnp.array([0.3])}}
    updates, _ = optimizer.update(grads, optimizer.init(params), params)
    np.testing.assert_allclose(updates["a"]["kernel"], [1 + 1.0, -1 - 2.0], rtol=1e-5)
    np.testing.assert_allclose(updates["a"]["bias"], [1.0], rtol=1e-5)


def test_clipping_is_on_the_global_norm():
    """eps so large that Adam divides by it: the update is then proportional to the clipped gradient."""
    params = {"a": {"bias": jnp.zeros(1)}, "b": {"bias": jnp.zeros(1)}}
    grads = {"a": {"bias": jnp.array([3.0])}, "b": {"bias": jnp.array([4.0])}}
    config = OptimizerConfig(weight_decay=0.0, clip_norm=1.0, eps=1e6)
    optimizer = make_optimizer(config)
    updates, _ = optimizer.update(grads, optimizer.init(params), params)
    np.testing.assert_allclose(optax.tree.norm(updates) * 1e6, 1.0, rtol=1e-4)
    np.testing.assert_allclose(updates["b"]["bias"] / updates["a"]["bias"], [4 / 3], rtol=1e-5)

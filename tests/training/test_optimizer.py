import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from pause_jax import trees
from pause_jax.config import Config, DataConfig, MeshConfig, OptimizerConfig, RunConfig, TrainConfig
from pause_jax.config.model import ModelConfig
from pause_jax.distributed import global_batch, memory
from pause_jax.distributed.mesh import AXES, make_mesh
from pause_jax.errors import UserError
from pause_jax.model import decoder
from pause_jax.training import initialize
from pause_jax.training.loop import jit_steps
from pause_jax.training.optimizer import ALGORITHMS, check_prolonged, decay_mask, group, make_optimizer, make_schedule


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
    """Adam's first is the gradient's sign; decay adds weight_decay · parameter, to the kernel alone; both · −rate."""
    optimizer = make_optimizer(OptimizerConfig(weight_decay=0.5, clip_norm=0.0, eps=0.0))
    params = {"a": {"kernel": jnp.array([2.0, -4.0]), "bias": jnp.array([3.0])}}
    grads = {"a": {"kernel": jnp.array([0.1, -0.2]), "bias": jnp.array([0.3])}}
    updates, _ = optimizer.update(grads, optimizer.init(params), params, step=0, learning_rate=0.1)
    np.testing.assert_allclose(updates["a"]["kernel"], [-0.1 * (1 + 1.0), -0.1 * (-1 - 2.0)], rtol=1e-5)
    np.testing.assert_allclose(updates["a"]["bias"], [-0.1], rtol=1e-5)


def test_clipping_is_on_the_global_norm():
    """eps so large that Adam divides by it: the update is then proportional to the clipped gradient."""
    params = {"a": {"bias": jnp.zeros(1)}, "b": {"bias": jnp.zeros(1)}}
    grads = {"a": {"bias": jnp.array([3.0])}, "b": {"bias": jnp.array([4.0])}}
    config = OptimizerConfig(weight_decay=0.0, clip_norm=1.0, eps=1e6)
    optimizer = make_optimizer(config)
    updates, _ = optimizer.update(grads, optimizer.init(params), params, step=0, learning_rate=1.0)
    np.testing.assert_allclose(optax.tree.norm(updates) * 1e6, 1.0, rtol=1e-4)
    np.testing.assert_allclose(updates["b"]["bias"] / updates["a"]["bias"], [4 / 3], rtol=1e-5)


# 128 and more on two sides of its matrices, or Adafactor would not factor them. Without biases: the keys' have no
# gradient but rounding's.
WIDE = ModelConfig(
    vocab_size=136,
    num_layers=2,
    d_model=128,
    num_heads=2,
    d_ff=160,
    max_positions=12,
    tie_embeddings=False,
    attention_bias="none",
)


ONE_DEVICE, CUT = MeshConfig(data=1), MeshConfig(data=2, fsdp=2, tensor=2)


def run_config(name, mesh=ONE_DEVICE, **fields):
    return Config(
        model=dataclasses.replace(WIDE, num_pause_tokens=1),
        data=DataConfig(length=12),
        optimizer=OptimizerConfig(name=name, warmup_steps=0, schedule="constant", **fields),
        train=TrainConfig(batch_size=8, steps=3),
        run=RunConfig(mesh=mesh),
    )


def trained(config, devices, steps=2):
    """The state after some steps on batches drawn from a seed, on as many devices."""
    mesh = make_mesh(config.run.mesh, jax.devices()[:devices])
    state = initialize.initial_state(config, make_optimizer(config.optimizer), mesh)
    step, _, _ = jit_steps(config, mesh)
    draw = np.random.default_rng(0)
    for _ in range(steps):
        ids_BxL = draw.integers(0, WIDE.vocab_size, (8, 13)).astype(np.int32)
        ids_BxL[:, 5] = WIDE.vocab_size  # a pause
        local = {
            "inputs": ids_BxL[:, :-1],
            "targets": ids_BxL[:, 1:],
            "loss_weights": (ids_BxL[:, 1:] < WIDE.vocab_size).astype(np.float32),
            "positions": np.tile(np.arange(12, dtype=np.int32), (8, 1)),
            "segment_ids": np.ones((8, 12), np.int32),
        }
        state, metrics = step(state, global_batch.to_global(local, list(range(8)), 8, mesh))
    return state, metrics


def test_a_name_that_has_no_algorithm_is_refused():
    with pytest.raises(UserError, match=r"config\.optimizer\.name is 'sgd', but must be one of 'adamw', 'lion'"):
        OptimizerConfig(name="sgd").validate()


@pytest.mark.parametrize("name", ALGORITHMS)
def test_every_algorithm_lowers_a_loss(name):
    """A distance, in ten steps; and every parameter has moved."""
    optimizer = make_optimizer(OptimizerConfig(name=name, weight_decay=0.0))
    target = {"a": {"kernel": jnp.ones((1, 4, 4))}, "b": {"embedding": jnp.ones((4, 2))}, "c": {"bias": jnp.ones(3)}}

    @jax.jit
    @jax.value_and_grad
    def loss_and_grads(params):
        return sum(jax.tree.leaves(jax.tree.map(lambda x, y: jnp.sum((x - y) ** 2), params, target)))

    params = jax.tree.map(lambda x: 0.1 * x, target)
    state, before = optimizer.init(params), params
    first, _ = loss_and_grads(params)
    for step in range(10):
        _, grads = loss_and_grads(params)
        updates, state = optimizer.update(grads, state, params, step=step, learning_rate=0.05)
        params = optax.apply_updates(params, updates)
    last, _ = loss_and_grads(params)
    assert last < first
    assert all(np.all(a != b) for a, b in zip(jax.tree.leaves(before), jax.tree.leaves(params), strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["muon", "adafactor"])
def test_a_mesh_changes_no_optimizers_steps_beyond_rounding(name):
    """Two steps on 8 devices and on one. A state's arrays of other shapes than parameters' are cut as these are."""
    alone, told = trained(run_config(name), devices=1)
    cut, also_told = trained(run_config(name, CUT), devices=8)
    np.testing.assert_allclose(also_told["loss"], told["loss"], rtol=1e-4)
    for path, leaf in trees.flatten(cut["opt_state"]).items():
        held = trees.flatten(alone["opt_state"])[path]
        np.testing.assert_allclose(leaf, held, rtol=1e-3, atol=1e-3 * float(jnp.abs(held).max()), err_msg=path)


def test_adafactors_rows_and_columns_lie_as_their_matrices():
    """An embedding [vocab over tensor, embed over fsdp] has a row's moment along vocab and a column's along embed."""
    mesh = make_mesh(CUT)
    config = run_config("adafactor", CUT)
    state = initialize.abstract_state(config, make_optimizer(config.optimizer), mesh)
    arrays = {path: (x.shape, tuple(x.sharding.spec)) for path, x in trees.flatten(state["opt_state"]).items()}
    rows, columns = (
        next(value for path, value in arrays.items() if path.endswith(f"{field}/token/embedding"))
        for field in ("v_row", "v_col")
    )
    assert {rows, columns} == {((128,), ("fsdp",)), ((136,), ("tensor",))}


@pytest.mark.parametrize(
    ("fields", "words"),  # of float32 held beside each parameter
    [
        ({"name": "adamw"}, 2.0),
        ({"name": "adamw", "moments_dtype": "bfloat16"}, 1.5),
        ({"name": "lion"}, 1.0),
        ({"name": "lion", "moments_dtype": "bfloat16"}, 0.5),
        ({"name": "muon"}, 1.3),  # one for matrices, two for the rest
        ({"name": "adafactor"}, 0.5),  # attention's matrices, whose heads are narrow, have theirs whole
    ],
)
def test_memory_is_told_of_what_the_optimizer_keeps(fields, words):
    config = run_config(**fields)
    sizes = dict.fromkeys(AXES, 1)
    held = memory.optimizer_bytes(config, sizes)
    assert held / memory.parameter_bytes(config, sizes) == pytest.approx(words, abs=0.15)
    state = jax.eval_shape(
        make_optimizer(config.optimizer).init, decoder.abstract_params(dataclasses.replace(WIDE, num_pause_tokens=1))
    )
    assert held == sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(state))


def test_a_first_moment_that_is_not_kept_has_no_dtype():
    with pytest.raises(UserError, match=r"moments_dtype = 'bfloat16' .* 'adafactor' keeps none"):
        OptimizerConfig(name="adafactor", moments_dtype="bfloat16").validate()


def test_muon_is_for_matrices_alone():
    """Nearly all singular values of its update of a matrix are near 0.2 · sqrt(larger side)."""
    optimizer = make_optimizer(OptimizerConfig(name="muon", weight_decay=0.0, clip_norm=0.0))
    params = decoder.init(dataclasses.replace(WIDE, num_pause_tokens=1), seed=0)
    grads = jax.tree.map(lambda x: jax.random.normal(jax.random.key(1), x.shape), params)
    updates, _ = optimizer.update(grads, optimizer.init(params), params, step=0, learning_rate=1.0)
    for path, update in trees.flatten(updates).items():
        if group(path) == "kernel":
            inputs = 2 if path.endswith("out/kernel") else 1
            rows = int(np.prod(update.shape[1 : 1 + inputs]))
            for matrix in np.asarray(update).reshape(update.shape[0], rows, -1):
                values = np.linalg.svd(matrix, compute_uv=False) / (0.2 * max(matrix.shape) ** 0.5)
                assert np.quantile(values, 0.05) > 0.5 and values.max() < 1.5, path
        else:
            np.testing.assert_allclose(np.abs(update), np.abs(update).max(), rtol=1e-3, err_msg=path)  # Adam's

"""The step on hand-made batches: accumulation, skipping, counting."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pause_jax.config import OptimizerConfig
from pause_jax.config.model import ModelConfig
from pause_jax.model import decoder
from pause_jax.network import Network
from pause_jax.training.objective import CrossEntropy
from pause_jax.training.optimizer import make_optimizer, make_schedule
from pause_jax.training.step import make_train_step, new_state

V, B, L = 23, 8, 12
MODEL = ModelConfig(
    vocab_size=V,
    num_pause_tokens=1,
    num_layers=2,
    d_model=16,
    num_heads=2,
    d_ff=32,
    max_positions=L,
    init_std=0.5,
)
NETWORK = Network(MODEL).bind


def make_batch(seed=0):
    """Rows whose numbers of pauses, and so of positions with a loss, differ much; the last row is half padding."""
    rng = np.random.default_rng(seed)
    share_Bx1 = np.linspace(0.0, 0.9, B)[:, None]
    z = np.where(rng.random((B, L + 1)) < share_Bx1, V, rng.integers(2, V, (B, L + 1)))
    segments = np.ones((B, L + 1), np.int32)
    z[-1, L // 2 :], segments[-1, L // 2 :] = 0, 0
    weights = (z[:, 1:] < V) & (segments[:, 1:] > 0)
    return {
        "inputs": jnp.asarray(z[:, :-1], jnp.int32),
        "targets": jnp.asarray(z[:, 1:], jnp.int32),
        "loss_weights": jnp.asarray(weights, jnp.float32),
        "positions": jnp.asarray(np.tile(np.arange(L), (B, 1)), jnp.int32),
        "segment_ids": jnp.asarray(segments[:, :-1]),
    }


@functools.cache
def initial_params():
    return jax.jit(lambda: decoder.init(MODEL, seed=0))()


@functools.cache
def compiled_step(accumulation):
    return make_step(accumulation)


def make_step(accumulation=1, clip_norm=0.0, loss_chunk=0, terms=()):
    config = OptimizerConfig(clip_norm=clip_norm, warmup_steps=0, schedule="constant", learning_rate=1e-2)
    optimizer = make_optimizer(config)
    objective = CrossEntropy(NETWORK, loss_chunk, terms=terms)
    step = make_train_step(objective, optimizer, make_schedule(config, 10), vocab_size=V, accumulation=accumulation)
    return jax.jit(step), new_state(initial_params(), optimizer)


def gradients(accumulation, batch):
    """The step's gradients, read off Adam's first moment after one step from zero: (1 − b1) · gradient."""
    step, state = compiled_step(accumulation)
    state, metrics = step(state, batch)
    adam = state["opt_state"][1]
    return metrics, jax.tree.map(lambda mu: mu / (1 - OptimizerConfig().b1), adam.mu)


def test_accumulation_equals_one_large_batch():
    batch = make_batch()
    whole, whole_grads = gradients(1, batch)
    parts, parts_grads = gradients(4, batch)
    np.testing.assert_allclose(parts["loss"], whole["loss"], rtol=1e-5)
    scale = max(float(jnp.abs(g).max()) for g in jax.tree.leaves(whole_grads))
    for a, b in zip(jax.tree.leaves(whole_grads), jax.tree.leaves(parts_grads), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5 * scale)


def test_pauses_move_alone_at_first():
    """For two steps; then all does, by no more than it would have anyway."""
    optimizer = make_optimizer(OptimizerConfig(pause_only_steps=2))
    step = make_train_step(CrossEntropy(NETWORK), optimizer, lambda count: 1e-2, vocab_size=V, accumulation=1)
    step = jax.jit(step)
    state = new_state(initial_params(), optimizer)
    moved = []
    for t in range(3):
        before, (state, _) = state["params"], step(state, make_batch(t))
        moved.append(
            {
                name: any(bool((a != b).any()) for a, b in zip(*map(jax.tree.leaves, pair), strict=True))
                for name, pair in ((n, (before[n], state["params"][n])) for n in before)
            }
        )
    others = [name for name in moved[0] if name != "pause"]
    assert [m["pause"] for m in moved] == [True, True, True]
    assert [[m[name] for name in others] for m in moved[:2]] == [[False] * len(others)] * 2
    assert all(moved[2][name] for name in others)


def test_a_mean_of_means_would_be_another_loss():
    """The control of the test above: rows differ so much in their counts that averaging averages is wrong by far."""
    batch = make_batch()
    whole, _ = gradients(1, batch)
    params = initial_params()
    loss_sum = jax.jit(lambda micro: CrossEntropy(NETWORK).loss_sum(params, micro, 0)[0])
    means = []
    for j in range(4):
        micro = jax.tree.map(lambda x, j=j: x[j::4], batch)
        means.append(float(loss_sum(micro) / micro["loss_weights"].sum()))
    assert abs(np.mean(means) / float(whole["loss"]) - 1) > 1e-3


def test_loss_is_the_mean_over_weighted_positions():
    batch = make_batch()
    metrics, _ = gradients(1, batch)
    model = NETWORK(initial_params())

    @jax.jit
    def log_probabilities():
        hidden, _ = model(batch["inputs"], batch["positions"], batch["segment_ids"])
        return jax.nn.log_softmax(model.logits(hidden))

    log_p = np.asarray(log_probabilities(), np.float64)
    losses = [
        -log_p[b, t, int(batch["targets"][b, t])] for b in range(B) for t in range(L) if batch["loss_weights"][b, t]
    ]
    np.testing.assert_allclose(metrics["loss"], np.mean(losses), rtol=1e-5)


def test_counts_text_pauses_and_loss():
    batch = make_batch()
    metrics, _ = gradients(1, batch)
    inputs, segments = np.asarray(batch["inputs"]), np.asarray(batch["segment_ids"])
    assert int(metrics["pause_tokens"]) == np.sum((inputs == V) & (segments > 0)) > 0
    assert int(metrics["text_tokens"]) == np.sum((inputs < V) & (segments > 0)) > 0
    assert int(metrics["loss_tokens"]) == int(batch["loss_weights"].sum())


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_step_that_is_not_finite_changes_nothing_but_the_step(bad):
    step, state = make_step(clip_norm=1.0)
    batch = make_batch()
    good, metrics = step(state, batch)
    assert not metrics["skipped"]
    poisoned = {**batch, "loss_weights": batch["loss_weights"].at[0, 0].set(bad)}
    after, metrics = step(good, poisoned)
    assert metrics["skipped"] and int(after["step"]) == int(good["step"]) + 1
    for a, b in zip(jax.tree.leaves(after["params"]), jax.tree.leaves(good["params"]), strict=True):
        np.testing.assert_array_equal(a, b)
    for a, b in zip(jax.tree.leaves(after["opt_state"]), jax.tree.leaves(good["opt_state"]), strict=True):
        np.testing.assert_array_equal(a, b)
    recovered, metrics = step(after, batch)
    assert not metrics["skipped"] and np.isfinite(metrics["loss"])
    assert np.any(recovered["params"]["token"]["embedding"] != good["params"]["token"]["embedding"])


def test_a_batch_without_any_loss_is_harmless():
    step, state = make_step()
    batch = make_batch()
    after, metrics = step(state, {**batch, "loss_weights": jnp.zeros_like(batch["loss_weights"])})
    assert float(metrics["loss"]) == 0.0 and not metrics["skipped"]
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(after["params"]))


def test_pause_vector_learns_and_never_decays():
    """Without pauses in the batch its gradient is zero, and it stays exactly where it was."""
    step, state = make_step()
    batch = make_batch()
    trained, _ = step(state, batch)
    assert np.any(trained["params"]["pause"]["embedding"] != state["params"]["pause"]["embedding"])
    text = {**batch, "inputs": jnp.where(batch["inputs"] == V, 3, batch["inputs"])}
    untouched, _ = step(state, text)
    np.testing.assert_array_equal(untouched["params"]["pause"]["embedding"], state["params"]["pause"]["embedding"])
    assert np.any(untouched["params"]["token"]["embedding"] != state["params"]["token"]["embedding"])


@pytest.mark.parametrize(("accumulation", "loss_chunk"), [(1, 0), (4, 5)])
def test_z_loss_is_added_and_told(accumulation, loss_chunk):
    """Of logits worked out here; and what is told without it is the loss that is told less the term."""
    batch = make_batch()
    step, state = make_step(accumulation, loss_chunk=loss_chunk, terms=(("z_loss", 0.25),))
    _, told = step(state, batch)
    model = NETWORK(initial_params())
    hidden, _ = model(batch["inputs"], batch["positions"], batch["segment_ids"])
    log_z = np.asarray(jax.nn.logsumexp(model.logits(hidden), axis=-1), np.float64)
    weights = np.asarray(batch["loss_weights"])
    np.testing.assert_allclose(told["z_loss"], 0.25 * np.sum(weights * log_z**2) / weights.sum(), rtol=1e-5)
    without, _ = gradients(1, batch)
    assert "z_loss" not in without
    np.testing.assert_allclose(told["loss"] - told["z_loss"], without["loss"], rtol=1e-5)
    assert told["z_loss"] > 0.01 * told["loss"]

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pause_jax.model.ops.cpu import head_loss
from pause_jax.training.objective import TERMS

B, T, D, V = 3, 10, 8, 17


@pytest.fixture
def arrays():
    rng = np.random.default_rng(0)
    hidden = jnp.asarray(rng.normal(size=(B, T, D)), jnp.float32)
    head = jnp.asarray(rng.normal(size=(V, D)), jnp.float32)
    targets = jnp.asarray(rng.integers(0, V, (B, T)), jnp.int32)
    weights = jnp.asarray(rng.integers(0, 2, (B, T)), jnp.float32)
    return hidden, head, targets, weights


def reference(hidden, head, targets, weights):
    """Position by position in float64."""
    total = 0.0
    for b in range(B):
        for t in range(T):
            logits = np.asarray(head, np.float64) @ np.asarray(hidden[b, t], np.float64)
            total += float(weights[b, t]) * (np.log(np.exp(logits).sum()) - logits[int(targets[b, t])])
    return total


def test_by_hand():
    """One position, logits 0 and ln 3: p(target 1) = 3/4."""
    hidden, head = jnp.ones((1, 1, 1)), jnp.array([[0.0], [np.log(3.0)]], jnp.float32)
    loss, _ = head_loss(hidden, head, jnp.array([[1]]), jnp.array([[1.0]]))
    np.testing.assert_allclose(loss, np.log(4 / 3), rtol=1e-6)


@pytest.mark.parametrize("chunk", [0, 1, 3, 4, 10, 64])
def test_equals_reference_whatever_the_chunk(arrays, chunk):
    np.testing.assert_allclose(head_loss(*arrays, chunk)[0], reference(*arrays), rtol=1e-5)


@pytest.mark.parametrize("chunk", [1, 3, 5])
def test_chunked_gradients_equal_plain_ones(arrays, chunk):
    hidden, head, targets, weights = arrays
    plain = jax.grad(lambda h, e: head_loss(h, e, targets, weights)[0], argnums=(0, 1))(hidden, head)
    chunked = jax.grad(lambda h, e: head_loss(h, e, targets, weights, chunk)[0], argnums=(0, 1))(hidden, head)
    for a, b in zip(plain, chunked, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_a_target_without_weight_may_be_a_pause(arrays):
    hidden, head, targets, weights = arrays
    pauses = jnp.where(weights == 0, V + 1, targets)
    (loss, _), grad = jax.value_and_grad(head_loss, has_aux=True)(hidden, head, pauses, weights)
    np.testing.assert_allclose(loss, reference(*arrays), rtol=1e-5)
    assert np.isfinite(grad).all() and not np.any(np.asarray(grad)[np.asarray(weights) == 0])


def test_chunking_keeps_the_whole_logits_out_of_memory():
    """Temporary bytes of the gradient, counted by XLA: [B, T, V] in float32 alone would be 16 MiB."""
    hidden, head = jnp.zeros((4, 256, 16)), jnp.zeros((4096, 16))
    targets, weights = jnp.zeros((4, 256), jnp.int32), jnp.ones((4, 256))

    def temporary_bytes(chunk):
        gradient = jax.jit(jax.grad(lambda h: head_loss(h, head, targets, weights, chunk)[0]))
        return gradient.lower(hidden).compile().memory_analysis().temp_size_in_bytes

    assert temporary_bytes(0) > 4 * 256 * 4096 * 4
    assert temporary_bytes(16) < temporary_bytes(0) / 4


def _margin(log_z_N, target_logit_N):
    """A term of both: what a future one may depend on."""
    return jnp.sin(log_z_N) * target_logit_N


@pytest.mark.parametrize("chunk", [0, 3])
def test_terms_and_their_gradients_are_those_of_autodiff(arrays, chunk):
    """Values, and gradients by hidden vectors, head and weights, against the loss written plainly."""
    hidden, head, targets, weights = arrays
    terms = ((0.5, TERMS["z_loss"]), (0.25, _margin))

    def plain(hidden, head, weights):
        logits = jnp.einsum("btd,vd->btv", hidden, head)
        log_z, target = jax.nn.logsumexp(logits, axis=-1), jnp.take_along_axis(logits, targets[..., None], -1)[..., 0]
        return jnp.sum(weights * (log_z - target + 0.5 * log_z**2 + 0.25 * jnp.sin(log_z) * target))

    def ours(hidden, head, weights):
        return head_loss(hidden, head, targets, weights, chunk, terms)

    wanted, wanted_grads = jax.value_and_grad(plain, argnums=(0, 1, 2))(hidden, head, weights)
    (loss, added), grads = jax.value_and_grad(ours, argnums=(0, 1, 2), has_aux=True)(hidden, head, weights)
    np.testing.assert_allclose(loss, wanted, rtol=1e-5)
    np.testing.assert_allclose(loss - sum(added), reference(*arrays), rtol=1e-5)
    for ours_, theirs, name in zip(grads, wanted_grads, ("hidden", "head", "weights"), strict=True):
        # a position without weight has any target, and with it any loss
        counted = np.asarray(weights) > 0 if name == "weights" else np.ones(ours_.shape, bool)
        np.testing.assert_allclose(ours_[counted], theirs[counted], rtol=1e-4, atol=1e-5, err_msg=name)

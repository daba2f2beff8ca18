"""The decoder against a second one in plain NumPy (float64, a loop over positions, written from the papers).

Tolerances: float32 rounds at 6e-8 and the values here are of order 1 to 10, so results are compared to 1e-5 of the
largest; bfloat16 rounds at 2^-9 = 2e-3 a step, over some ten steps.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pause_jax import trees
from pause_jax.config.model import Execution, ModelConfig
from pause_jax.errors import UserError
from pause_jax.model import decoder

V, N, D, H, T = 23, 2, 16, 4, 10
GPT = ModelConfig(vocab_size=V, num_layers=N, d_model=D, num_heads=H, d_ff=24, max_positions=16)
PAPER = dataclasses.replace(GPT, norm_placement="post", mlp="relu")
LLAMA = dataclasses.replace(
    GPT,
    num_kv_heads=2,
    mlp="swiglu",
    mlp_bias=False,
    attention_bias="qkv",
    qk_norm=True,
    norm="rmsnorm",
    positions="rope",
    rope_theta=100.0,
    tie_embeddings=False,
    head_dim=6,
)
SCANNED = Execution(scan_layers="on")  # compiles faster
FAMILIES = {"gpt": GPT, "paper": PAPER, "llama": LLAMA}
# one row with two segments and padding on both sides; one row of a single segment
SEGMENTS = np.array([[0, 1, 1, 1, 1, 2, 2, 2, 2, 0], [1] * T], np.int32)
POSITIONS = np.array([[0, 0, 1, 2, 3, 0, 1, 2, 3, 0], [*range(T)]], np.int32)


def with_pauses(config, num_pause_tokens):
    return dataclasses.replace(config, num_pause_tokens=num_pause_tokens)


def random_params(config, num_pause_tokens=0, seed=0):
    """Random everywhere: `init` has biases of 0 and scales of 1, where mistakes would not show."""
    rng = np.random.default_rng(seed)

    def draw(path, leaf):
        scale = 1.0 if path.endswith("embedding") else 0.4
        return (path.endswith("scale") + scale * rng.normal(size=leaf.shape)).astype(np.float32)

    return trees.map_with_path(draw, decoder.abstract_params(with_pauses(config, num_pause_tokens)))


def random_ids(high=V, seed=1):
    return np.random.default_rng(seed).integers(0, high, (2, T)).astype(np.int32)


@functools.partial(jax.jit, static_argnames=("config", "execution", "num_pause_tokens", "prefix_lm_length"))
def forward(params, ids, positions, segments, *, config, execution=SCANNED, num_pause_tokens=0, prefix_lm_length=0):
    """Hidden vectors and logits."""
    model = decoder.bind(params, with_pauses(config, num_pause_tokens), execution)
    hidden, _ = model(ids, positions, segments, prefix_lm_length=prefix_lm_length)
    return hidden, model.logits(hidden)


def assert_close(actual, wanted, tolerance=1e-5, name=""):
    actual, wanted = (np.asarray(x, np.float64) for x in (actual, wanted))
    np.testing.assert_allclose(actual, wanted, rtol=0, atol=tolerance * np.abs(wanted).max(), err_msg=name)


# ---------------------------------------------------------------- the reference


class Reference:
    """One row at a time, one position at a time. Follows equations 1-2 and 4-8 of Goyal et al. where they say."""

    def __init__(self, params, config, prefix_lm_length=0):
        self.flat = {path: np.asarray(leaf, np.float64) for path, leaf in trees.flatten(params).items()}
        self.config, self.prefix_lm_length = config, prefix_lm_length

    def hidden(self, ids, positions, segments):
        x = [self.embed(i, p) for i, p in zip(ids, positions, strict=True)]
        for layer in range(self.config.num_layers):
            x = self.layer(layer, x, positions, segments)
        return x if self.config.norm_placement == "post" else [self.norm("final_norm", v) for v in x]

    def logits(self, hidden):
        head = self.flat["token/embedding" if self.config.tie_embeddings else "head/embedding"]
        return [head @ v for v in hidden]

    def embed(self, token, position):
        x = self.flat["pause/embedding"][token - V] if token >= V else self.flat["token/embedding"][token]
        return x + self.flat["positions/embedding"][position] if self.config.positions == "learned" else x

    def layer(self, n, x, positions, segments):
        if self.config.norm_placement == "post":
            attended = self.attention(n, x, positions, segments)
            a = [self.norm("layers/attention_norm", s + v, n) for s, v in zip(attended, x, strict=True)]  # eq. 1
            return [self.norm("layers/mlp_norm", self.mlp(n, v) + v, n) for v in a]  # eq. 2
        normed = [self.norm("layers/attention_norm", v, n) for v in x]
        x = [v + s for v, s in zip(x, self.attention(n, normed, positions, segments), strict=True)]
        return [v + self.mlp(n, self.norm("layers/mlp_norm", v, n)) for v in x]

    def attention(self, n, x, positions, segments):
        name, config = "layers/attention/", self.config
        q = [self.head_vectors(name + "q", n, v, p) for v, p in zip(x, positions, strict=True)]
        k = [self.head_vectors(name + "k", n, v, p) for v, p in zip(x, positions, strict=True)]
        v = [self.head_vectors(name + "v", n, vector, None) for vector in x]
        group = config.num_heads // config.num_kv_heads
        outputs = []
        for t in range(len(x)):
            seen = [s for s in range(len(x)) if self.may_see(t, s, segments)]
            heads = np.zeros((config.num_heads, config.head_dim))
            for h in range(config.num_heads) if seen else ():
                scores = np.array([q[t][h] @ k[s][h // group] for s in seen]) / math.sqrt(config.head_dim)
                weights = np.exp(scores - scores.max())
                heads[h] = sum(w * v[s][h // group] for w, s in zip(weights / weights.sum(), seen, strict=True))
            out = sum(heads[h] @ self.flat[name + "out/kernel"][n, h] for h in range(config.num_heads))
            outputs.append(out + self.flat.get(name + "out/bias", np.zeros((config.num_layers, 1)))[n])
        return outputs

    def may_see(self, t, s, segments):
        prefix_lm_length = t < self.prefix_lm_length and s < self.prefix_lm_length
        return segments[t] == segments[s] != 0 and (s <= t or prefix_lm_length)

    def head_vectors(self, name, n, x, position):
        """[heads, head size]; `position` None for values, which are neither normed nor turned."""
        y = np.einsum("d,dhe->he", x, self.flat[name + "/kernel"][n])
        y = y + self.flat[name + "/bias"][n] if name + "/bias" in self.flat else y
        if position is None:
            return y
        if self.config.qk_norm:
            rms = np.sqrt(np.mean(y**2, axis=1, keepdims=True) + self.config.norm_eps)
            y = y / rms * self.flat[name + "_norm/scale"][n]
        if self.config.positions != "rope":
            return y
        half = self.config.head_dim // 2
        angles = position * self.config.rope_theta ** (-np.arange(half) / half)
        turned = (y[:, :half] + 1j * y[:, half:]) * np.exp(1j * angles)  # a pair as a complex number
        return np.concatenate([turned.real, turned.imag], axis=1)

    def mlp(self, n, x):
        name = "layers/mlp/"
        up = self.dense(name + "up", n, x)
        if self.config.mlp == "swiglu":
            gate = self.dense(name + "gate", n, x)
            up = gate / (1 + np.exp(-gate)) * up
        elif self.config.mlp == "relu":
            up = np.maximum(up, 0)
        elif self.config.mlp == "gelu_tanh":
            up = 0.5 * up * (1 + np.tanh(math.sqrt(2 / math.pi) * (up + 0.044715 * up**3)))
        else:
            up = np.array([0.5 * u * (1 + math.erf(u / math.sqrt(2))) for u in up])
        return self.dense(name + "down", n, up)

    def dense(self, name, n, x):
        y = x @ self.flat[name + "/kernel"][n]
        return y + self.flat[name + "/bias"][n] if name + "/bias" in self.flat else y

    def norm(self, name, x, n=...):
        centred = x - x.mean() if self.config.norm == "layernorm" else x
        y = centred / np.sqrt(np.mean(centred**2) + self.config.norm_eps) * self.flat[name + "/scale"][n]
        return y + self.flat[name + "/bias"][n] if name + "/bias" in self.flat else y


CASES = {  # config, length of the prefix_lm_length prefix
    "gpt": (GPT, 0),
    "paper": (PAPER, 4),
    "llama": (LLAMA, 4),
    "no_positions": (dataclasses.replace(GPT, positions="none"), 0),
    "gpt_tanh_untied": (dataclasses.replace(GPT, mlp="gelu_tanh", tie_embeddings=False), 0),
    "gpt_rope_no_bias": (
        dataclasses.replace(GPT, positions="rope", attention_bias="none", norm_bias=False, mlp_bias=False),
        4,
    ),
    "llama_mha_biases": (
        dataclasses.replace(LLAMA, num_kv_heads=4, qk_norm=False, attention_bias="all", mlp_bias=True),
        0,
    ),
    "llama_learned_post": (dataclasses.replace(LLAMA, positions="learned", norm_placement="post", num_kv_heads=1), 0),
}


@pytest.mark.parametrize("name", CASES)
def test_equals_the_reference(name):
    config, prefix_lm_length = CASES[name]
    params = random_params(config, 2)
    ids = random_ids(V)
    ids[:, 3:5] = V, V + 1
    hidden, logits = forward(
        params,
        ids,
        POSITIONS,
        SEGMENTS,
        config=config,
        execution=Execution(),
        num_pause_tokens=2,
        prefix_lm_length=prefix_lm_length,
    )
    reference = Reference(params, config, prefix_lm_length)
    for row in range(2):
        is_text = SEGMENTS[row] > 0
        wanted = reference.hidden(ids[row], POSITIONS[row], SEGMENTS[row])
        assert_close(hidden[row][is_text], np.array(wanted)[is_text])
        assert_close(logits[row][is_text], np.array(reference.logits(wanted))[is_text])


# ---------------------------------------------------------------- who sees whom


@functools.partial(jax.jit, static_argnames=("config", "prefix_lm_length"))
def table_gradient(params, ids, row, t, *, config, prefix_lm_length):
    """Of a combination of the outputs at position `t` of `row`, with respect to the token embeddings: [V, D]."""

    def output(table_VxD):
        changed = params | {"token": {"embedding": table_VxD}}
        hidden, _ = forward(changed, ids, POSITIONS, SEGMENTS, config=config, prefix_lm_length=prefix_lm_length)
        return jnp.sum(hidden[row, t] * jnp.arange(1.0, D + 1))  # not a plain sum: LayerNorm would make that constant

    return jax.grad(output)(params["token"]["embedding"])


def seen_by(config, row, t, prefix_lm_length=0):
    """[T]: how much the output at `t` depends on each position's token, as the largest gradient of its embedding."""
    ids = np.stack([np.arange(T), np.arange(T) + 10]).astype(np.int32)  # all different: a table row is a position
    config = dataclasses.replace(config, tie_embeddings=False)
    gradient_VxD = table_gradient(random_params(config), ids, row, t, config=config, prefix_lm_length=prefix_lm_length)
    return np.abs(gradient_VxD).max(axis=1)[ids[row]]


@pytest.mark.parametrize("name", FAMILIES)
def test_causal_by_gradient(name):
    for t in range(T):
        seen = seen_by(FAMILIES[name], row=1, t=t)
        assert np.all(seen[: t + 1] > 1e-4) and not np.any(seen[t + 1 :]), (t, seen)


@pytest.mark.parametrize("name", ["gpt", "llama"])
def test_prefix_sees_itself_in_both_directions_by_gradient(name):
    for t in range(T):
        seen, last = seen_by(FAMILIES[name], row=1, t=t, prefix_lm_length=5), max(t, 4)
        assert np.all(seen[: last + 1] > 1e-4) and not np.any(seen[last + 1 :]), (t, seen)


def test_segments_never_leak_by_gradient():
    for t, own in ((3, range(1, 4)), (5, range(5, 6)), (8, range(5, 9))):
        seen = seen_by(GPT, row=0, t=t)
        assert np.all(seen[own] > 1e-4) and not np.any(np.delete(seen, own)), (t, seen)


@pytest.mark.parametrize("name", FAMILIES)
def test_each_segment_is_as_if_alone(name):
    config = FAMILIES[name]
    params, ids = random_params(config), random_ids()
    _, packed = forward(params, ids, POSITIONS, SEGMENTS, config=config)
    for start, stop in ((1, 5), (5, 9)):
        here = np.s_[:1, start:stop]
        _, alone = forward(params, ids[here], POSITIONS[here], np.ones((1, stop - start), np.int32), config=config)
        assert_close(packed[0, start:stop], alone[0])


@pytest.mark.parametrize("name", ["gpt", "llama"])
def test_rows_of_padding_are_finite_values_and_gradients(name):
    config = FAMILIES[name]
    segments = SEGMENTS * np.array([[0], [1]], np.int32)

    def total(params):
        hidden, logits = forward(params, random_ids(), POSITIONS, segments, config=config)
        return jnp.sum(hidden) + jnp.sum(logits[1])

    value, gradients = jax.jit(jax.value_and_grad(total))(random_params(config))
    assert np.isfinite(value)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradients))


# ---------------------------------------------------------------- execution


@pytest.mark.parametrize("name", ["gpt", "llama"])
def test_scan_and_remat_change_nothing(name):
    config, ids = FAMILIES[name], random_ids()

    def run(execution):
        def loss(params):
            _, logits = forward(params, ids, POSITIONS, SEGMENTS, config=config, execution=execution)
            return jnp.mean(jnp.square(logits)), logits

        (_, logits), gradients = jax.jit(jax.value_and_grad(loss, has_aux=True))(random_params(config))
        return logits, trees.flatten(gradients)

    wanted_logits, wanted = run(Execution(scan_layers="off", remat="none"))
    largest = max(np.abs(gradient).max() for gradient in wanted.values())
    for scan, remat in (("on", "none"), ("on", "dots"), ("on", "full"), ("off", "dots"), ("off", "full")):
        logits, gradients = run(Execution(scan_layers=scan, remat=remat))
        assert_close(logits, wanted_logits)
        for path, gradient in gradients.items():
            # the keys' biases have no gradient but rounding (softmax does not see them): hence a floor
            scale = max(np.abs(wanted[path]).max(), 0.01 * largest)
            message = f"scan {scan}, remat {remat}: {path}"
            np.testing.assert_allclose(gradient, wanted[path], rtol=0, atol=2e-5 * scale, err_msg=message)


def test_remat_recomputes():
    """The policies do something: what the backward pass keeps shrinks from none to dots to full."""
    config = dataclasses.replace(GPT, num_layers=3)
    params, ids = random_params(config), random_ids()

    def kept(remat):
        def total(params):
            model = decoder.bind(params, config, Execution(scan_layers="on", remat=remat))
            return jnp.sum(model(ids, POSITIONS, SEGMENTS)[0])

        residuals = jax.eval_shape(lambda p: jax.vjp(total, p)[1], params)
        return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(residuals))

    assert kept("none") > kept("dots") > kept("full")


@pytest.mark.parametrize("name", FAMILIES)
def test_bfloat16_stays_near_float32(name):
    config = dataclasses.replace(FAMILIES[name], dtype="bfloat16")
    params, ids = random_params(config), random_ids()
    _, wanted = forward(params, ids, POSITIONS, SEGMENTS, config=FAMILIES[name])
    hidden, logits = forward(params, ids, POSITIONS, SEGMENTS, config=config)
    assert hidden.dtype == jnp.bfloat16 and logits.dtype == jnp.float32
    error = np.abs(logits - wanted)[SEGMENTS > 0].max() / np.abs(wanted).max()
    assert 1e-4 < error < 4e-2  # the lower bound: the dtype took effect
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(decoder.abstract_params(with_pauses(config, 1))))


def test_nothing_is_float64():
    """With 64-bit types allowed, a stray NumPy scalar would widen an array: the traced program has none."""
    with jax.enable_x64(True):
        for config in FAMILIES.values():
            params = random_params(config, 1)
            call = functools.partial(forward, config=config, num_pause_tokens=1)
            program = str(jax.make_jaxpr(call)(params, random_ids(), POSITIONS, SEGMENTS))
            assert "f32[2,10," in program and not re.search(r"f64\[\d", program)


# ---------------------------------------------------------------- pauses


@pytest.mark.parametrize("name", FAMILIES)
def test_a_pause_model_without_pauses_is_the_standard_model(name):
    """To the last bit, operation by operation. (Under one jit XLA may fuse the two programs differently: 1e-7.)"""
    config = FAMILIES[name]
    standard = random_params(config)
    paused = standard | {"pause": decoder.new_pauses(with_pauses(config, 3), seed=7)}
    plain = forward.__wrapped__(standard, random_ids(), POSITIONS, SEGMENTS, config=config)
    same = forward.__wrapped__(paused, random_ids(), POSITIONS, SEGMENTS, config=config, num_pause_tokens=3)
    for a, b in zip(plain, same, strict=True):
        np.testing.assert_array_equal(a, b)


def test_pause_parameters_are_d_model_and_the_rest_starts_the_same():
    standard, paused = (
        trees.flatten(decoder.init(with_pauses(GPT, num_pause_tokens), 3)) for num_pause_tokens in (0, 1)
    )
    assert set(paused) - set(standard) == {"pause/embedding"}
    assert paused.pop("pause/embedding").size == D
    for path, leaf in standard.items():
        np.testing.assert_array_equal(leaf, paused[path], err_msg=path)
    other = trees.flatten(decoder.init(GPT, 4))
    assert np.abs(other["token/embedding"] - standard["token/embedding"]).max() > 0.01


def test_new_pauses_are_those_of_init():
    made = decoder.new_pauses(with_pauses(GPT, 1), 3)["embedding"]
    np.testing.assert_allclose(decoder.init(with_pauses(GPT, 1), 3)["pause"]["embedding"], made, rtol=1e-6)
    wide = np.asarray(
        decoder.new_pauses(dataclasses.replace(dataclasses.replace(GPT, d_model=4096), num_pause_tokens=2), 3)[
            "embedding"
        ]
    )
    assert abs(wide.mean()) < 0.001 and abs(wide.std() - 0.02) < 0.001  # 8,192 draws: the standard error is 0.0002


def test_gradient_reaches_the_pauses_that_are_in_the_input():
    @jax.jit
    @jax.grad
    def gradient(params, ids):
        _, logits = forward(params, ids, POSITIONS, SEGMENTS, config=GPT, num_pause_tokens=3)
        return jnp.sum(jnp.square(logits))

    ids, params = random_ids(), random_params(GPT, 3)
    np.testing.assert_array_equal(gradient(params, ids)["pause"]["embedding"], 0)
    ids[1, 4] = V + 1
    none, some, none_either = np.abs(gradient(params, ids)["pause"]["embedding"]).max(axis=1)
    assert none == none_either == 0 < some


def test_several_pauses_have_their_own_vectors():
    ids, logits = random_ids(), []
    for pause in range(3):
        ids[1, 4] = V + pause
        logits.append(
            np.asarray(forward(random_params(GPT, 3), ids, POSITIONS, SEGMENTS, config=GPT, num_pause_tokens=3)[1])
        )
    for i, j in ((0, 1), (1, 2), (0, 2)):
        assert np.abs(logits[i] - logits[j])[1, 4:].max() > 0.1
        np.testing.assert_array_equal(logits[i][1, :4], logits[j][1, :4])


@pytest.mark.parametrize("config", [GPT, LLAMA], ids=["tied", "untied"])
def test_no_pause_column_in_the_logits(config):
    ids = random_ids()
    ids[0, 2] = V
    _, logits = forward(random_params(config, 1), ids, POSITIONS, SEGMENTS, config=config, num_pause_tokens=1)
    assert logits.shape == (2, T, V)


# ---------------------------------------------------------------- cache


@pytest.mark.parametrize("scan, prefix_lm_length, name", [("off", 5, "gpt"), ("on", 5, "llama"), ("off", 0, "llama")])
def test_prefill_and_steps_equal_one_forward_pass(scan, prefix_lm_length, name):
    """Five positions at once (one row left-padded), then one by one, then three; the cache has room to spare."""
    config, execution = FAMILIES[name], Execution(scan_layers=scan)
    params, ids = random_params(config, 1), random_ids(V + 1)
    segments = np.ones((2, T), np.int32)
    segments[0, :2] = 0
    positions = np.maximum(np.cumsum(segments, axis=1) - 1, 0).astype(np.int32)
    wanted, _ = forward(
        params, ids, positions, segments, config=config, num_pause_tokens=1, prefix_lm_length=prefix_lm_length
    )

    @jax.jit
    def read(cache, ids, positions, segments):
        model = decoder.bind(params, with_pauses(config, 1), execution)
        return model(ids, positions, segments, prefix_lm_length=prefix_lm_length, cache=cache)

    cache, pieces = decoder.empty_cache(config, 2, T + 3), []
    for start, stop in ((0, 5), (5, 6), (6, 7), (7, 10)):
        here = np.s_[:, start:stop]
        hidden, cache = read(cache, ids[here], positions[here], segments[here])
        pieces.append(hidden)
    assert int(cache.index) == T
    assert_close(np.concatenate(pieces, axis=1)[segments > 0], np.asarray(wanted)[segments > 0])


@pytest.mark.parametrize("scan", ["off", "on"])
def test_starting_a_cache_equals_writing_to_one(scan):
    """Where it is known to be empty, keys and values are not read from it."""
    execution = Execution(scan_layers=scan)
    params, ids, segments = random_params(LLAMA, 1), random_ids(V + 1), np.ones((2, T), np.int32)
    positions = np.broadcast_to(np.arange(T, dtype=np.int32), (2, T))
    model = decoder.bind(params, with_pauses(LLAMA, 1), execution)
    started, written = (
        model(ids, positions, segments, cache=dataclasses.replace(decoder.empty_cache(LLAMA, 2, T + 3), index=index))
        for index in (0, jnp.zeros((), jnp.int32))
    )
    for a, b in zip(jax.tree.leaves(started), jax.tree.leaves(written), strict=True):
        assert_close(a, b)


# ---------------------------------------------------------------- config


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"num_heads": 3, "head_dim": 0}, "config.model.d_model = 16 is not divisible by config.model.num_heads = 3"),
        ({"num_kv_heads": 3}, "config.model.num_heads = 4 is not divisible by config.model.num_kv_heads = 3"),
        ({"positions": "rope", "head_dim": 5}, "needs an even head size, but it is 5"),
        ({"num_layers": 0}, "config.model.num_layers is 0, but must be at least 1"),
        ({"head_dim": -1}, "config.model.head_dim is -1, but must not be negative"),
    ],
)
def test_sizes_that_do_not_fit(fields, message):
    with pytest.raises(UserError) as error:
        dataclasses.replace(GPT, **fields).validate()
    assert message in str(error.value)
    GPT.validate()


def test_logical_axes_have_one_name_a_dimension():
    for config in FAMILIES.values():
        axes = decoder.logical_axes(with_pauses(config, 1))
        shapes = trees.flatten(decoder.abstract_params(with_pauses(config, 1)))
        assert {path: len(names) for path, names in axes.items()} == {path: leaf.ndim for path, leaf in shapes.items()}

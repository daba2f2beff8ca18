"""Decoding with a cache against recomputing the whole sequence, row by row and without padding, at every step."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pause_jax import trees
from pause_jax.config.model import Execution, ModelConfig
from pause_jax.errors import UserError
from pause_jax.inference.decode import Decoding, generate
from pause_jax.inference.prefill import PromptFormat
from pause_jax.inference.sampling import Sampling
from pause_jax.model import decoder
from pause_jax.model.layers import Dense
from pause_jax.model.ops import cpu
from pause_jax.network import Network
from pause_jax.pauses import downstream

V, N_PAUSES, NEW = 29, 2, 5
NEVER = V + 100  # an end that no model predicts
GPT = ModelConfig(
    vocab_size=V, num_pause_tokens=N_PAUSES, num_layers=2, d_model=16, num_heads=4, d_ff=24, max_positions=24
)
LLAMA = ModelConfig(
    vocab_size=V,
    num_pause_tokens=N_PAUSES,
    num_layers=2,
    d_model=16,
    num_heads=4,
    num_kv_heads=2,
    d_ff=24,
    mlp="swiglu",
    mlp_bias=False,
    attention_bias="none",
    norm="rmsnorm",
    positions="rope",
    tie_embeddings=False,
    rope_theta=100.0,
)
FAMILIES = {"gpt": GPT, "llama": LLAMA}
PROMPTS = [[3], [4, 5, 6, 7, 8, 9, 10], [11, 12, 13]]  # ragged


@functools.cache
def params_of(family):
    """Large enough for attention and order to matter, and for answers to be more than one word repeated."""
    rng = np.random.default_rng(0)

    def draw(path, leaf):
        scale = 1.0 if path.endswith("embedding") else 0.4
        return (path.endswith("scale") + scale * rng.normal(size=leaf.shape)).astype(np.float32)

    return trees.map_with_path(draw, decoder.abstract_params(FAMILIES[family]))


@functools.partial(jax.jit, static_argnames=("family", "prefix_lm_length"))
def whole_row_logits(params, ids_1xT, *, family, prefix_lm_length):
    """Without cache and padding, of every position: [T, V]."""
    length = ids_1xT.shape[1]
    model = decoder.bind(params, FAMILIES[family], Execution())
    ones = jnp.ones_like(ids_1xT)
    hidden, _ = model(ids_1xT, jnp.arange(length)[None], ones, prefix_lm_length=prefix_lm_length)
    return model.logits(hidden)[0]


def recomputed(family, prompt, m_inf, attention, answer):
    """Logits of each token of `answer` from the whole sequence before it, [N, V].

    Read with as many zeros after it as make every prefix one shape: nothing looks ahead past the context.
    """
    context = [*prompt, *(V + j % N_PAUSES for j in range(m_inf))]
    prefix_lm_length = downstream.prefix_lm_length(attention, len(prompt), m_inf)
    rows = []
    for n in range(len(answer)):
        ids = [*context, *answer[:n]]
        padded = np.array([ids + [0] * (len(answer) - n)], np.int32)
        rows.append(
            whole_row_logits(params_of(family), padded, family=family, prefix_lm_length=prefix_lm_length)[len(ids) - 1]
        )
    return np.stack(rows)


@functools.partial(jax.jit, static_argnames=("family", "execution"))
def read_one(params, cache, ids_Bx1, positions_Bx1, *, family, execution):
    model = decoder.bind(params, FAMILIES[family], execution)
    hidden, cache = model(ids_Bx1, positions_Bx1, jnp.ones_like(ids_Bx1), cache=cache)
    return model.logits(hidden)[:, 0], cache


def cached(family, m_inf, attention, answers, execution):
    """Logits of each token of the answers, [B, N, V]: prompts read at once, then a token at a time."""
    network, prompt_format = Network(FAMILIES[family], execution), PromptFormat(attention, bucket=4)
    (read,) = network.prefill(params_of(family), PROMPTS, [m_inf], prompt_format, extra_cache_length=NEW + 3)
    return logits_of(family, read, answers, execution)


def logits_of(family, prefill, answers, execution=Execution()):
    """Logits of each token of the answers, [B, N, V], after what has been read."""
    logits, cache = prefill.logits_BxV, prefill.cache
    steps = [logits]
    for n in range(NEW - 1):
        positions = (prefill.next_positions_B + n)[:, None]
        logits, cache = read_one(
            params_of(family), cache, answers[:, n : n + 1], positions, family=family, execution=execution
        )
        steps.append(logits)
    return np.stack(steps, axis=1)


@pytest.mark.parametrize("attention", ["prefix_and_pauses", "prefix_only", "causal"])
@pytest.mark.parametrize(("family", "m_inf"), [("gpt", 1), ("gpt", 5), ("llama", 0), ("llama", 5)])
def test_cache_equals_recomputing(family, attention, m_inf):
    """Logits of given answers, and the answers that greedy decoding gives, at every step of every row."""
    answers = np.random.default_rng(m_inf).integers(0, V, (len(PROMPTS), NEW)).astype(np.int32)
    execution = Execution(scan_layers="on" if m_inf == 1 else "off")
    actual = cached(family, m_inf, attention, answers, execution)
    wanted = np.stack([recomputed(family, p, m_inf, attention, list(a)) for p, a in zip(PROMPTS, answers, strict=True)])
    np.testing.assert_allclose(actual, wanted, rtol=0, atol=2e-5 * np.abs(wanted).max())

    network, decoding = Network(FAMILIES[family], execution), Decoding(NEW, NEVER)
    chosen = generate(network, params_of(family), PROMPTS, m_inf, decoding, PromptFormat(attention))
    for prompt, ids in zip(PROMPTS, chosen, strict=True):
        assert ids == recomputed(family, prompt, m_inf, attention, ids).argmax(-1).tolist()


def answer(prompts, family="llama", m_inf=2, execution=Execution(), **settings):
    decoding = Decoding(**{"max_new_tokens": NEW, "eos_id": NEVER, **settings})
    return generate(Network(FAMILIES[family], execution), params_of(family), prompts, m_inf, decoding)


def test_the_kinds_of_attention_and_the_pauses_differ():
    """Or the tests above would pass with any of them."""
    context = [recomputed("gpt", PROMPTS[1], 5, a, [0])[0] for a in ("prefix_and_pauses", "prefix_only", "causal")]
    fewer = recomputed("gpt", PROMPTS[1], 4, "causal", [0])[0]
    for one, other in [(0, 1), (0, 2), (1, 2)]:
        assert np.abs(context[one] - context[other]).max() > 0.1
    assert np.abs(context[2] - fewer).max() > 0.1


@pytest.mark.parametrize("sampling", [Sampling(), Sampling(temperature=1.0, top_p=0.9)])
def test_an_answer_does_not_depend_on_the_rows_beside_it(sampling):
    together = answer(PROMPTS, sampling=sampling)
    alone = [answer([p], sampling=sampling, first_row=i)[0] for i, p in enumerate(PROMPTS)]
    assert together == alone


def test_a_sample_depends_on_its_seed_and_row_only():
    sampling = Sampling(temperature=1.5)
    first, again, other = (answer(PROMPTS[:1] * 2, sampling=sampling, seed=s) for s in (0, 0, 1))
    assert first == again != other
    assert first[0] != first[1]  # the same prompt in another row


def test_an_answer_stops_at_the_end_and_the_others_go_on():
    free = answer(PROMPTS)
    end = free[1][3]
    wanted = [ids[: ids.index(end)] if end in ids else ids for ids in free]
    assert [len(ids) for ids in wanted] == [2, 3, NEW]  # or another prompt must be found for this test
    assert answer(PROMPTS, eos_id=end) == wanted


@pytest.mark.parametrize("family", FAMILIES)
def test_kernels_transposed_or_not_the_answers_are_the_same(family, monkeypatch):
    """To rounding: so the answers, and the logits that layers of transposed kernels give to a token."""
    transposed, transpose = [], Dense.transpose
    monkeypatch.setattr(Dense, "transpose", lambda self: transposed.append(1) or transpose(self))
    long, reference = cpu.FEW_TOKENS + 2, Execution(kernels="reference")
    answer(PROMPTS, family, max_new_tokens=cpu.FEW_TOKENS - 1)
    answer(PROMPTS[:1], family, max_new_tokens=long)
    wanted = answer(PROMPTS, family, max_new_tokens=long, execution=reference)
    assert not transposed  # only where it pays
    assert answer(PROMPTS, family, max_new_tokens=long) == wanted
    assert transposed
    model = decoder.bind(params_of(family), FAMILIES[family], Execution())
    ids, cache = jnp.array([[3, 4], [V, 5]]), decoder.empty_cache(FAMILIES[family], 2, 4)
    given = (ids, jnp.broadcast_to(jnp.arange(2), (2, 2)), jnp.ones_like(ids))
    (one, kept), (other, also) = (
        model(*given, cache=cache, layers=layers) for layers in (None, model.layers_for_decoding(2, long))
    )
    np.testing.assert_allclose(one, other, rtol=0, atol=1e-5)
    np.testing.assert_allclose(kept.k_NxBxSxKxE, also.k_NxBxSxKxE, rtol=0, atol=1e-5)


def test_no_prompts_no_answers():
    assert answer([]) == []


@pytest.mark.parametrize(
    "settings, sentence",
    [
        ({"m_inf": -1}, "m_inf is -1"),
        ({"max_new_tokens": 0}, "max_new_tokens is 0"),
        ({"sampling": Sampling(top_p=2.0)}, "top_p is 2.0"),
        ({"family": "gpt", "max_new_tokens": 30}, "positions"),
    ],
)
def test_mistakes(settings, sentence):
    with pytest.raises(UserError, match=sentence):
        answer(PROMPTS, **settings)

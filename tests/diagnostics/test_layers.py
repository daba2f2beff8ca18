"""The pass layer by layer is the decoder's: its attention is that of a reference, the lens ends in the logits."""

import dataclasses
import functools

import jax
import numpy as np
import pytest
from flax import nnx

from pause_jax.config.model import Execution
from pause_jax.diagnostics import lens
from pause_jax.diagnostics.context import marked_rows
from pause_jax.diagnostics.layers import PLAIN, embed, run_layers
from pause_jax.model import decoder, rope
from pause_jax.model.layers import ForwardContext
from pause_jax.model.mask import Mask
from tests.diagnostics.tiny_networks import CASES, MODELS, N_PAUSES, PROMPTS, V, config_of, params_of

BOTH_WAYS = "append, prefix_and_pauses"
PLACES = [("gpt", case) for case in CASES] + [(name, BOTH_WAYS) for name in MODELS if name != "gpt"]
RUNS = [(*place, True) for place in PLACES] + [("llama", BOTH_WAYS, False)]


@functools.cache
def passed(name, case):
    """(context, residual streams before and after each layer, attention of each layer)."""
    context = marked_rows(config_of(name, case), PROMPTS, 3, filler=11)
    how = {"config": dataclasses.replace(MODELS[name], num_pause_tokens=N_PAUSES)}
    first = embed(params_of(name), ids_BxT=context.ids_BxC, positions_BxT=context.positions_BxC, **how)
    views = list(
        run_layers(
            params_of(name),
            residual_BxTxD=first,
            positions_BxT=context.positions_BxC,
            segments_BxT=context.segments_BxC,
            prefix_lm_length=context.prefix_lm_length,
            **how,
        )
    )
    return context, [first, *(view.residual_BxTxD for view in views)], [view.attention_BxHxTxS for view in views]


@functools.cache
def log_probabilities(name, case, scan):
    context, _, _ = passed(name, case)
    model = decoder.bind(
        params_of(name), dataclasses.replace(MODELS[name], num_pause_tokens=N_PAUSES), Execution(scan_layers=scan)
    )

    @jax.jit
    def compute():
        hidden, _ = model(
            context.ids_BxC, context.positions_BxC, context.segments_BxC, prefix_lm_length=context.prefix_lm_length
        )
        return jax.nn.log_softmax(model.logits(hidden))

    return np.asarray(compute())


@pytest.mark.parametrize(("name", "case", "scan"), RUNS)
def test_the_lens_of_the_last_layer_is_what_the_decoder_predicts(name, case, scan):
    context, residuals, _ = passed(name, case)
    wanted = log_probabilities(name, case, scan)
    how = {"config": dataclasses.replace(MODELS[name], num_pause_tokens=N_PAUSES)}
    for token in (0, V - 1):
        tokens = np.full(len(PROMPTS), token, np.int32)
        log_p, rank = lens.look(params_of(name), residuals[-1], context.looked_at_BxL, tokens, **how)
        before, _ = lens.look(params_of(name), residuals[-2], context.looked_at_BxL, tokens, **how)
        for b, places in enumerate(context.looked_at_BxL):
            np.testing.assert_allclose(log_p[b], wanted[b, places, token], atol=1e-5)
            order = np.argsort(-wanted[b, places], axis=1)
            assert rank[b].tolist() == [row.tolist().index(token) + 1 for row in order]
        assert np.abs(before - log_p).max() > 0.1  # the layer before would say something else


def rotated(x, position, config):
    """RoPE of one head's vector, pair by pair."""
    half = len(x) // 2
    angle = position * config.rope_theta ** (-np.arange(half) * 2 / len(x))
    a, b = x[:half], x[half:]
    return np.concatenate([a * np.cos(angle) - b * np.sin(angle), b * np.cos(angle) + a * np.sin(angle)])


def normed(x, scale, bias, config, rms):
    x = x if rms else x - x.mean()
    y = x / np.sqrt((x**2).mean() + config.norm_eps) * scale
    return y if bias is None else y + bias


def reference_attention(name, context, residual, layer, b, t, head):
    """Weights of one query of one head over all positions of its row, in float64, from the parameters by name."""
    config, params = MODELS[name], params_of(name)["layers"]
    own = {
        part: {k: np.asarray(v[layer], np.float64) for k, v in params["attention"][part].items()}
        for part in params["attention"]
    }
    rms = config.norm == "rmsnorm"

    def project(part, position, which):
        x = np.asarray(residual[b, position], np.float64)
        if config.norm_placement == "pre":
            norm = params["attention_norm"]
            x = normed(x, norm["scale"][layer], norm["bias"][layer] if "bias" in norm else None, config, rms)
        y = x @ own[part]["kernel"][:, which] + (own[part]["bias"][which] if "bias" in own[part] else 0)
        if config.qk_norm:
            y = normed(y, own[f"{part}_norm"]["scale"], None, config, rms=True)
        return rotated(y, context.positions_BxC[b, position], config) if config.positions == "rope" else y

    group = head // (config.num_heads // config.num_kv_heads)
    q = project("q", t, head)
    scores = np.full(context.ids_BxC.shape[1], -np.inf)
    for s in range(len(scores)):
        both = max(s, t) < context.prefix_lm_length
        if context.segments_BxC[b, s] and (s <= t or both):
            scores[s] = q @ project("k", s, group) / np.sqrt(config.head_dim)
    weights = np.exp(scores - scores.max())
    return weights / weights.sum()


@pytest.mark.parametrize(("name", "case"), PLACES)
def test_attention_is_the_reference(name, case):
    """For some queries, prompt and pauses, of the shortest row, which has most padding, and of the longest."""
    context, residuals, attention = passed(name, case)
    for layer in (0, 2):
        found = np.asarray(attention[layer])
        assert found.shape == (3, 4, *[context.ids_BxC.shape[1]] * 2)
        real = context.segments_BxC > 0
        np.testing.assert_allclose(found.sum(axis=-1), 1, atol=1e-5)
        for b in (1, 2):
            assert np.all(found[b][:, real[b]][..., ~real[b]] == 0)
            for t in (np.flatnonzero(real[b])[1], context.ids_BxC.shape[1] - 1):
                for head in (0, 3):
                    wanted = reference_attention(name, context, np.asarray(residuals[layer]), layer, b, t, head)
                    np.testing.assert_allclose(found[b, head, t], wanted, atol=2e-5)


@pytest.mark.parametrize("name", MODELS)
def test_attention_is_what_the_layer_averages_values_by(name):
    """Values averaged by these weights, put through the output projection, are what the decoder's attention gives."""
    context, residuals, attention = passed(name, BOTH_WAYS)
    config = MODELS[name]
    graph, stacked = nnx.split(
        decoder.bind(params_of(name), dataclasses.replace(config, num_pause_tokens=N_PAUSES), PLAIN).layers
    )
    layer = nnx.merge(graph, jax.tree.map(lambda leaf: leaf[1], stacked))
    segments = context.segments_BxC
    around = ForwardContext(
        Mask(segments, segments, 0, context.prefix_lm_length),
        rope.angles(context.positions_BxC, config) if config.positions == "rope" else None,
    )
    read = residuals[1] if layer.post_norm else layer.attention_norm(residuals[1])
    wanted, _ = layer.attention(read, around, None, 1, PLAIN)
    values = np.repeat(np.asarray(layer.attention.v(read, PLAIN)), config.num_heads // config.num_kv_heads, axis=2)
    found = layer.attention.out(np.einsum("bhts,bshe->bthe", attention[1], values), PLAIN)
    real = segments > 0
    np.testing.assert_allclose(np.asarray(found)[real], np.asarray(wanted)[real], atol=1e-5)

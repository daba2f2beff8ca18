"""transformers' own models are the oracle: same logits, same gradient of every parameter; theirs in float64.

Parameters are random throughout: transformers starts biases at 0 and norms at 1, where mistakes would not show.
How far float32 may be from float64 is derived in tests/rounding.py; CPUs order their sums otherwise, and differ by it.
"""

from __future__ import annotations

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pause_jax import trees
from pause_jax.config.model import Execution
from pause_jax.errors import UserError
from pause_jax.interop.configs import model_config
from pause_jax.interop.weights import params as params_from
from pause_jax.model import decoder
from tests.rounding import of_decoder

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

V, T = 37, 24
LLAMA = {
    "vocab_size": V,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "rms_norm_eps": 1e-6,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 100.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}
GPT2 = {
    "vocab_size": V,
    "n_embd": 32,
    "n_layer": 2,
    "n_head": 4,
    "n_positions": 32,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "resid_pdrop": 0.0,
    "embd_pdrop": 0.0,
    "attn_pdrop": 0.0,
}
CASES = {
    "gpt2": ("GPT2", GPT2),
    "gpt2_untied_exact_gelu": (
        "GPT2",
        GPT2
        | {
            "tie_word_embeddings": False,
            "activation_function": "gelu",
            "n_inner": 40,
        },
    ),
    "llama": ("Llama", LLAMA),
    "llama_llama3_tied": ("Llama", LLAMA | {"rope_parameters": LLAMA3, "tie_word_embeddings": True}),
    "llama_linear_biases": (
        "Llama",
        LLAMA
        | {
            "rope_parameters": {"rope_type": "linear", "rope_theta": 1e4, "factor": 4.0},
            "num_key_value_heads": 4,
            "attention_bias": True,
            "mlp_bias": True,
        },
    ),
    "qwen2": ("Qwen2", LLAMA),
    "qwen3": ("Qwen3", LLAMA | {"head_dim": 16}),
}


def build(name, **changes):
    """A random transformers model and the JSON dict of its config."""
    family, fields = CASES[name]
    # eager: transformers' plain attention, the reference of its own kernels
    config = getattr(transformers, f"{family}Config")(**fields | changes, attn_implementation="eager")
    model_class = getattr(transformers, "GPT2LMHeadModel" if family == "GPT2" else f"{family}ForCausalLM")
    torch.manual_seed(0)
    model = model_class(config).eval()
    with torch.no_grad():
        for parameter_name, parameter in model.named_parameters():
            is_scale = parameter.ndim == 1 and parameter_name.endswith("weight")
            parameter.copy_(torch.randn_like(parameter) * 0.3 + float(is_scale))
    return model, config.to_dict()


def arrays(model):
    return {name: value.numpy() for name, value in model.state_dict().items()}


@functools.partial(jax.jit, static_argnums=1)
def ours(params, config, ids_BxT, segments_BxT=None, positions_BxT=None):
    """Logits of our decoder; one segment in each row where nothing else is said."""
    if segments_BxT is None:
        segments_BxT = jnp.ones_like(ids_BxT)
        positions_BxT = jnp.cumsum(segments_BxT, axis=1) - 1
    model = decoder.bind(params, config, Execution(scan_layers="on"))
    return model.logits(model(ids_BxT, positions_BxT, segments_BxT)[0])


def random_ids(*shape):
    return np.random.default_rng(1).integers(0, V, shape).astype(np.int32)


def theirs(model, ids_BxT):
    with torch.no_grad():
        return model.double()(torch.tensor(ids_BxT, dtype=torch.long)).logits.numpy()


def rounding(config, passes=1):
    return of_decoder(config, T, passes)


def assert_close(actual, wanted, tolerance, name=""):
    np.testing.assert_allclose(actual, wanted, rtol=0, atol=tolerance * np.abs(wanted).max(), err_msg=name)


@pytest.mark.parametrize("name", CASES)
def test_logits_and_every_gradient(name):
    model, hf_config = build(name)
    config = model_config(hf_config)
    params = params_from(arrays(model), config)
    ids = random_ids(2, T)

    def loss(params):
        logits = ours(params, config, ids)
        labels = jax.nn.one_hot(ids[:, 1:], V)
        return -jnp.mean(jnp.sum(labels * jax.nn.log_softmax(logits[:, :-1]), axis=-1)), logits

    (value, logits), gradients = jax.value_and_grad(loss, has_aux=True)(params)
    labels = torch.tensor(ids, dtype=torch.long)
    their_loss = model.double()(labels, labels=labels).loss
    their_loss.backward()
    their_gradients = params_from({n: p.grad.numpy() for n, p in model.named_parameters()}, config)

    assert_close(logits, theirs(model, ids), rounding(config), "logits")
    np.testing.assert_allclose(value, their_loss.item(), rtol=rounding(config))
    wanted = trees.flatten(their_gradients)
    for path, gradient in trees.flatten(gradients).items():
        if path == "layers/attention/k/bias" and config.positions == "learned":
            # adds one number to all scores of a query: softmax does not see it, both gradients are rounding
            terms = np.abs(wanted["layers/attention/q/bias"]).max()
            assert np.abs(gradient).max() < rounding(config, passes=2) * terms > np.abs(wanted[path]).max()
            continue
        assert np.abs(wanted[path]).max() > 1e-4, path  # else the comparison below would say nothing
        assert_close(gradient, wanted[path], rounding(config, passes=2), path)


def test_the_tolerance_sees_a_wrong_epsilon():
    model, hf_config = build("llama")
    config = model_config(hf_config)
    wrong = dataclasses.replace(config, norm_eps=10 * config.norm_eps)
    logits = ours(params_from(arrays(model), config), wrong, random_ids(2, T))
    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        assert_close(logits, theirs(model, random_ids(2, T)), rounding(config))


@pytest.mark.parametrize("name", ["gpt2", "llama_llama3_tied"])
def test_ragged_rows_equal_each_alone(name):
    """A packed row and a left-padded one, against transformers reading each text by itself."""
    model, hf_config = build(name)
    config = model_config(hf_config)
    params = params_from(arrays(model), config)
    a, b = random_ids(1, 9)[0], random_ids(1, 7)[0] // 2
    alone = [theirs(model, text[None])[0] for text in (a, b)]
    ids = np.stack([np.concatenate([a, b]), np.concatenate([np.zeros(7, np.int32), a])])
    segments = np.array([[1] * 9 + [2] * 7, [0] * 7 + [1] * 9], np.int32)
    positions = np.array([[*range(9), *range(7)], [0] * 7 + [*range(9)]], np.int32)
    logits = ours(params, config, ids, segments, positions)
    assert_close(logits[0, :9], alone[0], rounding(config))
    assert_close(logits[0, 9:], alone[1], rounding(config))
    assert_close(logits[1, 7:], alone[0], rounding(config))


def test_tree_is_that_of_init():
    model, hf_config = build("qwen3")
    config = model_config(hf_config)
    converted = trees.flatten(params_from(arrays(model), config))
    wanted = trees.flatten(decoder.abstract_params(config))
    assert {path: (a.shape, a.dtype) for path, a in converted.items()} == {
        path: (a.shape, a.dtype) for path, a in wanted.items()
    }


def test_names_without_prefix_buffers_and_bfloat16_are_read():
    model, hf_config = build("gpt2")
    config = model_config(hf_config)
    weights = arrays(model)
    bare = {name.removeprefix("transformer."): weight.astype(jnp.bfloat16) for name, weight in weights.items()}
    bare |= {"h.0.attn.bias": np.ones((1, 1, 32, 32)), "h.0.attn.masked_bias": np.array(-1e4)}  # as in the hub's file
    for path, array in trees.flatten(params_from(bare, config)).items():
        wanted = trees.flatten(params_from(weights, config))[path]
        assert array.dtype == np.float32
        np.testing.assert_array_equal(array, wanted.astype(jnp.bfloat16).astype(np.float32), err_msg=path)


def test_bad_weights_are_named():
    model, hf_config = build("gpt2")
    config = model_config(hf_config)
    good = arrays(model)
    name = "transformer.h.1.mlp.c_fc.weight"
    with pytest.raises(UserError, match=r"h\.1\.mlp\.c_fc\.weight is missing"):
        params_from({n: w for n, w in good.items() if n != name}, config)
    with pytest.raises(UserError, match=r"c_fc\.weight has shape \(128, 32\), but the config says \(32, 128\)"):
        params_from(good | {name: good[name].T}, config)
    with pytest.raises(UserError, match=r"h\.2\.mlp\.c_fc\.weight has no place"):
        params_from(good | {name.replace("1", "2"): good[name]}, config)
    with pytest.raises(UserError, match=r"lm_head\.weight differs from the token embedding"):
        params_from(good | {"lm_head.weight": good["lm_head.weight"] + 1}, config)
    with pytest.raises(UserError, match=r"layers/attention/k_norm/scale"):
        params_from(good, dataclasses.replace(config, qk_norm=True))


def test_a_square_linear_weight_is_transposed():
    """q_proj is [16, 16] here, so a missing transposition would pass every check of shapes."""
    model, hf_config = build("llama", hidden_size=16)
    config = model_config(hf_config)
    params = params_from(arrays(model), config)
    q = model.model.layers[1].self_attn.q_proj.weight.detach().numpy()
    np.testing.assert_array_equal(params["layers"]["attention"]["q"]["kernel"][1].reshape(16, 16), q.T)


@pytest.mark.parametrize(
    "old",
    [
        {"rope_theta": 100.0, "rope_scaling": {k: v for k, v in LLAMA3.items() if k != "rope_theta"}},
        {"rope_theta": 100.0, "rope_scaling": {"type" if k == "rope_type" else k: v for k, v in LLAMA3.items()}},
    ],
)
def test_rope_settings_of_older_files(old):
    new = {"model_type": "llama"} | LLAMA
    assert model_config(new | old) == model_config(new | {"rope_parameters": LLAMA3})


def test_defaults_of_fields_that_old_files_leave_out():
    llama = {name: value for name, value in LLAMA.items() if "key_value" not in name}
    config = model_config({"model_type": "llama"} | llama)
    assert (config.num_kv_heads, config.head_dim, config.rope_theta, config.tie_embeddings) == (4, 8, 10_000.0, False)
    gpt2 = model_config({"model_type": "gpt2"} | GPT2)
    assert (gpt2.d_ff, gpt2.mlp, gpt2.tie_embeddings, gpt2.norm_eps) == (128, "gelu_tanh", True, 1e-5)


def test_a_window_that_no_layer_uses_is_read():
    window = {"model_type": "qwen2", "sliding_window": 8, "use_sliding_window": False, "max_window_layers": 1}
    assert model_config(LLAMA | window).attention_bias == "qkv"
    model_config(LLAMA | window | {"use_sliding_window": True, "max_window_layers": 2})
    with pytest.raises(UserError, match=r"use_sliding_window is true for layers from max_window_layers = 1 on"):
        model_config(LLAMA | window | {"use_sliding_window": True})


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"model_type": "bert"}, "model_type is 'bert', but must be one of gpt2, llama, mistral, qwen2, qwen3"),
        ({"model_type": "mistral"}, "sliding_window is 4096 in a mistral, but the decoder has only full attention"),
        ({"no_rope_layers": [0, 1]}, "no_rope_layers = [0, 1] is no field that is known here of a llama"),
        ({"hidden_act": "gelu"}, "hidden_act is 'gelu', but must be one of silu"),
        ({"hidden_size": None}, "hidden_size is missing"),
        ({"layer_types": ["full_attention", "sliding_attention"]}, "layer_types has 'sliding_attention'"),
        ({"rope_parameters": {"rope_type": "yarn", "factor": 2.0}}, "rope_parameters.rope_type is 'yarn'"),
        ({"rope_scaling": {"type": "dynamic", "factor": 2.0}}, "rope_scaling.rope_type is 'dynamic'"),
        ({"rope_scaling": {"type": "linear"}}, "rope_scaling.factor is missing"),
        (
            {"rope_parameters": {"full_attention": {"rope_theta": 1.0}}},
            "rope_parameters.full_attention is for some layers",
        ),
        ({"partial_rotary_factor": 0.5}, "partial_rotary_factor is 0.5, but the decoder has only 1.0"),
        ({"quantization_config": {"bits": 4}}, "quantization_config is set"),
        ({"num_key_value_heads": 3}, "num_heads = 4 is not divisible by config.model.num_kv_heads = 3"),
    ],
)
def test_what_the_decoder_does_not_have_is_named(fields, message):
    with pytest.raises(UserError) as error:
        model_config({"model_type": "llama"} | LLAMA | fields)
    assert message in str(error.value)


def test_gpt2_scaling_variants_are_refused():
    for name, value in (("scale_attn_by_inverse_layer_idx", True), ("scale_attn_weights", False)):
        with pytest.raises(UserError, match=name):
            model_config({"model_type": "gpt2"} | GPT2 | {name: value})

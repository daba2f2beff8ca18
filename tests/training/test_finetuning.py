"""The finetuning loss of the trainer's step against logits by hand: a row at a time, no padding, no batch."""

from __future__ import annotations

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pause_jax import trees
from pause_jax.config import Config, FinetuneConfig, OptimizerConfig, RunConfig
from pause_jax.config.model import Execution, ModelConfig
from pause_jax.data.finetuning import Examples, Ragged, draw_m_ft, features
from pause_jax.errors import UserError
from pause_jax.model import decoder
from pause_jax.network import Network
from pause_jax.pauses import downstream
from pause_jax.training.objective import CrossEntropy
from pause_jax.training.optimizer import make_optimizer, make_schedule
from pause_jax.training.step import make_train_step, new_state
from tests.data.configs import config_of

V, FILLER, P, T = 31, 9, 4, 3
MODELS = {
    "gpt": ModelConfig(
        vocab_size=V, num_pause_tokens=2, num_layers=2, d_model=16, num_heads=2, d_ff=24, max_positions=16
    ),
    "llama": ModelConfig(
        vocab_size=V,
        num_pause_tokens=2,
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
    ),
}
PROMPTS = [[3], [4, 5], [6, 7, 8, 10], [11, 12, 13, 14, 15, 16]]  # the last is cut to its last four
TARGETS = [[20, 1], [21, 22, 1], [1], [23, 24, 25, 26, 1]]  # the last to its first three


def ragged(sequences):
    return Ragged(np.concatenate(sequences).astype(np.int32), np.cumsum([0, *map(len, sequences)]))


@functools.cache
def params_of(family):
    rng = np.random.default_rng(0)

    def draw(path, leaf):
        scale = 1.0 if path.endswith("embedding") else 0.4
        return (path.endswith("scale") + scale * rng.normal(size=leaf.shape)).astype(np.float32)

    return trees.map_with_path(draw, decoder.abstract_params(MODELS[family]))


@functools.partial(jax.jit, static_argnames=("family", "prefix_lm_length"))
def logits(params, ids_1xT, *, family, prefix_lm_length):
    model = decoder.bind(params, MODELS[family], Execution())
    positions = jnp.arange(ids_1xT.shape[1])[None]
    return model.logits(model(ids_1xT, positions, jnp.ones_like(ids_1xT), prefix_lm_length=prefix_lm_length)[0])[0]


@functools.cache
def step_of(family, first_loss):
    config = OptimizerConfig(schedule="constant", warmup_steps=0)
    optimizer = make_optimizer(config)
    objective = CrossEntropy(Network(MODELS[family]).bind, first_loss=first_loss)
    step = make_train_step(objective, optimizer, make_schedule(config, 5), vocab_size=V, accumulation=2)
    return jax.jit(step), optimizer


def by_hand(family, config):
    """The mean over all targets' tokens of −log p, from the definition (paper section 3.1, eq. 4)."""
    total, count = 0.0, 0
    for index, (prompt, target) in enumerate(zip(PROMPTS, TARGETS, strict=True)):
        m = draw_m_ft(config.m_ft, seed=0, epoch=0, example=index)
        prompt, target, extra = prompt[-P:], target[:T], [V + j % 2 for j in range(m)]
        if config.placement == "filler":
            extra = [FILLER] * m
        context = extra + prompt if config.placement == "prepend" else prompt + extra
        seen = {"prefix_and_pauses": len(context), "prefix_only": len(prompt), "causal": 0}[config.attention]
        if config.placement == "prepend" and config.attention == "prefix_only":
            seen = len(context)  # the pauses come before the prompt and count as part of it
        all_logits = logits(
            params_of(family), np.array([context + target], np.int32), family=family, prefix_lm_length=seen
        )
        for k, token in enumerate(target):
            total -= float(jax.nn.log_softmax(all_logits[len(context) - 1 + k])[token])
            count += 1
    return total / count


@pytest.mark.parametrize("family", MODELS)
@pytest.mark.parametrize("attention", ["prefix_and_pauses", "prefix_only", "causal"])
@pytest.mark.parametrize(
    "placement, m_ft", [("append", (3,)), ("prepend", (3,)), ("filler", (2,)), ("append", (0, 1, 3)), ("append", (0,))]
)
def test_loss_equals_the_one_by_hand(family, attention, placement, m_ft):
    config = FinetuneConfig(
        task="t", m_ft=m_ft, placement=placement, attention=attention, max_prompt_length=P, target_length=T
    )
    batch = features(
        Examples(ragged(PROMPTS), ragged(TARGETS)),
        np.zeros(4, int),
        np.arange(4),
        config=config_of(vocab_size=V, num_pause_tokens=2, finetune=config, batch_size=4),
        filler_id=FILLER,
    )
    step, optimizer = step_of(family, config.context_length - 1)
    _, metrics = step(new_state(params_of(family), optimizer), batch)
    np.testing.assert_allclose(metrics["loss"], by_hand(family, config), rtol=1e-5)
    assert int(metrics["loss_tokens"]) == sum(min(len(target), T) for target in TARGETS)
    if placement != "filler":
        drawn = sum(draw_m_ft(m_ft, seed=0, epoch=0, example=i) for i in range(4))
        assert int(metrics["pause_tokens"]) == drawn


@pytest.mark.parametrize("attention", ["prefix_and_pauses", "prefix_only", "causal"])
@pytest.mark.parametrize("placement", ["append", "prepend", "filler"])
@pytest.mark.parametrize("m_ft", [(3,), (0, 1, 3)])
def test_the_number_of_bidirectional_positions_is_known_beforehand_where_rows_do_not_differ(attention, placement, m_ft):
    """For kernels that compile their mask: the config's number is that of the data, or there is none."""
    finetune = FinetuneConfig(
        task="t", m_ft=m_ft, placement=placement, attention=attention, max_prompt_length=P, target_length=T
    )
    batch = features(
        Examples(ragged(PROMPTS), ragged(TARGETS)),
        np.zeros(4, int),
        np.arange(4),
        config=config_of(vocab_size=V, num_pause_tokens=2, finetune=finetune, batch_size=4),
        filler_id=FILLER,
    )
    splash = RunConfig(execution=Execution(attention="splash"))
    config = Config(model=ModelConfig(num_pause_tokens=2), finetune=finetune, run=splash)
    if attention == "prefix_only" and placement != "prepend" and len(m_ft) > 1:
        assert config.prefix_lm_length is None and len(set(batch["prefix_lm_length"].tolist())) > 1
        with pytest.raises(UserError, match=r"m_ft = \(0, 1, 3\) .* a mask of its own, but .*'splash' compiles one"):
            config.validate()
    else:
        config.validate()
        assert {config.prefix_lm_length} == set(batch["prefix_lm_length"].tolist())
        assert Config().prefix_lm_length == 0


def test_cudnn_wants_bfloat16():
    config = Config(run=RunConfig(execution=Execution(attention="cudnn")))
    with pytest.raises(UserError, match=r"'cudnn' serves bfloat16 and heads of a multiple of 8.*dtype = 'float32'"):
        config.validate()
    dataclasses.replace(config, model=ModelConfig(dtype="bfloat16")).validate()


def test_the_kinds_differ():
    """Or the test above would pass with any of them."""
    kinds = [
        FinetuneConfig(
            task="t", m_ft=(m,), placement=placement, attention=attention, max_prompt_length=P, target_length=T
        )
        for placement in ("append", "prepend", "filler")
        for attention in ("prefix_and_pauses", "prefix_only", "causal")
        for m in (2, 3)
        if not (placement == "prepend" and attention == "prefix_only")
    ]
    losses = [by_hand("gpt", kind) for kind in kinds]
    assert min(abs(a - b) for i, a in enumerate(losses) for b in losses[:i]) > 1e-3
    assert downstream.prefix_lm_length("prefix_only", 4, 3) == 4

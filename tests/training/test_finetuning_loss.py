"""The finetuning loss from its definition: one example at a time through a decoder in plain NumPy, with no padding, no
batch, and a mask written out from who may see whom (paper sections 1-3, eq. 4). The trainer's must be the same."""

from __future__ import annotations

import dataclasses
import functools
import itertools

import jax
import numpy as np
import pytest

from pause_jax.config import FinetuneConfig, OptimizerConfig
from pause_jax.data.finetuning import Examples, Ragged, draw_m_ft, train_batches, validation_batches
from pause_jax.network import Network
from pause_jax.training.objective import CrossEntropy
from pause_jax.training.optimizer import make_optimizer, make_schedule
from pause_jax.training.step import make_train_step, make_validation_step, new_state
from tests.data.configs import config_of
from tests.model.test_decoder import GPT, LLAMA, SCANNED, Reference, V, random_params

FILLER, N_PAUSES, SEED, P, A = 9, 2, 5, 4, 3  # prompts are cut to their last P, targets to their first A
MODELS = {"learned": GPT, "rope": LLAMA}
PROMPTS = [[3], [4, 5], [6, 7, 8, 10], [11, 12, 13, 14, 15, 16], [8, 8, 2]]
TARGETS = [[20, 1], [21, 22, 1], [1], [19, 18, 17, 16, 1], [2, 3, 1]]
CASES = {
    "prefix_and_pauses": {},
    "prefix_only": {"attention": "prefix_only"},
    "causal": {"attention": "causal"},
    "prepend": {"placement": "prepend"},
    "prepend, prefix_only": {"placement": "prepend", "attention": "prefix_only"},
    "filler": {"placement": "filler"},
    "filler, prefix_only": {"placement": "filler", "attention": "prefix_only"},
    "a list": {"m_ft": (0, 1, 3)},
    "a list, prefix_only": {"m_ft": (0, 1, 3), "attention": "prefix_only"},
    "a list, prepend": {"m_ft": (0, 1, 3), "placement": "prepend"},
    "no pauses, long prompts": {
        "m_ft": (0,),
        "max_prompt_length": P + 3,
    },  # rows as long as the others: one compilation
}


def ragged(sequences):
    return Ragged(np.concatenate(sequences).astype(np.int32), np.cumsum([0, *map(len, sequences)]))


EXAMPLES = Examples(ragged(PROMPTS), ragged(TARGETS))


def run_of(finetune, batch_size):
    return config_of(seed=SEED, vocab_size=V, num_pause_tokens=N_PAUSES, finetune=finetune, batch_size=batch_size)


@functools.cache
def params_of(model):
    return random_params(MODELS[model], N_PAUSES)


class Masked(Reference):
    """The reference decoder where a table says who sees whom: seen[t][s]."""

    def __init__(self, params, config, seen):
        super().__init__(params, config)
        self.seen = seen

    def may_see(self, t, s, segments):
        return self.seen[t][s]


def losses_by_hand(model, config, example):
    """−log p of each token of the example's target."""
    m = draw_m_ft(config.m_ft, seed=SEED, epoch=0, example=example)
    prompt = [(token, "prompt") for token in PROMPTS[example][-config.max_prompt_length :]]
    target = [(token, "target") for token in TARGETS[example][: config.target_length]]
    pauses = [(FILLER if config.placement == "filler" else V + j % N_PAUSES, "pause") for j in range(m)]
    row = [*pauses, *prompt, *target] if config.placement == "prepend" else [*prompt, *pauses, *target]
    last_prompt = max(i for i, (_, part) in enumerate(row) if part == "prompt")
    ends = {"prefix_and_pauses": len(row) - len(target), "prefix_only": last_prompt + 1, "causal": 0}
    block = range(ends[config.attention])  # what sees itself both ways
    seen = [[s <= t or (s in block and t in block) for s in range(len(row))] for t in range(len(row))]
    ids = [token for token, _ in row]
    reference = Masked(params_of(model), MODELS[model], seen)
    hidden = reference.hidden(ids, range(len(ids)), [1] * len(ids))
    found = []
    for position, (token, part) in enumerate(row):
        if part == "target":
            (logits,) = reference.logits([hidden[position - 1]])
            found.append(float(np.log(np.exp(logits).sum()) - logits[token]))
    return found


@functools.cache
def steps_of(model, first_loss):
    """The jitted training and validation steps, and a state."""
    config = OptimizerConfig(schedule="constant", warmup_steps=0)
    optimizer = make_optimizer(config)
    network = Network(dataclasses.replace(MODELS[model], num_pause_tokens=N_PAUSES), SCANNED).bind
    objective = CrossEntropy(network, first_loss=first_loss)
    step = make_train_step(objective, optimizer, make_schedule(config, 5), vocab_size=V, accumulation=1)
    validate = make_validation_step(CrossEntropy(network, 2, first_loss), vocab_size=V)
    return jax.jit(step), jax.jit(validate), new_state(params_of(model), optimizer)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("case", CASES)
def test_the_trainers_loss_is_the_one_by_hand(model, case):
    """An epoch as one batch of training; and of validation four rows at a time, of which the last three are padding."""
    config = FinetuneConfig(**{"task": "t", "m_ft": (3,), "max_prompt_length": P, "target_length": A, **CASES[case]})
    by_hand = [losses_by_hand(model, config, example) for example in range(len(PROMPTS))]
    assert [len(losses) for losses in by_hand] == [2, 3, 1, 3, 3]
    wanted = sum(map(sum, by_hand))
    step, validate, state = steps_of(model, config.context_length - 1)

    batch = next(train_batches(EXAMPLES, run_of(config, 5), FILLER, range(5)))
    _, metrics = step(state, batch)
    np.testing.assert_allclose(metrics["loss"], wanted / 12, rtol=1e-5)

    batches = validation_batches(EXAMPLES, run_of(config, 4), FILLER, range(4))
    sums = [[float(part) for part in validate(state["params"], batch)[:2]] for batch in batches]
    np.testing.assert_allclose(sums, [[sum(map(sum, by_hand[:4])), 9], [sum(by_hand[4]), 3]], rtol=1e-5)


def test_the_cases_differ():
    """Or the test above would pass whichever of them the trainer took; and a list draws more than one number."""
    losses = {}
    for case, fields in CASES.items():
        config = FinetuneConfig(**{"task": "t", "m_ft": (3,), "max_prompt_length": P, "target_length": A, **fields})
        losses[case] = sum(map(sum, (losses_by_hand("rope", config, example) for example in range(len(PROMPTS)))))
    del losses["prepend, prefix_only"]  # the pauses before a prompt are part of its block: the same as "prepend"
    assert min(abs(a - b) for a, b in itertools.combinations(losses.values(), 2)) > 1e-2
    assert len({draw_m_ft((0, 1, 3), seed=SEED, epoch=0, example=example) for example in range(5)}) == 3


def test_what_is_cut_off_does_not_count():
    """The same examples, already cut, have the same loss; cut at their other ends they have another."""
    config = FinetuneConfig(task="t", m_ft=(3,), max_prompt_length=P, target_length=A)
    step, _, state = steps_of("learned", config.context_length - 1)

    def loss(prompts, targets):
        examples = Examples(ragged(prompts), ragged(targets))
        batch = next(train_batches(examples, run_of(config, 5), FILLER, range(5)))
        return float(step(state, batch)[1]["loss"])

    last, first = [prompt[-P:] for prompt in PROMPTS], [target[:A] for target in TARGETS]
    assert loss(PROMPTS, TARGETS) == loss(last, first)
    assert loss([prompt[:P] for prompt in PROMPTS], first) != loss(last, first)
    assert loss(last, [target[-A:] for target in TARGETS]) != loss(last, first)

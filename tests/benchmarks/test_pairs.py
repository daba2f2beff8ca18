"""Both sides of each benchmark do the same work, and a pair that doesn't is refused. Small networks."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

from benchmarks import batches, decode, evaluate, peers, prefill, train_step
from benchmarks.shapes import Shape

GPT2 = Shape("gpt2", 96, num_layers=2, d_model=32, num_heads=4, num_kv_heads=4, d_ff=64, max_positions=64)
LLAMA = Shape("llama", 96, num_layers=2, d_model=32, num_heads=4, num_kv_heads=2, d_ff=48, max_positions=64)

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("shape", [GPT2, LLAMA], ids=["gpt2", "llama"])
def test_training_steps_stay_together(shape):
    pair = train_step.make_pair(shape, batch_size=2, length=16)
    ours, theirs = (np.array([step() for _ in range(3)]) for step in (pair.ours, pair.peer))
    np.testing.assert_allclose(ours, theirs, rtol=1e-5)
    assert ours[2, 0] < ours[0, 0] - 1e-3  # it learns, far more than the tolerance


@pytest.mark.parametrize(("change", "value"), [("weight_decay", 0.0), ("b2", 0.999)])
def test_another_optimizer_is_seen(monkeypatch, change, value):
    theirs = train_step.OPTIMIZER
    make = train_step.make_optimizer
    monkeypatch.setattr(train_step, "OPTIMIZER", dataclasses.replace(theirs, learning_rate=1e-2))
    monkeypatch.setattr(train_step, "make_optimizer", lambda c: make(dataclasses.replace(c, **{change: value})))
    with pytest.raises(AssertionError, match="of the first steps"):
        train_step.make_pair(LLAMA, batch_size=2, length=16)


@pytest.mark.parametrize("shape", [GPT2, LLAMA], ids=["gpt2", "llama"])
def test_prefill_and_decode_agree(shape):
    pair = prefill.make_pair(shape, batch_size=2, prompt_length=32, m_inf=3)
    ours, theirs = np.asarray(pair.ours()), pair.peer().numpy()
    assert (ours.shape, theirs.shape) == ((2, 96), (2, 97))  # the peer has a logit for the pause
    pair = decode.make_pair(shape, batch_size=2, prompt_length=32, new_tokens=5)
    assert pair.work == 10
    assert [len(ids) for ids in pair.ours()] == [5, 5]


def test_other_weights_are_seen(monkeypatch):
    make_twins = peers.make_twins

    def no_pause_vector(*arguments, **keywords):
        twins = make_twins(*arguments, **keywords)
        twins.params["pause"] = {"embedding": 0 * twins.params["pause"]["embedding"]}
        return twins

    monkeypatch.setattr(prefill, "make_twins", no_pause_vector)
    with pytest.raises(AssertionError, match="logits after the last pause"):
        prefill.make_pair(LLAMA, batch_size=2, prompt_length=32, m_inf=3)


def test_batches_are_those_of_their_steps():
    pair = batches.make_pair(step=7, num_tokens=20_000)
    ours, peer = pair.ours(), pair.peer()
    assert ours.shape == peer.shape == (batches.BATCH_SIZE, batches.DATA.length)
    np.testing.assert_array_equal(ours, batches.make_pair(step=7, num_tokens=20_000).ours())


def test_several_m_inf_give_the_answers_of_one_after_the_other(monkeypatch):
    small = dataclasses.replace(evaluate.MODEL, vocab_size=96, num_layers=1, d_model=32, num_heads=4, d_ff=64)
    settings = {"num_prompts": 6, "batch_size": 4, "model": small, "lengths": (5, 30)}
    assert evaluate.make_pair(**settings).work == 6
    read = evaluate.read

    def one_pause_less(*arguments, m_infs, **keywords):
        return read(*arguments, m_infs=[max(m - (len(m_infs) > 1), 0) for m in m_infs], **keywords)

    monkeypatch.setattr(evaluate, "read", one_pause_less)
    with pytest.raises(AssertionError, match=r"answers after \d+ pauses differ"):
        evaluate.make_pair(**settings)

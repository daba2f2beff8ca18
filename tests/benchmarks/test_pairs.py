"""Both sides of each benchmark do the same work, and a pair that doesn't is refused. Small networks."""

from __future__ import annotations

import dataclasses
import time

import numpy as np
import pytest

from pause_jax.network import Network

pytest.importorskip("torch")
pytest.importorskip("transformers")

import torch

from benchmarks import (
    batches,
    cross_entropy,
    decode,
    evaluate,
    measure,
    overhead,
    pauses,
    peak,
    peers,
    prefill,
    score,
    train_step,
)
from benchmarks.shapes import Shape
from pause_jax.config.model import ModelConfig

GPT2 = Shape("gpt2", 96, num_layers=2, d_model=32, num_heads=4, num_kv_heads=4, d_ff=64, max_positions=64)
LLAMA = Shape("llama", 96, num_layers=2, d_model=32, num_heads=4, num_kv_heads=2, d_ff=48, max_positions=64)

TINY = ModelConfig(vocab_size=96, num_layers=1, d_model=32, num_heads=4, d_ff=64, max_positions=256)

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def torch_as_it_is(monkeypatch, request):
    """Not compiled, which takes half a minute, and called however long it takes."""
    monkeypatch.setattr(torch, "compile", lambda function: function)
    if "quicker" not in request.node.name:
        monkeypatch.setattr(peers, "HOPELESS", 1e9)


@pytest.mark.parametrize("shape", [GPT2, LLAMA], ids=["gpt2", "llama"])
def test_training_steps_stay_together(monkeypatch, shape):
    taken = {}
    check = train_step.assert_steps_agree
    monkeypatch.setattr(train_step, "assert_steps_agree", lambda *given: taken.update(given=given) or check(*given))
    pair = train_step.make_pair(shape, batch_size=2, length=16)
    assert set(pair.sides) == {"ours", "peer", "ours_bfloat16", "peer_bfloat16"}
    assert pair.facts["peer_float32"].startswith("torch") and pair.flops > 1e6
    ours, theirs = (np.array(side) for side in taken["given"])
    steps = min(len(ours), len(theirs))
    assert steps >= train_step.CHECKED_STEPS
    np.testing.assert_allclose(ours[:5], theirs[:5], rtol=1e-5)
    assert ours[4, 0] < ours[0, 0] - 2e-3  # it learns, more than the tolerance
    for side in pair.sides.values():
        assert isinstance(side, float) or side() is None


@pytest.mark.parametrize(("change", "value"), [("weight_decay", 0.0), ("b2", 0.999)])
def test_another_optimizer_is_seen(monkeypatch, change, value):
    monkeypatch.setattr(train_step, "OPTIMIZER", dataclasses.replace(train_step.OPTIMIZER, learning_rate=1e-2))
    make = train_step.loop.make_optimizer
    monkeypatch.setattr(train_step.loop, "make_optimizer", lambda c: make(dataclasses.replace(c, **{change: value})))
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
    assert ours.shape == peer.shape == (batches.BATCH_SIZE, batches.CONFIG.data.length)
    np.testing.assert_array_equal(ours, batches.make_pair(step=7, num_tokens=20_000).ours())


def test_several_m_inf_give_the_answers_of_one_after_the_other(monkeypatch):
    sizes = {"num_layers": 1, "d_model": 32, "num_heads": 4, "num_kv_heads": 0, "head_dim": 0, "d_ff": 64}
    small = dataclasses.replace(evaluate.MODEL, vocab_size=96, **sizes)
    settings = {"num_prompts": 6, "batch_size": 4, "model": small, "lengths": (5, 30)}
    assert evaluate.make_pair(**settings).work == 6
    prefill = Network.prefill

    def one_pause_less(self, params, prompts, m_infs, *arguments, **keywords):
        fewer = [max(m - (len(m_infs) > 1), 0) for m in m_infs]
        return prefill(self, params, prompts, fewer, *arguments, **keywords)

    monkeypatch.setattr(Network, "prefill", one_pause_less)
    with pytest.raises(AssertionError, match=r"answers after \d+ pauses differ"):
        evaluate.make_pair(**settings)


def test_scores_of_shared_prompts_are_those_of_whole_rows(monkeypatch):
    pair = score.make_pair(items=6, batch_size=4, model=TINY)
    assert pair.work == 6 and np.shape(pair.ours()) == np.shape(pair.peer()) == (6, score.OPTIONS)
    monkeypatch.setattr(score, "score", lambda *a, **k: np.zeros((len(a[2]), score.OPTIONS)))
    with pytest.raises(AssertionError, match="log-probabilities"):
        score.make_pair(items=6, batch_size=4, model=TINY)


def test_what_pauses_and_chunks_cost_is_told_with_their_times():
    step = pauses.make_train_pair(TINY, batch_size=2, length=32)
    assert 1 <= step.facts["flops_ratio"] < 1.2
    prefill_pair = pauses.make_prefill_pair(TINY, batch_size=2, prompt_length=64, m_inf=10)
    assert 1.1 < prefill_pair.facts["flops_ratio"] < 1.3
    chunked = cross_entropy.make_pair(dataclasses.replace(TINY, vocab_size=8192), batch_size=4, length=128)
    assert chunked.facts["peak_bytes_ratio"] < 0.8
    for pair in (step, prefill_pair, chunked):
        pair.ours(), pair.peer()


def test_peaks_are_of_the_same_product(monkeypatch):
    monkeypatch.setitem(peak.MATRIX, "cpu", 64)
    monkeypatch.setattr(peak, "SECONDS", 0.01)
    monkeypatch.setattr(peak, "TRIAD", 2**12)
    assert peak.make_matmul_pair("bfloat16").flops == 2 * 64**3
    assert 1e6 < peak.matmul_flops_per_second("float32") < 1e15
    triad = peak.make_triad_pair()
    assert triad.work == pytest.approx(3 * 4 * 2**12 / 1e9)
    triad.ours(), triad.peer()


def test_the_quicker_of_eager_and_compiled_is_the_peer():
    def busy(seconds):
        return lambda: time.sleep(seconds)

    def broken():
        raise RuntimeError("no compiler")

    ours, quick, slow = busy(0.02), busy(0.01), busy(0.05)
    assert peers.better(ours, slow, quick) == (quick, "torch.compile")
    assert peers.better(ours, quick, slow) == (quick, "torch eager")
    assert peers.better(ours, slow, broken) == (slow, "torch eager; torch.compile failed: RuntimeError")
    seconds, how = peers.better(ours, busy(1.0), broken)
    assert seconds >= 1.0 and how == "torch eager, timed once: more than 5 times our time"


def test_a_run_and_its_step_alone_are_timed_in_turn():
    """Of five steps all but the first, and what goes on between them, here a save after the third."""
    now = 0.0

    def alone():
        nonlocal now
        now += 1.0

    turns = overhead.Turns(alone, steps=5, stretch=2, clock=lambda: now)
    for step in range(1, 6):
        now += 100.0 if step == 1 else 2.0
        turns.after_step(None)
        now += 3.0 if step == 3 else 0.0
    assert turns.seconds_a_step() == {"ours": (4 * 2.0 + 3.0) / 4, "peer": 1.0}
    assert now == 100.0 + 4 * 2.0 + 3.0 + 3 * 2


@pytest.mark.slow
def test_the_loops_overhead_is_of_one_run_that_goes_on():
    pair = overhead.make_pair(steps=10, stretch=3)
    first, second = (measure.seconds(side) for side in (pair.peer, pair.ours))
    assert 0 < first < 2 * second
    assert measure.seconds(pair.ours) > 0 and measure.seconds(pair.peer) > 0

"""Several numbers of pauses after one reading of the prompts, against a reading for each."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from pause_jax.config import MeshConfig
from pause_jax.config.model import Execution
from pause_jax.distributed.mesh import make_mesh
from pause_jax.inference import prefill
from pause_jax.inference.decode import write
from pause_jax.inference.prefill import can_share, read
from pause_jax.inference.score import score_read
from tests.inference.test_decode import FAMILIES, N_PAUSES, NEVER, NEW, PROMPTS, V, logits_of, params_of

M_INFS = [3, 0, 5, 1]
OPTIONS = [[[20, 1], [24]], [[21, 22, 23]], [[1]]]


def network(family, **more):
    return {
        "params": params_of(family),
        "config": FAMILIES[family],
        "execution": Execution(),
        "num_pause_tokens": N_PAUSES,
        **more,
    }


def readings(family, attention, m_infs, **more):
    return read(**network(family), prompts=PROMPTS, m_infs=m_infs, attention=attention, room=NEW + 3, bucket=4, **more)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("attention", ["prefix_and_pauses", "prefix_only", "causal"])
def test_each_is_as_if_it_had_been_read_alone(family, attention):
    """Learned positions, and rotary ones with grouped heads: logits of given answers, answers and scores."""
    given = np.random.default_rng(0).integers(0, V, (len(PROMPTS), NEW)).astype(np.int32)
    for m_inf, reading in zip(M_INFS, readings(family, attention, M_INFS), strict=True):
        (alone,) = readings(family, attention, [m_inf])
        wanted = logits_of(family, alone, given)
        np.testing.assert_allclose(logits_of(family, reading, given), wanted, rtol=0, atol=2e-5 * np.abs(wanted).max())
        np.testing.assert_array_equal(reading.next_positions_B, [len(prompt) + m_inf for prompt in PROMPTS])
        scores = [
            score_read(**network(family), reading=r, options=OPTIONS, option_length=3)[0] for r in (reading, alone)
        ]
        np.testing.assert_allclose(np.concatenate(scores[0]), np.concatenate(scores[1]), rtol=1e-5)
        answers = [write(**network(family), reading=r, max_new_tokens=NEW, eos_id=NEVER) for r in (reading, alone)]
        assert answers[0] == answers[1]


@pytest.mark.parametrize(("attention", "passes"), [("prefix_and_pauses", 4), ("prefix_only", 1), ("causal", 1)])
def test_how_often_the_prompts_are_read(monkeypatch, attention, passes):
    """Those of which no prompt token sees a pause: once. The others: each when it is asked for."""
    made = []
    original = prefill._prefill
    monkeypatch.setattr(prefill, "_prefill", lambda *a, **k: made.append(k["answer_positions"]) or original(*a, **k))
    found = readings("gpt", attention, M_INFS)
    next(found)
    assert len(made) == 1
    assert len(list(found)) == 3 and len(made) == passes
    assert [p - 7 for positions in made for p in positions] == M_INFS  # after prompts of 8 positions


def test_a_filler_shares_as_pauses_do_and_those_before_a_prompt_do_not():
    for m_inf, reading in zip(M_INFS, readings("llama", "causal", M_INFS, filler=17), strict=True):
        (alone,) = read(
            **network("llama"),
            prompts=[[*prompt, *[17] * m_inf] for prompt in PROMPTS],
            m_infs=[0],
            attention="causal",
            room=0,
        )
        np.testing.assert_allclose(reading.logits_BxV, alone.logits_BxV, rtol=0, atol=1e-4)
    assert can_share("causal", "append") and can_share("prefix_only", "filler")
    assert not can_share("causal", "prepend") and not can_share("prefix_and_pauses", "append")


def test_rows_are_filled_up_for_a_mesh_and_lie_over_it():
    mesh = make_mesh(MeshConfig(), jax.devices()[:8])
    settings = {"prompts": PROMPTS, "m_infs": [2], "attention": "causal", "room": NEW}
    (cut,) = read(**network("gpt", mesh=mesh), **settings)
    (whole,) = read(**network("gpt"), **settings)
    assert cut.num_rows == 3 and cut.logits_BxV.shape == (8, V)
    assert {s.data.shape for s in cut.cache.k_NxBxSxKxE.addressable_shards} == {(2, 1, 64, 4, 4)}
    np.testing.assert_allclose(cut.logits_BxV[:3], whole.logits_BxV, rtol=0, atol=1e-4)
    answers = write(**network("gpt", mesh=mesh), reading=cut, max_new_tokens=NEW, eos_id=NEVER)
    assert answers == write(**network("gpt"), reading=whole, max_new_tokens=NEW, eos_id=NEVER)

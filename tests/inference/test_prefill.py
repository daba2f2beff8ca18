"""Several numbers of pauses after one reading of the prompts, against a reading for each."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from pause_jax.config import MeshConfig
from pause_jax.distributed.mesh import make_mesh
from pause_jax.inference import prefill
from pause_jax.inference.decode import Decoding
from pause_jax.inference.prefill import PromptFormat, can_share
from pause_jax.network import Network
from tests.inference.test_decode import FAMILIES, NEVER, NEW, PROMPTS, V, logits_of, params_of

M_INFS = [3, 0, 5, 1]
OPTIONS = [[[20, 1], [24]], [[21, 22, 23]], [[1]]]


def prefills(family, attention, m_infs, filler=None):
    prompt_format = PromptFormat(attention, filler, bucket=4)
    return Network(FAMILIES[family]).prefill(
        params_of(family), PROMPTS, m_infs, prompt_format, extra_cache_length=NEW + 3
    )


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("attention", ["prefix_and_pauses", "prefix_only", "causal"])
def test_each_is_as_if_it_had_been_read_alone(family, attention):
    """Learned positions, and rotary ones with grouped heads: logits of given answers, answers and scores."""
    given = np.random.default_rng(0).integers(0, V, (len(PROMPTS), NEW)).astype(np.int32)
    for m_inf, read in zip(M_INFS, prefills(family, attention, M_INFS), strict=True):
        (alone,) = prefills(family, attention, [m_inf])
        wanted = logits_of(family, alone, given)
        np.testing.assert_allclose(logits_of(family, read, given), wanted, rtol=0, atol=2e-5 * np.abs(wanted).max())
        np.testing.assert_array_equal(read.next_positions_B, [len(prompt) + m_inf for prompt in PROMPTS])
        network, params = Network(FAMILIES[family]), params_of(family)
        scores = [network.score(params, one, OPTIONS, option_length=3)[0] for one in (read, alone)]
        np.testing.assert_allclose(np.concatenate(scores[0]), np.concatenate(scores[1]), rtol=1e-5)
        answers = [network.decode(params, one, Decoding(NEW, NEVER)) for one in (read, alone)]
        assert answers[0] == answers[1]


@pytest.mark.parametrize(("attention", "passes"), [("prefix_and_pauses", 4), ("prefix_only", 1), ("causal", 1)])
def test_how_often_the_prompts_are_read(monkeypatch, attention, passes):
    """Those of which no prompt token sees a pause: once. The others: each when it is asked for."""
    made = []
    original = prefill._prefill
    monkeypatch.setattr(prefill, "_prefill", lambda *a, **k: made.append(k["answer_positions"]) or original(*a, **k))
    found = prefills("gpt", attention, M_INFS)
    next(found)
    assert len(made) == 1
    assert len(list(found)) == 3 and len(made) == passes
    assert [p - 7 for positions in made for p in positions] == M_INFS  # after prompts of 8 positions


def test_a_filler_shares_as_pauses_do_and_those_before_a_prompt_do_not():
    for m_inf, read in zip(M_INFS, prefills("llama", "causal", M_INFS, filler=17), strict=True):
        prompts = [[*prompt, *[17] * m_inf] for prompt in PROMPTS]
        (alone,) = Network(FAMILIES["llama"]).prefill(
            params_of("llama"), prompts, [0], PromptFormat("causal"), extra_cache_length=0
        )
        np.testing.assert_allclose(read.logits_BxV, alone.logits_BxV, rtol=0, atol=1e-4)
    assert can_share("causal", "append") and can_share("prefix_only", "filler")
    assert not can_share("causal", "prepend") and not can_share("prefix_and_pauses", "append")


def test_rows_are_filled_up_for_a_mesh_and_lie_over_it():
    mesh = make_mesh(MeshConfig(), jax.devices()[:8])
    networks, params = (Network(FAMILIES["gpt"], mesh=mesh), Network(FAMILIES["gpt"])), params_of("gpt")
    (cut,), (whole,) = (
        network.prefill(params, PROMPTS, [2], PromptFormat("causal"), extra_cache_length=NEW) for network in networks
    )
    assert cut.num_rows == 3 and cut.logits_BxV.shape == (8, V)
    assert {s.data.shape for s in cut.cache.k_NxBxSxKxE.addressable_shards} == {(2, 1, 64, 4, 4)}
    np.testing.assert_allclose(cut.logits_BxV[:3], whole.logits_BxV, rtol=0, atol=1e-4)
    answers = [
        network.decode(params, read, Decoding(NEW, NEVER)) for network, read in zip(networks, (cut, whole), strict=True)
    ]
    assert answers[0] == answers[1]

"""One call for a text's logits, one for its loss: against the network applied to the text, and the training loss."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pause_jax.config import MeshConfig
from pause_jax.config.model import Execution
from pause_jax.errors import UserError
from pause_jax.inference.restored import RestoredRun
from pause_jax.model import decoder
from pause_jax.model.ops.reference import head_loss
from pause_jax.tokenizers import tokenizer
from tests.interop.runs import LLAMA, V, make_run

TEXT = "def f(x): return x"
IDS = tokenizer.load("byte").encode(TEXT)


@pytest.fixture(scope="module", params=[{}, LLAMA], ids=["gpt", "llama"])
def run(request, tmp_path_factory):
    return RestoredRun.restore(str(make_run(tmp_path_factory.mktemp("texts") / "run", **request.param).path))


def network(run, ids):
    model = decoder.bind(run.params, run.config.model, Execution())
    row = jnp.array([ids], jnp.int32)
    return model, model(row, jnp.arange(len(ids), dtype=jnp.int32)[None], jnp.ones_like(row))[0]


@pytest.mark.parametrize("m_inf", [0, 3])
def test_logits_are_those_of_the_network_applied_to_the_text(run, m_inf):
    model, hidden = network(run, [*IDS, *[V] * m_inf])
    found = run.logits(TEXT, m_inf=m_inf)
    assert found.shape == (len(IDS) + m_inf, V) and found.dtype == np.float32
    np.testing.assert_allclose(found, np.asarray(model.logits(hidden))[0], rtol=0, atol=1e-4)


def test_the_loss_is_that_of_training_a_token(run):
    model, hidden = network(run, IDS)
    head = (model.token if model.head is None else model.head).embedding[...]
    targets = jnp.array([[*IDS[1:], 1]], jnp.int32)
    wanted = head_loss(hidden, head, targets, jnp.ones(targets.shape, jnp.float32))[0] / len(IDS)
    assert run.loss(TEXT) == pytest.approx(float(wanted), rel=1e-5)


def test_any_mesh_gives_the_same(run):
    cut = RestoredRun.restore(str(run.folder.path), MeshConfig(fsdp=4))
    assert len(jax.devices()) == 8
    np.testing.assert_allclose(cut.logits("ab", m_inf=1), run.logits("ab", m_inf=1), rtol=0, atol=1e-4)


def test_texts_that_cannot_be(run):
    for call in (run.logits, run.loss):
        with pytest.raises(UserError, match="prompt 0 is empty"):
            call("")
    if run.config.model.positions == "learned":
        with pytest.raises(UserError, match="a text of 200 tokens, 0 pauses and 1 new tokens need 200 positions"):
            run.loss("x" * 200)

"""Objectives beside cross-entropy: a term on a mesh, and a class from elsewhere."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

from pause_jax.config import ObjectiveConfig
from pause_jax.errors import UserError
from pause_jax.training.objective import OBJECTIVES, CrossEntropy
from tests.training.test_optimizer import CUT, WIDE, run_config, trained


@pytest.mark.slow
def test_z_loss_is_the_same_on_a_mesh():
    """One step on 8 devices and on one: loss, the term's own metric, and what the gradient did to the head."""
    with_term = ObjectiveConfig(z_loss=0.1)
    alone, told = trained(dataclasses.replace(run_config("adamw"), objective=with_term), devices=1, steps=1)
    cut, also_told = trained(dataclasses.replace(run_config("adamw", CUT), objective=with_term), devices=8, steps=1)
    assert told["z_loss"] > 0.1 * told["loss"]
    for name in ("loss", "z_loss", "grad_norm"):
        np.testing.assert_allclose(also_told[name], told[name], rtol=1e-5, err_msg=name)
    head, held = (state["opt_state"][1].mu["head"]["embedding"] for state in (cut, alone))
    np.testing.assert_allclose(head, held, rtol=1e-3, atol=1e-4 * float(jnp.abs(held).max()))


def test_an_objective_from_elsewhere_is_trained_on(monkeypatch):
    """Here one that counts the positions after a pause alone, and stops at the second step: stages by step."""

    @dataclasses.dataclass(frozen=True)
    class AfterPauses(CrossEntropy):
        def weights(self, batch):
            return batch["loss_weights"] * (batch["inputs"] >= WIDE.vocab_size)

        def loss_sum(self, params, batch, step):
            loss, metrics = super().loss_sum(params, batch, step)
            return loss * (step < 1), metrics | {"rows": jnp.sum(batch["loss_weights"])}

    monkeypatch.setitem(OBJECTIVES, "after_pauses", lambda config, network: AfterPauses(network))
    config = dataclasses.replace(run_config("adamw"), objective=ObjectiveConfig(name="after_pauses"))
    config.objective.validate()
    _, first = trained(config, devices=1, steps=1)
    assert int(first["loss_tokens"]) == 8 and float(first["rows"]) == 1.0 and first["loss"] > 1  # one pause a row
    _, second = trained(config, devices=1, steps=2)
    assert float(second["loss"]) == 0.0 and float(second["grad_norm"]) == 0.0


def test_names_and_coefficients_are_checked():
    with pytest.raises(UserError, match=r"config\.objective\.name is 'mse', but must be one of 'cross_entropy'"):
        ObjectiveConfig(name="mse").validate()
    with pytest.raises(UserError, match=r"config\.objective\.z_loss is -1"):
        ObjectiveConfig(z_loss=-1.0).validate()

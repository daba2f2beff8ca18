"""Training computes what it computed when golden_behaviour.json was made (tests/behaviour.py)."""

from __future__ import annotations

import json
import types
import warnings

import pytest

from tests import behaviour, rounding

GOLDEN = json.loads(behaviour.FIXTURE.read_text(encoding="utf-8"))
EXACT = ("batches", "loss", "grad_norm", "validation", "parameters")


def is_same_kind_of_machine():
    """Whether the last bits must be those of the fixture: the CPU's model is of another year wherever its name is."""
    ours, theirs = (
        {k: v for k, v in one.items() if k != "model name"} for one in (behaviour.machine(), GOLDEN["machine"])
    )
    return ours == theirs


def bound(run, step):
    """What rounding may change in the loss of step `step`, from 1 on, as a share of it: two passes a step, and its own.

    The error of each gradient stays in the parameters of all later steps; they are added up as if none cancelled.
    """
    return rounding.of_decoder(types.SimpleNamespace(**run["model"]), run["length"], passes=2 * (step - 1) + 1)


def differences(run, golden, *, exactly):
    """What differs between a run and the fixture's beginning of as many steps, in words; batches always exactly."""
    steps = len(run["batches"])
    different = [f"batch {k}" for k in range(steps) if run["batches"][k] != golden["batches"][k]]
    if exactly:
        series = [name for name in ("loss", "grad_norm") if run[name] != golden[name][:steps]]
        whole = [
            name for name in ("validation", "parameters") if steps == behaviour.STEPS and run[name] != golden[name]
        ]
        return different + series + whole
    pairs = [(f"loss of step {k + 1}", run["loss"][k], golden["loss"][k], k + 1) for k in range(steps)]
    if steps == behaviour.STEPS:
        pairs += [(k, run["validation"][k], golden["validation"][k], steps + 1) for k in golden["validation"]]
    for name, ours, theirs, step in pairs:
        if abs(float.fromhex(ours) / float.fromhex(theirs) - 1) > bound(run, step):
            different.append(name)
    return different


@pytest.mark.slow
@pytest.mark.parametrize("name", behaviour.RUNS)
def test_training_is_as_it_was(name):
    run, exactly = behaviour.made_by(name), is_same_kind_of_machine()
    if not exactly:
        warnings.warn(f"{name}: batches exactly, losses to a bound; this CPU or JAX is not the fixture's", stacklevel=1)
    print(f"{name}: batches exactly, losses, norms and parameters {'exactly' if exactly else 'to a bound'}")
    assert differences(run, GOLDEN["runs"][name], exactly=exactly) == []
    assert differences(run, GOLDEN["runs"][name], exactly=False) == []  # or the bound would be none on other machines


@pytest.mark.slow
def test_another_seed_or_learning_rate_is_noticed():
    """Also where only the bound can be asked."""
    golden, short = GOLDEN["runs"]["pretraining"], ("--config.train.steps=3", "--config.run.validate_every=0")
    other_seed = behaviour.made_by("pretraining", *short, "--config.seed=1")
    assert differences(other_seed, golden, exactly=False)[:3] == ["batch 0", "batch 1", "batch 2"]
    other_rate = behaviour.made_by("pretraining", *short, "--config.optimizer.learning_rate=3.3e-3")
    assert differences(other_rate, golden, exactly=True) == ["loss", "grad_norm"]
    assert differences(other_rate, golden, exactly=False) == ["loss of step 2", "loss of step 3"]

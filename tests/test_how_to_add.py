"""WORKSPACE.md's "How to add", run as it is written: each block in its file's own namespace, then used by its name."""

from __future__ import annotations
import __future__

import dataclasses
import importlib
import re
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax
import pytest

from pause_jax.config import Config, ModelConfig, OptimizerConfig, PauseConfig, from_config_dict, to_dict
from pause_jax.config.objective import ObjectiveConfig
from pause_jax.interop import configs as hf_configs
from pause_jax.logging import loggers
from pause_jax.logging.writers import LoggedRun
from pause_jax.model import mask
from pause_jax.network import Network
from pause_jax.pauses import insertion, policies
from pause_jax.training import objective, optimizer

PAGE = Path(__file__).parents[1] / "WORKSPACE.md"
AT_MOST = 10  # lines of code, blank ones not counted


def entry(title: str) -> tuple[str, str]:
    """(file, code) of the section "### `title`"."""
    text = PAGE.read_text(encoding="utf-8")
    section = re.search(rf"### {title}\n(.*?)(?=\n### |\n## )", text, re.DOTALL)
    assert section, title
    file = re.search(r"`(pause_jax/[\w/]+\.py)`", section[1])
    code = re.search(r"```python\n(.*?)```", section[1], re.DOTALL)
    assert file and code, title
    assert len([line for line in code[1].splitlines() if line.strip()]) <= AT_MOST
    return file[1], code[1]


@pytest.fixture
def added(monkeypatch):
    """A function that runs an entry's code in its module, and takes everything out again afterwards."""
    touched: list[tuple[dict[str, Any], dict[str, Any]]] = []

    def add(title: str) -> None:
        file, code = entry(title)
        module = importlib.import_module(file.removesuffix(".py").replace("/", "."))
        names = vars(module)
        tables = [value for value in names.values() if type(value) is dict and value is not names["__builtins__"]]
        touched.extend((table, dict(table)) for table in [names, *tables])
        exec(compile(code, file, "exec", flags=__future__.annotations.compiler_flag), names)

    yield add
    for table, before in reversed(touched):
        table.clear()
        table.update(before)


def parsed(section: str, **fields: Any) -> Config:
    """The default config with these fields of a section, as a user's flags would make it."""
    values = to_dict(Config())
    values[section] |= fields
    return from_config_dict(values)


def test_an_optimizer(added):
    added("An optimizer")
    config = parsed("optimizer", name="sgd", weight_decay=0.0, clip_norm=0.0).optimizer
    made = optimizer.make_optimizer(config)
    params = {"layers": {"kernel": np.ones((2, 2), np.float32)}}
    state = made.init(params)
    for step, wanted in enumerate((0.9, 0.71)):  # momentum 0.9: gradients 1, then 1.9, times 0.1
        updates, state = made.update(jax.tree.map(np.ones_like, params), state, params, step=step, learning_rate=0.1)
        params = optax.apply_updates(params, updates)
        np.testing.assert_allclose(params["layers"]["kernel"], wanted, rtol=1e-6)
    assert isinstance(config, OptimizerConfig)


def test_a_mask(added):
    added("A mask")
    assert parsed("model", mask="window").model.mask == "window"
    ones = np.ones((1, 100), np.int32)
    seen = np.asarray(mask.Mask(ones, ones, rule="window").may_attend_BxTxS())[0]
    assert seen[99].sum() == 64 and seen[10].sum() == 11
    assert mask.keys_seen_by(99, 100, rule="window") == 100


def test_a_loss_term(added):
    added("A loss term")
    with_margin = dataclasses.make_dataclass(
        "ObjectiveConfig", [("margin", float, 0.0)], bases=(ObjectiveConfig,), frozen=True
    )
    assert with_margin(margin=0.5).coefficients == (("margin", 0.5),)
    model = ModelConfig(vocab_size=3, num_layers=1, d_model=4, num_heads=1, d_ff=4, max_positions=2)
    network = Network(model)
    ones = np.ones((1, 2), np.int32)
    batch = {"inputs": ones, "targets": ones, "positions": ones - 1, "segment_ids": ones}
    batch["loss_weights"] = np.ones((1, 2), np.float32)
    params = jax.tree.map(np.zeros_like, network.init(0))  # all logits 0: p = 1/3 at each of two positions
    plain, _ = objective.CrossEntropy(network.bind).loss_sum(params, batch, 0)
    loss, metrics = objective.CrossEntropy(network.bind, terms=(("margin", 0.5),)).loss_sum(params, batch, 0)
    np.testing.assert_allclose(plain, 2 * np.log(3), rtol=1e-6)
    np.testing.assert_allclose(metrics["margin"], np.log(3) - np.log(2), rtol=1e-6)  # 2 positions, times 0.5
    np.testing.assert_allclose(loss, plain + metrics["margin"], rtol=1e-6)


def test_a_logger(added, tmp_path):
    added("A logger")
    assert parsed("run", loggers=("jsonl", "csv")).run.loggers == ("jsonl", "csv")
    _, at_flush = loggers.open_loggers(("jsonl", "csv"), LoggedRun(tmp_path, "run", 0, {}))
    at_flush.write(7, {"loss": 1.5})
    at_flush.close()
    assert (tmp_path / "losses.csv").read_text(encoding="utf-8") == "7,1.5\n"


def test_a_pause_policy(added):
    added("A pause policy")
    assert parsed("pauses", policy="early").pauses.label == "early_trim"
    slots = insertion.draw_slots(insertion.Blocks([0], [3]), seed=0, num_slots=8, num_pauses=3, policy="early")
    assert slots.tolist() == [[True] * 3 + [False] * 5]
    assert isinstance(PauseConfig(policy="early"), PauseConfig) and "early" in policies.POLICIES


def test_a_model_family(added):
    fields = {
        "vocab_size": 100,
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "max_position_embeddings": 64,
        "hidden_act": "silu",
    }
    multipliers = dict.fromkeys(
        ("embedding_multiplier", "attention_multiplier", "residual_multiplier", "logits_scaling"), 1.0
    )
    llama = hf_configs.model_config({"model_type": "llama", **fields})
    granite = {"model_type": "granite", **fields, **multipliers}
    with pytest.raises(ValueError, match="granite"):
        hf_configs.model_config(granite)
    added("A model family")
    assert hf_configs.model_config(granite) == llama and isinstance(llama, ModelConfig)
    with pytest.raises(ValueError, match=r"logits_scaling"):
        hf_configs.model_config({**granite, "logits_scaling": 8.0})


def test_tables_are_as_they_were():
    assert "early" not in policies.POLICIES and "window" not in mask.MASKS and "granite" not in hf_configs.FAMILIES

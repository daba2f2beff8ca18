"""WORKSPACE.md's "How to add", run as it is written: each block in its file's own namespace, then used by its name."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax
import pytest

from pause_jax.config import Config, ModelConfig, OptimizerConfig, PauseConfig, from_config_dict, to_dict
from pause_jax.interop import configs as hf_configs
from pause_jax.model import mask
from pause_jax.pauses import insertion, policies
from pause_jax.training import optimizer

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
        exec(compile(code, file, "exec"), names)

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

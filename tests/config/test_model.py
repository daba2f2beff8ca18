"""What a model's config fills in for itself, and what the defaults leave open."""

from __future__ import annotations

import dataclasses

import pytest

from pause_jax import config as configs
from pause_jax.config import ModelConfig, from_config_dict
from pause_jax.errors import UserError


def test_sizes_that_follow_from_others():
    config = ModelConfig(d_model=48, num_heads=6)
    assert (config.head_dim, config.num_kv_heads) == (8, 6)
    config = ModelConfig(d_model=48, num_heads=6, num_kv_heads=2, head_dim=10)
    assert (config.head_dim, config.num_kv_heads) == (10, 2)
    open_again = dataclasses.replace(config, num_heads=3, head_dim=0, num_kv_heads=0)
    assert (open_again.head_dim, open_again.num_kv_heads) == (16, 3)


def test_the_defaults_leave_them_open():
    """Or a config that changes num_heads would keep the default's head_dim."""
    assert configs.default_values()["model"]["head_dim"] == configs.default_values()["model"]["num_kv_heads"] == 0
    values = configs.default_config()
    assert values.model.head_dim == 0
    values.model.num_heads = 8
    model = from_config_dict(values).model
    assert (model.head_dim, model.num_kv_heads) == (16, 8)
    recorded = {"model": {"num_heads": 2}}  # of a code that had neither field
    model = configs.from_recorded(recorded).model
    assert (model.head_dim, model.num_kv_heads) == (64, 2)


def test_sizes_that_do_not_go_together_are_left_to_be_told():
    config = ModelConfig(d_model=50, num_heads=4)
    assert config.head_dim == 0
    with pytest.raises(UserError, match=r"d_model = 50 is not divisible by config\.model\.num_heads = 4"):
        config.validate()
    with pytest.raises(UserError, match=r"num_pause_tokens is -1, but must not be negative"):
        ModelConfig(num_pause_tokens=-1).validate()

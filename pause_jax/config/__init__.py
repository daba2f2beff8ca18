"""Configs: the schema of a run as dataclasses, made from and into ml_collections ConfigDicts.

The dataclasses are the only place where a field, its type, its default and its meaning are written, a file a section.
`experiments/*.py` start from `default_config()` and change fields; flags change them further
(`--config.train.steps=100`); `from_config_dict` turns the result into a validated `Config`.
Nothing here imports ml_collections until a ConfigDict is asked for.
"""

from pause_jax.config.convert import (
    checked,
    default_config,
    default_values,
    differences,
    flatten,
    from_config_dict,
    from_recorded,
    identity,
    to_dict,
)
from pause_jax.config.data import DataConfig
from pause_jax.config.finetune import FinetuneConfig
from pause_jax.config.model import Execution, ModelConfig
from pause_jax.config.objective import ObjectiveConfig
from pause_jax.config.optimizer import OptimizerConfig
from pause_jax.config.pauses import PauseConfig
from pause_jax.config.run import MeshConfig, RunConfig
from pause_jax.config.schema import Config
from pause_jax.config.train import TrainConfig

__all__ = [
    "Config",
    "DataConfig",
    "Execution",
    "FinetuneConfig",
    "MeshConfig",
    "ModelConfig",
    "ObjectiveConfig",
    "OptimizerConfig",
    "PauseConfig",
    "RunConfig",
    "TrainConfig",
    "checked",
    "default_config",
    "default_values",
    "differences",
    "flatten",
    "from_config_dict",
    "from_recorded",
    "identity",
    "to_dict",
]

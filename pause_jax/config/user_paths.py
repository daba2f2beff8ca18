"""Home directories (~) in the paths of a config."""

from __future__ import annotations

import dataclasses
from typing import Any

from pause_jax.config.schema import Config
from pause_jax.system import paths


def expand(config: Config) -> Config:
    """`config` with ~ replaced in its paths; `data.files` stays as it is, and is expanded where it is matched.

    Raises:
      UserError: there is no such home.
    """
    data: dict[str, Any] = {
        name: paths.expand(path, f"config.data.{name}")
        for name in ("data_dir", "vocabulary")
        if (path := getattr(config.data, name))
    }
    folders = [paths.expand(part, "config.data.prepared") for part in config.data.prepared.split(",")]
    return dataclasses.replace(
        config,
        init_from=paths.expand(config.init_from, "config.init_from"),
        data=dataclasses.replace(config.data, **data, prepared=",".join(folders)),
    )

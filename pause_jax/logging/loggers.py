"""The loggers that `config.run.loggers` may name, and how a run opens them."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence

from pause_jax.checkpointing.run_folder import RunFolder
from pause_jax.errors import UserError
from pause_jax.logging.hosted import TrackioWriter, WandbWriter
from pause_jax.logging.writers import JsonLinesWriter, LoggedRun, MetricWriter, TensorBoardWriter, Writers


def _jsonl(run: LoggedRun) -> MetricWriter:
    return JsonLinesWriter(RunFolder(run.folder).metrics, run.resume_step)


def _tensorboard(run: LoggedRun) -> MetricWriter:
    return TensorBoardWriter(RunFolder(run.folder).tensorboard, run.resume_step, run.settings)


# Name → function or class that opens it. A class with a `package` needs that package installed.
LOGGERS: dict[str, Callable[[LoggedRun], MetricWriter]] = {
    "jsonl": _jsonl,
    "tensorboard": _tensorboard,
    "wandb": WandbWriter,
    "trackio": TrackioWriter,
}


def check_installed(names: Sequence[str]) -> None:
    """Raises UserError where a logger needs a package that is not installed. To be called before any work is done."""
    for name in names:
        package = getattr(LOGGERS[name], "package", None)
        if package and importlib.util.find_spec(package) is None:
            raise UserError(
                f"config.run.loggers names {name!r}, whose package is not installed: pip install {package}, or leave "
                "it out"
            )


def open_loggers(names: Sequence[str], run: LoggedRun) -> tuple[MetricWriter, MetricWriter]:
    """(writer for every step, writer for the steps at which the progress line moves).

    JSON lines are for every step, and written whether named or not: reports are made from them, and a run that goes
    on continues them. The others get the steps at which metrics are shown.
    """
    others = [LOGGERS[name](run) for name in dict.fromkeys(names) if name != "jsonl"]
    return LOGGERS["jsonl"](run), Writers(others)

"""WORKDIR/jobs/NAME.json: one job of a sweep, for processes that are started elsewhere."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

from pause_jax import config as configs
from pause_jax.errors import UserError
from pause_jax.evaluation.spec import EvaluationSpec
from pause_jax.sweeps.graph import Job
from pause_jax.system.files import write_atomically


def write_job(job: Job, workdir: Path) -> Path:
    """Write the job's file in `workdir`, and return its path."""
    file = workdir / "jobs" / f"{job.name}.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    fields: dict[str, Any] = {field.name: getattr(job, field.name) for field in dataclasses.fields(Job)}
    fields["config"] = configs.to_dict(job.config)
    fields["evaluation"] = job.evaluation and dataclasses.asdict(job.evaluation)
    write_atomically(file, json.dumps(fields, indent=1))
    return file


def read_job(file: Path) -> Job:
    """The job that `write_job` wrote. Raises UserError where the file is something else."""
    try:
        fields = json.loads(file.read_text(encoding="utf-8"))
        if "needs" in fields:  # written by older versions
            fields["depends_on"] = fields.pop("needs")
        asked = fields["evaluation"]
        if asked is not None:
            values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in asked.items()}
            asked = EvaluationSpec(**values)
        return Job(**fields | {"config": configs.from_recorded(fields["config"]), "evaluation": asked})
    except OSError as error:
        raise UserError(f"--job={file} cannot be read ({error.strerror}): launch.sweep writes such files") from None
    except (ValueError, KeyError, TypeError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"--job={file} is no job of a sweep ({error}): launch.sweep writes such files") from None

"""Whether a sweep has enough seeds or pretraining runs for each arm for its report to give a verdict."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from pause_jax import config as configs
from pause_jax.config import Config
from pause_jax.report.statistics import NEEDED
from pause_jax.sweeps.graph import Job


def sentence(jobs: Sequence[Job]) -> str:
    """A sentence on how many runs a verdict takes and how many there are; "" where there are no arms to compare."""
    by_name = {job.name: job for job in jobs}
    before = {job.depends_on for job in jobs if job.evaluation is None}
    last = [job for job in jobs if job.evaluation is None and job.name not in before]
    arms: dict[tuple[str, ...], list[tuple[Job, ...]]] = {}
    for job in last:
        lineage = _lineage(job, by_name)
        arms.setdefault(tuple(_without_seed(run.config) for run in lineage), []).append(lineage)
    if len(arms) < 2:
        return ""
    is_nested = len({arm[:-1] for arm in arms}) > len({lineage[-1].size for runs in arms.values() for lineage in runs})
    if not is_nested:
        there = min(len(runs) for runs in arms.values())
        starts = {lineage[:-1] for runs in arms.values() for lineage in runs if lineage[:-1]}
        of_one = (
            ", all of one pretraining run of each size, which it is then a verdict of"
            if 0 < len(starts) == len({lineage[-1].size for lineage in starts})
            else ""
        )
        return f"a verdict takes {NEEDED} seeds an arm: there are {there}{of_one}"
    there = min(len({lineage[-2].name for lineage in runs if lineage[:-1]} or {""}) for runs in arms.values())
    return (
        f"arms differ in pretraining: a verdict takes {NEEDED} pretraining runs an arm, however often each is "
        f"finetuned; there {'is' if there == 1 else 'are'} {there}"
    )


def _lineage(job: Job, by_name: dict[str, Job]) -> tuple[Job, ...]:
    """The training jobs from the first stage to this one."""
    return (*(_lineage(by_name[job.depends_on], by_name) if job.depends_on else ()), job)


def _without_seed(config: Config) -> str:
    """A text that is the same for runs that differ in their seed alone: those of one arm."""
    values: dict[str, Any] = configs.to_dict(config) | {"run": None, "init_from": "", "seed": 0}
    return json.dumps(values, sort_keys=True)

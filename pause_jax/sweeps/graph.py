"""From a sweep's config to the graph of its jobs. Nothing is run or written here.

A sweep's config has up to four stages:

    pretrain   config: a training config; axes                      one run a point; left out: no pretraining
    uptrain    config; axes; keep_pretrained                        each pretraining run goes on, one run a point
    finetune   config; axes                                         one run a point for each run of the stages before
    evaluate   tasks, m_inf, splits, limit, batch_size              of each run of the last stage that trains

and besides `sizes`, which names shapes of the model, and how it is executed (pause_jax/sweeps/execution.py). A stage
that trains may leave points out by `only` and `skip`; pause_jax/sweeps/points.py says what axes and filters are. A run
has the model, the size, the seed and the vocabulary of the run it starts from. Finetuning starts from the runs that
were uptrained, and from those that were not, unless uptrain.keep_pretrained is False.
"""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

from pause_jax import config as configs
from pause_jax.config import Config
from pause_jax.errors import UserError
from pause_jax.sweeps import budget
from pause_jax.sweeps import points as pts
from pause_jax.sweeps.points import Point

Training = Literal["pretrain", "uptrain", "finetune"]
TRAINING: tuple[Training, ...] = ("pretrain", "uptrain", "finetune")
STAGES = (*TRAINING, "evaluate")
EXECUTION = ("executor", "slurm", "gke", "resources")


@dataclasses.dataclass(frozen=True)
class Stage:
    """One that trains."""

    config: Mapping[str, Any]
    points: list[Point]
    only: list[pts.Filter]
    skip: list[pts.Filter]
    keep_pretrained: bool = True  # of uptrain


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """What each trained run is asked."""

    tasks: tuple[str, ...] = ()  # empty: the run's own
    m_inf: tuple[int, ...] = (0,)
    splits: tuple[str, ...] = ("test",)
    limit: int = 0  # examples of each task; 0: all
    batch_size: int = 256


@dataclasses.dataclass(frozen=True)
class Job:
    """A run to train, or an evaluation of one."""

    name: str  # of its folder or file: what it varies, and its identity
    kind: Literal["pretrain", "uptrain", "finetune", "evaluate"]
    needs: str  # the job before it; "" for none
    config: Config  # of the run that is trained or evaluated, resolved
    evaluation: Evaluation | None = None  # of kind evaluate
    size: str = ""  # of the model, where the sweep names sizes
    point: Point = ()  # of a run: what it varies, the runs before it included


@dataclasses.dataclass(frozen=True)
class Sweep:
    """What a config says."""

    stages: Mapping[Training, Stage]  # those that are not left out
    evaluate: Evaluation | None
    sizes: pts.Sizes
    execution: Mapping[str, Any]  # how it is run: no part of what it is

    def base(self) -> dict[str, Any]:
        """What makes it this sweep: the stages' configs, but not the points, of which there may be more later."""
        return {name: stage.config for name, stage in self.stages.items()}


def parse(values: Mapping[str, Any]) -> Sweep:
    """A sweep from its config as nested dicts.

    Raises:
      UserError: an unknown stage or setting, an axis that names no config field, a filter of what no axis has, a stage
        without its config.
    """
    if unknown := sorted(set(values) - {*STAGES, *EXECUTION, "sizes"}):
        raise UserError(f"config.{unknown[0]} is no stage of a sweep: there are {', '.join(STAGES)}")
    sizes = pts.check_sizes(values.get("sizes") or {})
    stages: dict[Training, Stage] = {}
    before: list[Point] = []
    for name in TRAINING:
        if values.get(name):
            stages[name] = _stage(values[name], f"config.{name}", sizes, before)
            before += stages[name].points
    if not stages:
        raise UserError("the sweep trains nothing: give config.pretrain or config.finetune")
    if "uptrain" in stages and "pretrain" not in stages:
        raise UserError("config.uptrain continues the runs of config.pretrain, and there is none: give it")
    execution = {name: values[name] for name in EXECUTION if name in values}
    return Sweep(stages, _evaluation(values.get("evaluate")), sizes, execution)


def make_jobs(sweep: Sweep, runs: Path, resolve: Callable[[Config], Config]) -> list[Job]:
    """All jobs, each after the one that it needs; equal ones are one.

    Args:
      runs: the folder of the runs' folders.
      resolve: fills in what a config leaves to the tokenizer.

    Raises:
      UserError: a point whose config cannot be, or filters that leave none.
    """
    jobs: list[Job] = []
    last: list[Job] = []  # those that the next stage starts from, and at the end those that are evaluated
    for kind, stage in sweep.stages.items():
        made = []
        for before in last or [None]:
            for point in stage.points:
                if pts.is_kept(point, before.point if before else (), stage.only, stage.skip):
                    made.append(_training(kind, before, stage, point, sweep.sizes, runs, resolve))
        if not made:
            raise UserError(f"config.{kind}: its filters (only, skip) leave no point")
        jobs += made
        last = [*(last if kind == "uptrain" and stage.keep_pretrained else []), *made]
    if sweep.evaluate is not None:
        jobs += [_evaluating(job, sweep.evaluate) for job in last]
    return list({job.name: job for job in jobs}.values())


def flops(job: Job) -> float:
    """Model FLOPs of a job: of training, or of answering (up to) so many examples of the longest kind."""
    from pause_jax.model import counts

    config = job.config
    if job.evaluation is None:
        row = counts.train_flops(config.model, config.length, config.length - config.first_loss)
        return config.train.steps * config.train.batch_size * row
    asked = job.evaluation
    length = config.finetune.prefix_length + config.finetune.target_length
    examples = (asked.limit or 8192) * max(1, len(asked.tasks))
    return sum(examples * counts.forward_flops(config.model, length + m) for m in asked.m_inf)


def _stage(values: Mapping[str, Any], where: str, sizes: pts.Sizes, before: list[Point]) -> Stage:
    settings = ["config", "axes", "only", "skip", *(["keep_pretrained"] if where.endswith(".uptrain") else [])]
    if unknown := sorted(set(values) - set(settings)):
        raise UserError(f"{where}.{unknown[0]} is no setting of a stage: it has {', '.join(settings)}")
    if "config" not in values:
        raise UserError(f"{where}.config is missing: give the training config of the stage")
    axes = pts.parse_axes(values.get("axes", ()), sizes, f"{where}.axes")
    single = list(itertools.chain(*axes))
    only, skip = (
        pts.parse_filters(values.get(name, ()), single, before, f"{where}.{name}") for name in ("only", "skip")
    )
    keep = values.get("keep_pretrained", True)
    if not isinstance(keep, bool):
        raise UserError(f"{where}.keep_pretrained is {keep!r}, but must be True or False")
    return Stage(values["config"], pts.combined(axes), only, skip, keep)


def _evaluation(values: Mapping[str, Any] | None) -> Evaluation | None:
    if not values:
        return None
    known = {field.name: field for field in dataclasses.fields(Evaluation)}
    if unknown := sorted(set(values) - set(known)):
        raise UserError(f"config.evaluate.{unknown[0]} is no setting: it has {', '.join(known)}")
    settings: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
    made = Evaluation(**settings)
    if not isinstance(made.splits, tuple) or not made.splits or not all(isinstance(s, str) for s in made.splits):
        raise UserError(f"config.evaluate.splits is {made.splits!r}, but must be names such as ('validation', 'test')")
    if not isinstance(made.m_inf, tuple) or not all(type(m) is int and m >= 0 for m in made.m_inf) or not made.m_inf:
        raise UserError(f"config.evaluate.m_inf is {made.m_inf!r}, but must be numbers of pauses such as (0, 10)")
    return made


def _training(
    kind: Training,
    before: Job | None,
    stage: Stage,
    point: Point,
    sizes: pts.Sizes,
    runs: Path,
    resolve: Callable[[Config], Config],
) -> Job:
    values = _with(stage.config, [])
    if before is not None:
        before_values = configs.to_dict(before.config)
        values = {**values, "model": before_values["model"], "seed": before_values["seed"]}
        values["data"] = {**values["data"], "vocabulary": before_values["data"]["vocabulary"]}
        values["init_from"] = str((runs / before.name).absolute())
    values = _with(values, pts.fields_of(point, sizes))
    try:
        config = resolve(configs.from_config_dict(values))
        if allowed := dict(point).get("budget"):
            steps = budget.steps_of(allowed, config, before.config.train.steps if before else None)
            config = resolve(configs.from_config_dict(_with(values, [("train.steps", steps)])))
    except UserError as error:
        raise UserError(f"config.{kind}, point {pts.label(point) or 'without axes'}: {error}") from None
    inherited = before.name if before is not None else ""
    content = configs.to_dict(config) | {"run": None, "init_from": inherited or config.init_from}
    whole = (*(before.point if before else ()), *point)
    name = "-".join(filter(None, [kind, _label_of(before) if before else "", pts.label(point), _fingerprint(content)]))
    size = dict(point).get("size", before.size if before else "")
    return Job(name, kind, inherited, config, size=size, point=whole)


def _evaluating(job: Job, evaluation: Evaluation) -> Job:
    tasks = evaluation.tasks or (job.config.finetune.task,)
    has_pauses = job.config.pauses.n_pauses or job.config.finetune.placement == "filler"
    asked = dataclasses.replace(evaluation, tasks=tasks, m_inf=evaluation.m_inf if has_pauses else (0,))
    if not all(tasks):
        raise UserError("config.evaluate.tasks is empty, and the sweep finetunes on none: name the tasks")
    content = {"run": job.name, **dataclasses.asdict(asked), "batch_size": 0}
    return Job(f"evaluate-{job.name}-{_fingerprint(content)}", "evaluate", job.name, job.config, asked, job.size)


def _with(values: Mapping[str, Any], point: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """A deep copy of nested dicts with some dotted fields changed."""
    copy = {key: _with(value, []) if isinstance(value, Mapping) else value for key, value in values.items()}
    for field, value in point:
        section, *rest = field.split(".", 1)
        copy[section] = _with(copy[section], [(rest[0], value)]) if rest else value
    return copy


def _label_of(job: Job) -> str:
    """The label within a job's name: without its kind and identity."""
    return job.name.removeprefix(f"{job.kind}-").rpartition("-")[0]


def _fingerprint(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:8]

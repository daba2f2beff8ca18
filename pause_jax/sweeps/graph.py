"""From a sweep's config to the graph of its jobs. Nothing is run or written here.

A sweep's config has up to three stages:

    pretrain   config: a training config; axes                      one run a point; left out: no pretraining
    finetune   config: a training config; axes                      one run a point for each pretraining run
    evaluate   tasks, m_inf, split, limit, batch_size               of each run of the last stage that trains

`axes` is a tuple of (field, values); the points are all combinations. A field is a config field such as
"pauses.rate"; a tuple of fields with tuples of values moves several together. A finetuning run has the model, the seed
and the vocabulary of the pretraining run it starts from.
"""

from __future__ import annotations

import dataclasses
import difflib
import hashlib
import itertools
import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

from pause_jax import config as configs
from pause_jax.config import Config
from pause_jax.errors import UserError

Point = tuple[tuple[str, Any], ...]  # (field, value), one a field
STAGES = ("pretrain", "finetune", "evaluate")
EXECUTION = ("executor", "slurm", "gke", "resources")  # where jobs run, which is no part of what they are


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """What each trained run is asked."""

    tasks: tuple[str, ...] = ()  # empty: the run's own
    m_inf: tuple[int, ...] = (0,)
    split: str = "test"
    limit: int = 0  # examples of each task; 0: all
    batch_size: int = 256


@dataclasses.dataclass(frozen=True)
class Job:
    """A run to train, or an evaluation of one."""

    name: str  # of its folder or file: what it varies, and its identity
    kind: Literal["pretrain", "finetune", "evaluate"]
    needs: str  # the job before it; "" for none
    config: Config  # of the run that is trained or evaluated, resolved
    evaluation: Evaluation | None = None  # of kind evaluate
    size: str = ""  # the name of the model's size; "" where the sweep has no sizes


@dataclasses.dataclass(frozen=True)
class Sweep:
    """Stages that are left out are None."""

    pretrain: tuple[Mapping[str, Any], list[Point]] | None
    finetune: tuple[Mapping[str, Any], list[Point]] | None
    evaluate: Evaluation | None
    sizes: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    execution: Mapping[str, Any] = dataclasses.field(default_factory=dict)  # of `EXECUTION`, as it was given

    def base(self) -> dict[str, Any]:
        """What makes it this sweep: the stages' configs, but not the points, of which there may be more later."""
        stages = {name: getattr(self, name) for name in ("pretrain", "finetune")}
        return {name: stage[0] for name, stage in stages.items() if stage is not None}


def parse(values: Mapping[str, Any]) -> Sweep:
    """A sweep from its config as nested dicts.

    Raises:
      UserError: an unknown stage or setting, an axis that names no config field, a stage without its config.
    """
    if unknown := sorted(set(values) - {*STAGES, *EXECUTION}):
        raise UserError(f"config.{unknown[0]} is no stage of a sweep: there are {', '.join(STAGES)}")
    execution = {name: values[name] for name in EXECUTION if name in values}
    sweep = Sweep(
        _stage(values, "pretrain"), _stage(values, "finetune"), _evaluation(values.get("evaluate")),
        execution=execution,
    )  # fmt: skip
    if sweep.pretrain is None and sweep.finetune is None:
        raise UserError("the sweep trains nothing: give config.pretrain or config.finetune")
    return sweep


def make_jobs(sweep: Sweep, runs: Path, resolve: Callable[[Config], Config]) -> list[Job]:
    """All jobs, each after the one that it needs; equal ones are one.

    Args:
      runs: the folder of the runs' folders.
      resolve: fills in what a config leaves to the tokenizer.

    Raises:
      UserError: a point whose config cannot be.
    """
    jobs: dict[str, Job] = {}
    pretrained: list[Job | None] = [None]
    if sweep.pretrain is not None:
        base, points = sweep.pretrain
        pretrained = [_training("pretrain", None, base, point, runs, resolve) for point in points]
    trained = [job for job in pretrained if job is not None]
    if sweep.finetune is not None:
        base, points = sweep.finetune
        trained = [
            _training("finetune", before, base, point, runs, resolve) for before in pretrained for point in points
        ]
    for job in [*(job for job in pretrained if job is not None), *trained]:
        jobs[job.name] = job
        if sweep.evaluate is not None and job in trained:
            asked = _evaluating(job, sweep.evaluate)
            jobs[asked.name] = asked
    order = {"pretrain": 0, "finetune": 1, "evaluate": 2}
    return sorted(jobs.values(), key=lambda job: order[job.kind])


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


def _stage(values: Mapping[str, Any], name: str) -> tuple[Mapping[str, Any], list[Point]] | None:
    stage = values.get(name)
    if not stage:
        return None
    if unknown := sorted(set(stage) - {"config", "axes"}):
        raise UserError(f"config.{name}.{unknown[0]} is no setting of a stage: it has config and axes")
    if "config" not in stage:
        raise UserError(f"config.{name}.config is missing: give the training config of the stage")
    fields = configs.flatten(configs.to_dict(Config()))
    axes: list[list[Point]] = []
    for number, axis in enumerate(stage.get("axes", ())):
        where = f"config.{name}.axes[{number}]"
        if not isinstance(axis, (list, tuple)) or len(axis) != 2 or not isinstance(axis[1], (list, tuple)):
            raise UserError(f"{where} is {axis!r}, but must be (field, (value, value, …))")
        names = (axis[0],) if isinstance(axis[0], str) else tuple(axis[0])
        rows = [(value,) for value in axis[1]] if isinstance(axis[0], str) else axis[1]
        for field in names:
            if field not in fields:
                close = difflib.get_close_matches(str(field), fields, n=1)
                hint = f": did you mean {close[0]!r}?" if close else ""
                raise UserError(f"{where}: {field!r} is no config field{hint}")
        if not rows or any(not isinstance(row, (list, tuple)) or len(row) != len(names) for row in rows):
            raise UserError(f"{where} must have a point at least, each of {len(names)} value(s): {', '.join(names)}")
        axes.append([tuple(zip(names, row, strict=True)) for row in rows])
    return stage["config"], [tuple(itertools.chain(*point)) for point in itertools.product(*axes)]


def _evaluation(values: Mapping[str, Any] | None) -> Evaluation | None:
    if not values:
        return None
    known = {field.name: field for field in dataclasses.fields(Evaluation)}
    if unknown := sorted(set(values) - set(known)):
        raise UserError(f"config.evaluate.{unknown[0]} is no setting: it has {', '.join(known)}")
    settings: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
    made = Evaluation(**settings)
    if not isinstance(made.m_inf, tuple) or not all(type(m) is int and m >= 0 for m in made.m_inf) or not made.m_inf:
        raise UserError(f"config.evaluate.m_inf is {made.m_inf!r}, but must be numbers of pauses such as (0, 10)")
    return made


def _training(
    kind: Literal["pretrain", "finetune"],
    before: Job | None,
    base: Mapping[str, Any],
    point: Point,
    runs: Path,
    resolve: Callable[[Config], Config],
) -> Job:
    values = _with(base, [])
    if before is not None:
        before_values = configs.to_dict(before.config)
        values = {**values, "model": before_values["model"], "seed": before_values["seed"]}
        values["data"] = {**values["data"], "vocabulary": before_values["data"]["vocabulary"]}
        values["init_from"] = str((runs / before.name).absolute())
    values = _with(values, point)
    try:
        config = resolve(configs.from_config_dict(values))
    except UserError as error:
        raise UserError(f"config.{kind}, point {_label(point) or 'without axes'}: {error}") from None
    inherited = before.name if before is not None else ""
    content = configs.to_dict(config) | {"run": None, "init_from": inherited or config.init_from}
    label = _label(point)
    parts = [kind, *([_label_of(before)] if before is not None else []), label, _fingerprint(content)]
    return Job("-".join(part for part in parts if part), kind, inherited, config)


def _evaluating(job: Job, evaluation: Evaluation) -> Job:
    tasks = evaluation.tasks or (job.config.finetune.task,)
    has_pauses = job.config.pauses.n_pauses or job.config.finetune.placement == "filler"
    asked = dataclasses.replace(evaluation, tasks=tasks, m_inf=evaluation.m_inf if has_pauses else (0,))
    if not all(tasks):
        raise UserError("config.evaluate.tasks is empty, and the sweep finetunes on none: name the tasks")
    content = {"run": job.name, **dataclasses.asdict(asked), "batch_size": 0}
    return Job(f"evaluate-{job.name}-{_fingerprint(content)}", "evaluate", job.name, job.config, asked)


def _with(values: Mapping[str, Any], point: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """A deep copy of nested dicts with some dotted fields changed."""
    copy = {key: _with(value, []) if isinstance(value, Mapping) else value for key, value in values.items()}
    for field, value in point:
        section, *rest = field.split(".", 1)
        copy[section] = _with(copy[section], [(rest[0], value)]) if rest else value
    return copy


def _label(point: Point) -> str:
    """`rate0.1-seed3`: the last names of the fields and their values, as they may stand in a file's name."""

    def text(value: Any) -> str:
        items = value if isinstance(value, (list, tuple)) else [value]
        return "+".join("".join(c if c.isalnum() or c in "._-" else "_" for c in str(item)) for item in items)

    return "-".join(f"{field.split('.')[-1]}{text(value)}" for field, value in point)


def _label_of(job: Job) -> str:
    """The label within a job's name: without its kind and identity."""
    return job.name.removeprefix(f"{job.kind}-").rpartition("-")[0]


def _fingerprint(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:8]

"""From a sweep's config to the graph of its jobs. Nothing is run or written here.

A sweep's config has up to four stages:

    pretrain   config: a training config; axes; filters             one run for each point; left out: no pretraining
    uptrain    the same, and keep_pretrained                        one run for each point and pretraining run
    finetune   config: a training config; axes; filters             one run for each point and run before
    evaluate   tasks, m_inf, splits, limit, batch_size              of each run of the last stage that trains

and beside them `sizes`: names → dicts of fields of config.model. pause_jax/sweeps/grid.py describes axes and filters.

An uptraining or finetuning run has the model, the seed and the vocabulary of the run that it starts from. Uptraining
continues pretraining: its config has its own data, pauses, optimizer and steps. Finetuning starts from the uptrained
runs and, unless `keep_pretrained` is False, from the pretraining runs as well.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

from pause_jax import config as configs
from pause_jax.checkpointing import starting
from pause_jax.config import Config
from pause_jax.errors import UserError
from pause_jax.evaluation.spec import EvaluationSpec
from pause_jax.pauses import downstream
from pause_jax.sweeps import budgets, grid
from pause_jax.sweeps.grid import Point, Points, Sizes

Kind = Literal["pretrain", "uptrain", "finetune", "evaluate"]
TRAINING: tuple[Kind, ...] = ("pretrain", "uptrain", "finetune")
STAGES = (*TRAINING, "evaluate")
EXECUTION = ("executor", "slurm", "gke", "resources")  # where jobs run: no part of a sweep's identity
LONGEST_LABEL = 180  # characters: a file's name may have 255
SETTINGS: dict[str, tuple[str, ...]] = {name: ("config", "axes", "filters") for name in TRAINING}
SETTINGS["uptrain"] += ("keep_pretrained",)


@dataclasses.dataclass(frozen=True)
class Job:
    """A run to train, or an evaluation of one."""

    name: str  # of its folder or file: the values of its point, and a hash
    kind: Kind
    depends_on: str  # the job before it; "" for none
    config: Config  # of the run that is trained or evaluated, resolved
    evaluation: EvaluationSpec | None = None  # of kind evaluate
    size: str = ""  # the name of the model's size; "" where the sweep has no sizes


@dataclasses.dataclass(frozen=True)
class Stage:
    """A stage that trains."""

    config: Mapping[str, Any]
    points: Points


@dataclasses.dataclass(frozen=True)
class Sweep:
    """A sweep's stages, None where left out, and what else its config says."""

    pretrain: Stage | None
    finetune: Stage | None
    evaluate: EvaluationSpec | None
    uptrain: Stage | None = None
    keep_pretrained: bool = True  # finetuning starts from runs that were not uptrained, too
    sizes: Sizes = dataclasses.field(default_factory=dict)
    execution: Mapping[str, Any] = dataclasses.field(default_factory=dict)  # of `EXECUTION`, as it was given

    def identity(self) -> dict[str, Any]:
        """What identifies the sweep: the stages' configs, but not the points, as more may be added later."""
        stages = {name: getattr(self, name) for name in TRAINING}
        return {name: stage.config for name, stage in stages.items() if stage is not None}


def parse(values: Mapping[str, Any]) -> Sweep:
    """A sweep from its config as nested dicts.

    Raises:
      UserError: an unknown stage or setting, a stage without its config, or invalid sizes, axes or filters.
    """
    if unknown := sorted(set(values) - {*STAGES, "sizes", *EXECUTION}):
        raise UserError(f"config.{unknown[0]} is no stage of a sweep: there are {', '.join(STAGES)}")
    sizes = grid.parse_sizes(values.get("sizes") or {})
    stages: dict[str, Stage] = {}
    before: dict[str, list[Any]] = {}
    for name in TRAINING:
        if values.get(name):
            stages[name] = _stage(values[name], name, sizes, before, follows=bool(stages))
            before |= {f"{name}.{field}": them for field, them in stages[name].points.values().items()}
    if "uptrain" in stages and "pretrain" not in stages:
        raise UserError("config.uptrain continues pretraining runs, but there are none: give config.pretrain")
    if not stages:
        raise UserError("the sweep trains nothing: give config.pretrain or config.finetune")
    keep = (values.get("uptrain") or {}).get("keep_pretrained", True)
    if not isinstance(keep, bool):
        raise UserError(f"config.uptrain.keep_pretrained is {keep!r}, but must be True or False")
    return Sweep(
        **{name: stages.get(name) for name in TRAINING},
        evaluate=_evaluation(values.get("evaluate")),
        keep_pretrained=keep,
        sizes=sizes,
        execution={name: values[name] for name in EXECUTION if name in values},
    )


@dataclasses.dataclass(frozen=True)
class _Run:
    """A training run that later ones start from."""

    job: Job | None  # None: no run, later ones start from random parameters
    values: Mapping[str, Any]  # of its points so far: "pretrain.pauses.rate" → 0.1


def make_jobs(sweep: Sweep, runs: Path, resolve: Callable[[Config], Config]) -> list[Job]:
    """All jobs, each after the one that it depends on; equal jobs are one.

    Args:
      runs: the folder of the runs' folders.
      resolve: fills in what a config leaves to the tokenizer.

    Raises:
      UserError: a point whose config is invalid, or filters that leave no point.
    """

    def stage(name: Kind, starts: list[_Run]) -> list[_Run]:
        asked: Stage | None = getattr(sweep, name)
        if asked is None:
            return []
        made = [
            _training(name, before, asked.config, point, sweep.sizes, runs, resolve)
            for before in starts
            for point in asked.points.after(before.values)
        ]
        if not made:
            raise UserError(f"config.{name}.filters leave no point: only and skip exclude each other, or all rows")
        return made

    random = [_Run(None, {})]
    pretrained = stage("pretrain", random)
    uptrained = stage("uptrain", pretrained)
    before = [*(pretrained if sweep.keep_pretrained else []), *uptrained]
    finetuned = stage("finetune", before or random)
    jobs = [run.job for run in [*pretrained, *uptrained, *finetuned] if run.job is not None]
    if sweep.evaluate is not None:
        jobs += [_evaluating(run.job, sweep.evaluate) for run in finetuned or before if run.job is not None]
    return _unique(jobs)


def _unique(jobs: Iterable[Job]) -> list[Job]:
    """Each of several equal jobs once. Raises UserError where two different jobs would have the same folder."""
    by_name: dict[str, Job] = {}
    for job in jobs:
        if by_name.setdefault(job.name, job) != job:
            raise UserError(
                f"two points of config.{job.kind} differ, but both are {job.name}: of fields that move together, put "
                "first the one that tells them apart"
            )
    return list(by_name.values())


def flops(job: Job) -> float:
    """Model FLOPs of a job: of training; or of an evaluation, as if all its examples had the greatest length."""
    from pause_jax.model import counts

    config, asked = job.config, job.evaluation
    if asked is None:
        return config.train.steps * budgets.flops_per_step(config)
    finetune = config.finetune
    length = finetune.max_prompt_length + finetune.target_length
    examples = (asked.limit or 8192) * max(1, len(asked.tasks)) * len(asked.splits)
    prefix_lm_length = {
        m: downstream.prefix_lm_length_of_prompt(finetune.attention, finetune.placement, finetune.max_prompt_length, m)
        if finetune.task
        else 0
        for m in asked.m_inf
    }
    return sum(
        examples * counts.forward_flops(config.model, length + m, prefix_lm_length=prefix_lm_length[m])
        for m in asked.m_inf
    )


def _stage(
    stage: Mapping[str, Any], name: str, sizes: Sizes, before: Mapping[str, list[Any]], *, follows: bool
) -> Stage:
    if not isinstance(stage, Mapping):
        raise UserError(f"config.{name} is {stage!r}, but must have {', '.join(SETTINGS[name])}")
    if unknown := sorted(set(stage) - set(SETTINGS[name])):
        raise UserError(f"config.{name}.{unknown[0]} is no setting of the stage: it has {', '.join(SETTINGS[name])}")
    if "config" not in stage:
        raise UserError(f"config.{name}.config is missing: give the training config of the stage")
    return Stage(stage["config"], grid.parse(stage, f"config.{name}", sizes, before, follows=follows))


def _evaluation(values: Mapping[str, Any] | None) -> EvaluationSpec | None:
    if not values:
        return None
    known = {field.name: field for field in dataclasses.fields(EvaluationSpec)}
    if unknown := sorted(set(values) - set(known)):
        raise UserError(f"config.evaluate.{unknown[0]} is no setting: it has {', '.join(known)}")
    settings: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
    made = EvaluationSpec(**settings)
    for name in ("tasks", "splits"):
        given = getattr(made, name)
        if not isinstance(given, tuple) or not all(isinstance(item, str) and item for item in given):
            raise UserError(f"config.evaluate.{name} is {given!r}, but must be names such as ('test',)")
    if not made.splits:
        raise UserError("config.evaluate.splits is empty: name 'test' or 'validation', or both")
    if not isinstance(made.m_inf, tuple) or not all(type(m) is int and m >= 0 for m in made.m_inf) or not made.m_inf:
        raise UserError(f"config.evaluate.m_inf is {made.m_inf!r}, but must be numbers of pauses such as (0, 10)")
    return made


def _training(
    kind: Kind,
    before: _Run,
    template: Mapping[str, Any],
    point: Point,
    sizes: Sizes,
    runs: Path,
    resolve: Callable[[Config], Config],
) -> _Run:
    values, start = _with(template, []), before.job
    if start is not None:
        before_values = configs.to_dict(start.config)
        # the network is that of the run it starts from, but whether it has pauses is each stage's own
        model = {**before_values["model"], "num_pause_tokens": values["model"]["num_pause_tokens"]}
        values = {**values, "model": model, "seed": before_values["seed"]}
        values["data"] = {**values["data"], "vocabulary": before_values["data"]["vocabulary"]}
        values["init_from"] = str((runs / start.name).absolute())
    elif values.get("init_from"):
        values = dict(starting.from_source(values, [field for axis in point for field, _ in axis])[0])
    own = {field: value for axis in point for field, value in axis if not grid.is_condition(field)}
    size = own.get("size", start.size if start is not None else "")
    values = _with(values, [(f"model.{field}", value) for field, value in sizes[size].items()] if "size" in own else [])
    values = _with(values, [item for item in own.items() if item[0] not in ("size", "budget")])
    label = grid.label(point)
    try:
        config = resolve(configs.from_config_dict(values))
        if "budget" in own:
            values = _with(configs.to_dict(config), [("train.steps", budgets.steps(config, own["budget"]))])
            config = configs.from_config_dict(values)
    except UserError as error:
        raise UserError(f"config.{kind}, point {label or 'without axes'}: {error}") from None
    inherited = start.name if start is not None else ""
    content = configs.to_dict(config) | {"run": None, "init_from": inherited or config.init_from}
    labels = "-".join(part for part in (_label_of(start) if start is not None else "", label) if part)[:LONGEST_LABEL]
    name = "-".join(part for part in (kind, labels, _fingerprint(content)) if part)
    job = Job(name, kind, inherited, config, size=size)
    return _Run(job, {**before.values, **{f"{kind}.{field}": value for field, value in own.items()}})


def _evaluating(job: Job, evaluation: EvaluationSpec) -> Job:
    tasks = evaluation.tasks or (job.config.finetune.task,)
    has_pauses = job.config.model.num_pause_tokens or job.config.finetune.placement == "filler"
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
    """The label within a job's name: without its kind and hash."""
    return job.name.removeprefix(f"{job.kind}-").rpartition("-")[0]


def _fingerprint(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:8]

"""Loss curves of the runs behind a report: the mean over seeds of each arm, with a band from lowest to highest seed.

The runs are those whose checkpoints the results name, and those that they started from. Their folders are looked for
by name, as results may have been made on another machine.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pause_jax.checkpointing.run_folder import RunFolder
from pause_jax.config import Config
from pause_jax.errors import UserError
from pause_jax.logging.writers import read_jsonl
from pause_jax.report import figures
from pause_jax.report.panels import HUGE, Arm, describe, telling_settings
from pause_jax.report.plots import DASHED
from pause_jax.report.results import LOSSES, Result
from pause_jax.report.statistics import Estimate, estimate
from pause_jax.report.tables import Column, Table

TRAINING = "loss"
VALIDATION, AFTER_PAUSE, ELSEWHERE = (LOSSES[name] for name in ("loss", "loss_after_pause", "loss_elsewhere"))
PAUSED = "validation/paused_loss"
NAMES = {
    TRAINING: "training",
    VALIDATION: "validation",
    PAUSED: "validation, pauses inserted",
    AFTER_PAUSE: "of these, after a pause",
    ELSEWHERE: "of these, elsewhere",
}
COSTS = {"step": "steps", "text_tokens": "text tokens", "model_flops": "FLOPs"}  # what losses are drawn against
_BINS = 60  # of steps, over which the losses of training are averaged

Records = list[dict[str, Any]]


@dataclasses.dataclass(frozen=True)
class Curves:
    """Runs of one stage, model and data, by arm."""

    stage: str  # pretraining, uptraining or finetuning
    model: str  # "": of several
    data: str  # the task
    runs: Mapping[str, Sequence[Records]]  # arm in words → records of each seed's run

    @property
    def title(self) -> str:
        return f"Loss of {self.stage} on {self.data}{', model ' * bool(self.model)}{self.model}"

    @property
    def counts(self) -> str:
        """`2 seeds of each arm`."""
        numbers = sorted({len(runs) for runs in self.runs.values()})
        ends = numbers if len(numbers) == 1 else (numbers[0], numbers[-1])
        return f"{' to '.join(map(str, ends))} seed{'s' * (numbers != [1])} of each arm"

    def have(self, metric: str) -> bool:
        return any(series(records, metric)[0].size for runs in self.runs.values() for records in runs)

    def last_losses(self) -> Table:
        """A row for each arm: the last value of each loss, mean and interval over seeds."""
        metrics = [metric for metric in NAMES if self.have(metric)]
        rows = tuple(
            (label, len(runs), *(last(runs, metric) for metric in metrics)) for label, runs in self.runs.items()
        )
        columns = (Column("arm"), Column("seeds"), *(Column(NAMES[metric], ".3f") for metric in metrics))
        note = "Nats per text token; of training the mean over the last steps, of validation the last value."
        return Table("losses", "Last losses", columns, rows, note)


def collect(
    rows: Sequence[Result], folders: Sequence[Path], names: Mapping[str, str] | None = None
) -> tuple[list[Curves], list[str]]:
    """The curves of all runs that are found in the folders, and sentences on those that are not.

    Args:
      rows: each names its run as `NAME/checkpoints/STEP`; FOLDER/NAME is the run.
      names: by the run's name the name of its arm elsewhere in the report, which its curve gets too.
    """
    names = names or {}
    telling = telling_settings(rows)
    arms: dict[tuple[str, str], dict[Arm, None]] = {}  # of each model and task, in order
    for row in rows:
        if row.finetune != "none":
            arms.setdefault((row.model, row.task), {})[Arm.of(row, telling)] = None
    groups: dict[tuple[str, str, str], dict[str, dict[str, Records]]] = {}
    missing: list[str] = []
    unreadable: list[str] = []
    for name, row in {row.checkpoint.partition("/")[0]: row for row in rows}.items():
        try:
            runs = _lineage(name, folders)
            for run in runs:
                arm, others = Arm.of(row, telling), list(arms.get((row.model, row.task), ()))
                key, label = _place(run, runs, row, names.get(name) or describe(arm, others))
                label = names.get(run.path.name, label)
                of_arm = groups.setdefault(key, {}).setdefault(label, {})
                if run.path.name not in of_arm:
                    of_arm[run.path.name] = read_jsonl(run.metrics)
        except FileNotFoundError as error:
            missing.append(str(error))
        except (UserError, OSError) as error:
            unreadable.append(f"{name}: {error}")
    remarks = []
    if missing and folders:
        remarks.append(_not_shown(missing, f"not in {' or '.join(map(str, folders))}"))
    if unreadable:
        remarks.append(_not_shown(unreadable, "not to be read"))
    order = {"pretraining": 0, "uptraining": 1, "finetuning": 2}
    ordered = sorted(groups.items(), key=lambda item: order[item[0][0]])
    curves = [
        Curves(*key, {label: list(by_name.values()) for label, by_name in of_arms.items()}) for key, of_arms in ordered
    ]
    return [curve for curve in curves if curve.have(TRAINING) or curve.have(VALIDATION)], remarks


def name_pretraining(rows: Sequence[Result], folders: Sequence[Path]) -> list[Result]:
    """The rows; those that do not name their pretraining run get it from the runs in the folders."""
    known: dict[str, tuple[str, str]] = {}
    told = []
    for row in rows:
        if row.pretrain_run or "none" in (row.pretrain, row.finetune):
            told.append(row)
            continue
        name = row.checkpoint.partition("/")[0]
        if name not in known:
            try:
                before = _lineage(name, folders)[:-1]
                seed = str(before[-1].config().seed) if before else ""
                known[name] = "|".join(run.path.name for run in before), seed
            except (FileNotFoundError, UserError, OSError):
                known[name] = "", ""
        run, seed = known[name]
        told.append(dataclasses.replace(row, pretrain_run=run, pretrain_seed=seed))
    return told


def plot_losses(
    curves: Curves, labels: Sequence[str], out: Path, x: str = "step", looks: Mapping[str, int] | None = None
) -> None:
    """Plot the validation loss where it was measured, and thin the training loss, against one of `COSTS`.

    Args:
      looks: by label the number of its colour and marker; None: the labels are counted.
    """
    looks = looks or {label: i for i, label in enumerate(labels)}
    figure, axes = figures.new(height=3.4 + 0.2 * len(labels))
    has_validation = curves.have(VALIDATION)
    for label in labels:
        runs, mark = curves.runs[label], figures.mark(looks[label])
        named = {"label": figures.fold(_with_seeds(label, runs))}
        thin = {"color": mark["color"], "linewidth": 0.9, "alpha": 0.6}
        _draw(
            axes,
            runs,
            TRAINING,
            thin if has_validation else mark | {"marker": ""} | named,
            band=not has_validation,
            x=x,
        )
        if has_validation:
            _draw(axes, runs, VALIDATION, mark | {"markersize": 4} | named, x=x)
    _finish(figure, axes, "thick: validation; thin: training" if has_validation else "training", x)
    figures.save(figure, out)


def plot_after_pauses(curves: Curves, labels: Sequence[str], out: Path, looks: Mapping[str, int] | None = None) -> None:
    """Plot the loss on paused validation text: of tokens after a pause (solid) and of all others (dashed).

    Args:
      looks: as of `plot_losses`.
    """
    looks = looks or {label: i for i, label in enumerate(labels)}
    figure, axes = figures.new(height=3.4 + 0.2 * len(labels))
    for label in labels:
        runs, mark = curves.runs[label], figures.mark(looks[label]) | {"markersize": 4}
        _draw(axes, runs, AFTER_PAUSE, mark | {"label": figures.fold(_with_seeds(label, runs))})
        _draw(
            axes,
            runs,
            ELSEWHERE,
            mark | {"linestyle": DASHED, "linewidth": 1.1, "markerfacecolor": "white"},
            band=False,
        )
    _finish(figure, axes, "solid: tokens after a pause; dashed: elsewhere")
    figures.save(figure, out)


def with_pauses(curves: Curves) -> list[str]:
    """The arms whose losses after pauses were measured."""
    return [label for label, runs in curves.runs.items() if any(series(r, AFTER_PAUSE)[0].size for r in runs)]


def _not_shown(runs: Sequence[str], reason: str) -> str:
    runs = list(dict.fromkeys(runs))
    which, are = ("1 run", "it is") if len(runs) == 1 else (f"{len(runs)} runs", "they are")
    more = "" if len(runs) == 1 else f" (and {len(runs) - 1} more)"
    return f"Losses of {which} are not shown, as {are} {reason}: {runs[0]}{more}."


def _lineage(name: str, folders: Sequence[Path]) -> list[RunFolder]:
    """The run and those that it started from, the first one first, as far as they are there.

    Raises:
      FileNotFoundError: the run itself is not there; its name.
      UserError: a record cannot be read.
    """
    found = next((RunFolder(folder / name) for folder in folders if (folder / name / "metrics.jsonl").is_file()), None)
    if found is None:
        raise FileNotFoundError(name)
    begun_from = found.config().init_from
    if not begun_from:
        return [found]
    path = Path(begun_from.partition("/checkpoints")[0])
    try:
        return [*_lineage(path.name, [*folders, path.parent]), found]
    except FileNotFoundError:
        return [found]


def _place(run: RunFolder, lineage: Sequence[RunFolder], row: Result, arm: str) -> tuple[tuple[str, str, str], str]:
    """Stage, model and data of the run, and its arm in words: `arm`, the row's, where the run is the finetuning."""
    config = run.config()
    if config.finetune.task:
        return ("finetuning", row.model, config.finetune.task), arm
    before = lineage[: lineage.index(run)]
    rate = config.pauses.mean_rate
    words = f"{100 * rate:g} % pauses, {config.pauses.label}" if rate else "no pauses"
    words += f", {config.train.steps:,} steps"
    if before:
        earlier = before[-1].config()
        words += f", after {100 * earlier.pauses.mean_rate:g} % pauses, {earlier.train.steps:,} steps"
    return ("uptraining" if before else "pretraining", row.model, data_of(config)), words


def data_of(config: Config) -> str:
    """The data of a run that pretrains, in words."""
    data = config.data
    if data.prepared:
        return " + ".join(Path(folder).name for folder, _ in data.prepared_folders)
    return "/".join(Path(data.files).parts[-2:]) if data.files else data.task  # "*.txt" alone says nothing


def series(records: Records, metric: str) -> tuple[np.ndarray, np.ndarray]:
    """Steps and values of the records that have both as finite numbers."""
    points = [
        (record["step"], record[metric])
        for record in records
        if _is_number(record.get("step")) and _is_number(record.get(metric))
    ]
    steps, values = zip(*points, strict=True) if points else ((), ())
    return np.array(steps, np.float64), np.array(values, np.float64)


def _is_number(value: object) -> bool:
    """Whether it is a finite number, small enough for sums to be finite too."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < HUGE


def binned(records: Records, metric: str, last_step: float) -> tuple[np.ndarray, np.ndarray]:
    """Means of steps and of values in equal bins of steps up to the last; empty bins are left out."""
    steps, values = series(records, metric)
    if len(steps) <= _BINS:
        return steps, values
    bins = np.minimum((_BINS * steps / last_step).astype(int), _BINS - 1)
    counts = np.bincount(bins, minlength=_BINS)
    kept = counts > 0
    sums = [np.bincount(bins, weights=x, minlength=_BINS)[kept] for x in (steps, values)]
    return sums[0] / counts[kept], sums[1] / counts[kept]


def _draw(
    axes: Any, runs: Sequence[Records], metric: str, style: Mapping[str, Any], *, band: bool = True, x: str = "step"
) -> None:
    """The mean over the runs at the steps that all of them have, and a band from the lowest to the highest."""
    last_step = max((series(records, metric)[0].max(initial=1.0) for records in runs), default=1.0)
    lines = [dict(zip(*binned(records, metric, last_step), strict=True)) for records in runs]
    lines = [line for line in lines if line]
    steps = sorted(set.intersection(*map(set, lines))) if lines else []
    values_RxS = np.array([[line[step] for step in steps] for line in lines]).reshape(len(lines), len(steps))
    if not steps:
        return
    costs = [np.interp(steps, *series(records, x)) for records in runs if series(records, x)[0].size]
    if not costs:
        return
    xs = np.mean(costs, axis=0)  # runs differ by a few text tokens at each step
    axes.plot(xs, values_RxS.mean(axis=0), **style)
    if band and len(lines) > 1:
        axes.fill_between(
            xs, values_RxS.min(axis=0), values_RxS.max(axis=0), color=style["color"], alpha=0.13, linewidth=0
        )


def last(runs: Sequence[Records], metric: str) -> Estimate | None:
    """The last value of a loss over the runs that have it; of training the mean over the last steps."""
    tails = [series(records, metric)[1] for records in runs]
    count = 1 if metric != TRAINING else max(1, max(map(len, tails), default=0) // _BINS)
    last = [float(tail[-count:].mean()) for tail in tails if tail.size]
    return estimate(last) if last else None


def _with_seeds(label: str, runs: Sequence[Records]) -> str:
    return f"{label} ({len(runs)} seed{'s' * (len(runs) > 1)})"


def _finish(figure: Any, axes: Any, title: str, x: str = "step") -> None:
    """Add labels, and cut off the first steps' losses, which would flatten all that follows."""
    lines = [np.asarray(line.get_ydata()) for line in axes.get_lines() if len(line.get_ydata())]
    if lines:
        low = float(axes.dataLim.y0)
        high = max(line[len(line) // 20 :].max() for line in lines)
        if high > low:
            axes.set_ylim(low - 0.05 * (high - low), high + 0.05 * (high - low))
    axes.set_xlim(left=0)
    axes.set_xlabel(COSTS[x])
    axes.set_ylabel("loss (nats per text token)")
    figures.legend(figure, title=title)

"""Compares training runs, of a sweep or not: their losses at equal steps, text tokens and FLOPs."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pause_jax import config as configs
from pause_jax.checkpointing.run_folder import RunFolder
from pause_jax.config import Config
from pause_jax.errors import UserError
from pause_jax.logging.writers import read_jsonl
from pause_jax.report import run_curves
from pause_jax.report.run_curves import TRAINING, VALIDATION, Curves, Records, series
from pause_jax.report.statistics import NEEDED, estimate
from pause_jax.report.tables import Column, Table, Value, human_count


@dataclasses.dataclass(frozen=True)
class Compared:
    """Runs of one stage on the same data."""

    curves: Curves
    configs: Mapping[str, Config]  # of each arm, its first run's

    @property
    def metric(self) -> str:
        """The loss that is compared: of held-out text where all measured it."""
        runs = [records for of_arm in self.curves.runs.values() for records in of_arm]
        return VALIDATION if all(series(records, VALIDATION)[0].size for records in runs) else TRAINING

    def sentences(self) -> list[str]:
        """Sentences that a reader needs besides the figures."""
        sentences = ["Lines are means over seeds, bands reach from the lowest seed to the highest."]
        if begun := [label for label, config in self.configs.items() if config.init_from]:
            sentences.append(
                f"Steps, tokens and FLOPs are those of these runs alone: {', '.join(begun)} began elsewhere."
            )
        if min(map(len, self.curves.runs.values())) < NEEDED:
            sentences.append(
                f"Whether a difference is beyond the chance of seeds is not said: it takes {NEEDED} seeds of each arm "
                "(runs that differ in nothing but config.seed are one)."
            )
        return sentences

    def at_equal_costs(self) -> Table:
        """A row for each arm: how far it was trained, and by each cost its loss where the shortest run ends."""
        metric, arms = self.metric, self.curves.runs
        ends = {x: [_end(records, x) for of_arm in arms.values() for records in of_arm] for x in run_curves.COSTS}
        ends = {x: lasts for x, lasts in ends.items() if min(lasts) > 0}
        rows: list[tuple[Value, ...]] = []
        for label, of_arm in arms.items():
            row: list[Value] = [label, len(of_arm), *(human_count(max(_end(r, x) for r in of_arm)) for x in ends)]
            row.append(estimate([_at(records, metric, "step", _end(records, "step")) for records in of_arm]))
            row += [estimate([_at(records, metric, x, min(lasts)) for records in of_arm]) for x, lasts in ends.items()]
            rows.append(tuple(row))
        columns = [Column("run"), Column("seeds"), *(Column(run_curves.COSTS[x]) for x in ends)]
        columns.append(Column(f"{run_curves.NAMES[metric]} loss at the end", ".3f"))
        columns += [Column(f"at {human_count(min(lasts))} {run_curves.COSTS[x]}", ".3f") for x, lasts in ends.items()]
        note = "Nats per text token; between two records the loss is read off the line that joins them."
        return Table("equal_costs", "Losses at equal steps, text tokens and FLOPs", tuple(columns), tuple(rows), note)

    def settings(self) -> Table | None:
        """A row for each config field in which the runs differ; None where they differ in their seeds alone."""
        flat = {label: configs.flatten(_compared(config)) for label, config in self.configs.items()}
        fields = dict.fromkeys(field for fields in flat.values() for field in fields)
        rows = [
            (field, *(str(values.get(field, "")) for values in flat.values()))
            for field in fields
            if len({repr(values.get(field)) for values in flat.values()}) > 1
        ]
        return (
            Table("settings", "What they differ in", tuple(map(Column, ("field", *flat))), tuple(rows))
            if rows
            else None
        )


def collect(paths: Sequence[Path]) -> list[Compared]:
    """The runs by stage and data, in the order given; those that differ in nothing but their seed are one arm.

    Raises:
      UserError: there is no run, or no loss in its records.
    """
    paths = list(dict.fromkeys(Path(str(path).partition("/checkpoints")[0]) for path in paths))
    names = [path.resolve().name for path in paths]
    seeds: list[tuple[str, int]] = []
    groups: dict[tuple[str, str], dict[str, tuple[str, Config, list[Records]]]] = {}
    for path, name in zip(paths, names, strict=True):
        config, records = RunFolder(path).config(), read_jsonl(RunFolder(path).metrics)
        if not series(records, TRAINING)[0].size:
            raise UserError(f"--runs: {path} has no losses in its metrics.jsonl: leave it out, or train it first")
        stage = "finetuning" if config.finetune.task else "uptraining" if config.init_from else "pretraining"
        arms = groups.setdefault((stage, config.finetune.task or run_curves.data_of(config)), {})
        label = name if names.count(name) == 1 else str(path)
        key = json.dumps(_compared(config), sort_keys=True)
        again = sum(seen == (key, config.seed) for seen in seeds)  # the same run twice: each is an arm
        seeds.append((key, config.seed))
        arms.setdefault(f"{key} {again}", (label, config, []))[2].append(records)
    return [
        Compared(
            Curves(stage, "", data, {label: runs for label, _, runs in arms.values()}),
            {label: config for label, config, _ in arms.values()},
        )
        for (stage, data), arms in groups.items()
    ]


def _compared(config: Config) -> dict[str, Any]:
    """The fields that distinguish arms."""
    return {name: value for name, value in configs.to_dict(config).items() if name not in ("run", "seed")}


def _end(records: Records, x: str) -> float:
    """The last value of a cost; 0 where none was recorded."""
    return float(series(records, x)[1].max(initial=0.0))


def _at(records: Records, metric: str, x: str, value: float) -> float:
    """The loss at this value of a cost; the training loss is a mean over nearby steps."""
    steps, losses = run_curves.binned(records, metric, _end(records, "step"))
    known, costs = series(records, x)
    return float(np.interp(value, np.interp(steps, known, costs), losses))

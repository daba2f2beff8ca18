"""Pairs results of two cells by what is independent: seeds, or pretraining runs that several finetunings share.

unit    the independent draw of an experiment, about others of which a claim is made: a seed, where arms start from the
        same runs or from none; a pretraining run (with all finetunings of it), where arms were pretrained differently

Finetunings of one pretraining run share its luck, so many of them are one unit: their differences are averaged first.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from pause_jax.report.results import Result

SEED, PRETRAINING = "seed", "pretraining run"


class Seed(NamedTuple):
    """The key by which a run is paired with runs of other arms."""

    own: int
    pretraining: str = ""  # seed of the run that it started from, where it is needed to tell runs of one seed apart

    def __str__(self) -> str:
        return f"{self.own} of pretraining seed {self.pretraining}" if self.pretraining else str(self.own)


@dataclasses.dataclass(frozen=True)
class Paired:
    """Differences of two cells, one mean for each unit, in order of the seeds."""

    values: tuple[float, ...]
    unit: str = SEED
    is_known: bool = True  # False: the rows do not tell their pretraining runs, and are taken to be of one
    shared_runs: int = 0  # from which both cells started, where they are fewer than the units


def pretraining_of(row: Result) -> tuple[str, ...] | None:
    """Names of the pretraining runs behind a row, the first first; None where they are not known."""
    before = tuple(row.pretrain_run.split("|")) if row.pretrain_run else ()
    if row.finetune == "none":  # it is a pretraining run itself
        return (*before, row.checkpoint.partition("/")[0])
    return before if before or row.pretrain == "none" else None


def is_pretrained_alike(rows: Iterable[Result]) -> bool:
    """Whether all rows were pretrained in the same way, so that rows of one seed start from the same run."""
    return len({(r.pretrain, r.pretrain_rate, r.policy, r.pretrain_steps) for r in rows}) <= 1


def pair(cell: Mapping[Seed, Result], baseline: Mapping[Seed, Result]) -> Paired:
    """Cell minus baseline for each seed that both have, averaged within each unit; empty where they share no seed."""
    rows = [(seed, row, baseline[seed]) for seed, row in cell.items() if seed in baseline]
    differences = [row.value - other.value for _, row, other in rows]
    runs = [(pretraining_of(row), pretraining_of(other)) for _, row, other in rows]
    if any(mine is None or theirs is None for mine, theirs in runs):
        if is_pretrained_alike(row for _, *both in rows for row in both):
            return Paired(tuple(differences))
        return Paired((float(np.mean(differences)),), PRETRAINING, is_known=False)
    if not rows:
        return Paired(())
    sets = [(frozenset(mine or ()), frozenset(theirs or ())) for mine, theirs in runs]
    apart: list[frozenset[Hashable]] = [mine ^ theirs for mine, theirs in sets]
    units = averages([of_row or frozenset([seed]) for of_row, (seed, *_) in zip(apart, rows, strict=True)], differences)
    shared = {mine & theirs for mine, theirs in sets} - {frozenset()}
    return Paired(
        tuple(units),
        SEED if len(units) == len(rows) else PRETRAINING,
        shared_runs=len(shared) if len(shared) < len(units) else 0,
    )


def averages(names: Sequence[frozenset[Hashable]], values: Sequence[float]) -> list[float]:
    """The mean of each group of values; values that share a name are one group. In order of the groups' first values.

    >>> averages([frozenset("ab"), frozenset("c"), frozenset("b")], [1.0, 7.0, 3.0])
    [2.0, 7.0]
    """
    groups: list[tuple[frozenset[Hashable], list[int]]] = []
    for i, mine in enumerate(names):
        touched = [group for group in groups if group[0] & mine]
        whole = mine.union(*(group[0] for group in touched))
        members = [member for group in touched for member in group[1]] + [i]
        groups = [group for group in groups if group not in touched] + [(whole, sorted(members))]
    return [float(np.mean([values[i] for i in members])) for _, members in sorted(groups, key=lambda group: group[1])]

"""Sweeps: what is varied, and what each stage is.

Most have two editions of one shape: the paper's, which nobody would run on less than a cluster, and with the argument
`laptop` one of byte-level models and synthetic tasks, for two cores. What an edition has is here.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ml_collections

from experiments import finetune, paper, quickstart
from experiments.finetune import Recipe, Training
from pause_jax.errors import UserError


@dataclasses.dataclass(frozen=True)
class Edition:
    """What a sweep is made of, by size and task."""

    sizes: dict[str, dict[str, Any]]  # config.model's
    learning_rates: dict[str, float]  # of pretraining, by size
    steps: int  # of pretraining
    tasks: dict[str, Recipe]
    some_tasks: tuple[str, ...]  # those of the sweeps that do not have all
    m_ft: tuple[int, ...]  # numbers of pauses where two are enough
    many_m: tuple[int, ...]  # and where they are what is varied
    seeds: int  # of pretraining, and of all that starts from it
    limit: int  # examples an evaluation; 0: all
    is_paper: bool

    def pretraining_config(self) -> Any:
        """With pauses; the axes change the size and the rate."""
        config = paper.get_config("130m") if self.is_paper else quickstart.get_config("pause")
        config.train.steps = self.steps
        return config

    def pretraining(self, sizes: Sequence[str] = ()) -> dict[str, Any]:
        """The stage: `sizes`, or all, without pauses and with; so many seeds, as these arms differ in pretraining.

        At rate 0 the model has its pause from the start, untrained.
        """
        axes = (self._sized(sizes), ("pauses.rate", (0.0, 0.1)), self.seed_axis())
        return {"config": self.pretraining_config(), "axes": axes}

    def pretraining_once(self) -> dict[str, Any]:
        """The stage: all sizes with pauses, one run each."""
        return {"config": self.pretraining_config(), "axes": (self._sized(), ("pauses.rate", (0.1,)))}

    def _sized(self, sizes: Sequence[str] = ()) -> Any:
        rows = tuple((size, self.learning_rates[size]) for size in sizes or self.sizes)
        return ("size", "optimizer.learning_rate"), rows

    def finetuning_config(self) -> Any:
        """Without a task: `recipe` has it, and all that goes with it."""
        return finetune.config_of("gsm8k", "130m" if self.is_paper else "toy")

    def recipe(self, task: str, size: str) -> dict[str, Any]:
        """Config field → value of finetuning on a task; the name of the task comes first."""
        recipe, at = self.tasks[task], self.tasks[task].at[size]
        return {
            "finetune.task": task,
            "finetune.max_prompt_length": recipe.max_prompt_length,
            "finetune.target_length": recipe.target_length,
            "optimizer.learning_rate": at.learning_rate,
            "optimizer.warmup_steps": at.warmup_steps,
            "train.batch_size": at.batch_size,
            "train.steps": at.steps,
        }

    def finetuning(self, tasks: Sequence[str], *axes: Any, sizes: Sequence[str] = ()) -> dict[str, Any]:
        """The stage: `tasks` with the hyperparameters of each size, and more axes."""
        recipes = [(size, self.recipe(task, size)) for size in sizes or self.sizes for task in tasks]
        fields = ("pretrain.size", *recipes[0][1])
        rows = tuple((size, *recipe.values()) for size, recipe in recipes)
        return {"config": self.finetuning_config(), "axes": ((fields, rows), *axes)}

    def seed_axis(self) -> Any:
        return "seed", tuple(range(self.seeds))

    def evaluation(self, m_inf: Sequence[int]) -> dict[str, Any]:
        """The stage: validation, by which the best M is chosen, and test."""
        return {"m_inf": tuple(m_inf), "splits": ("validation", "test"), "limit": self.limit}


_TOY = {size: Training(1e-3, 50, 300, 32) for size in ("small", "medium")}
PAPER = Edition(
    sizes=paper.SIZES,
    learning_rates=paper.LEARNING_RATES,
    steps=190_735,
    tasks=finetune.TASKS,
    some_tasks=("gsm8k", "squad_v1", "commonsenseqa"),
    m_ft=(10, 50),
    many_m=(2, 5, 10, 25, 50),
    seeds=5,
    limit=0,
    is_paper=True,
)
LAPTOP = Edition(
    sizes={
        "small": {"num_layers": 2, "d_model": 64, "num_heads": 2, "d_ff": 256},
        "medium": {"num_layers": 4, "d_model": 128, "num_heads": 4, "d_ff": 512},
    },
    learning_rates={"small": 3e-3, "medium": 3e-3},
    steps=500,
    tasks={"recall_8": Recipe(20, 2, _TOY), "count_parity_12": Recipe(14, 2, _TOY), "addition_2": Recipe(7, 4, _TOY)},
    some_tasks=("recall_8",),
    m_ft=(5, 10),
    many_m=(2, 5, 10, 20),
    seeds=3,
    limit=512,
    is_paper=False,
)


def new_sweep() -> Any:
    """A sweep without stages, run on this machine; `--config.executor=slurm` changes that (launch/slurm/README.md)."""
    sweep = ml_collections.ConfigDict()
    sweep.executor = "local"
    return sweep


def edition_of(file: str, arg: str) -> Edition:
    """The edition that `arg`, the argument of a config file, names: `laptop` or nothing; `laptop,10`: of ten seeds.

    Raises:
      UserError: there is none of this name.
    """
    name, _, seeds = arg.rpartition(",") if arg[-1:].isdecimal() else (arg, "", "")
    if name not in ("", "laptop") or seeds == "0":
        raise UserError(
            f"experiments/sweeps/{Path(file).name}:{arg} does not exist: give :laptop, or nothing for the paper's, and "
            "behind it a number of seeds if it is to be another: :laptop,10"
        )
    edition = LAPTOP if name else PAPER
    return dataclasses.replace(edition, seeds=int(seeds)) if seeds else edition

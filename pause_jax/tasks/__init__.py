"""Downstream tasks: a prompt, a target, a metric. One file a task or family; each is a SeqIO task.

A task has the splits "train", "validation" and "test"; "validation" is a part of the training data, for all selection
(of checkpoints, M_inf, hyperparameters). Its examples have the texts `inputs` and `targets`, and what its metric needs.
To add one: a file here that calls `official.register`, and its name in `_MODULES` (WORKSPACE.md has the steps).
"""

from __future__ import annotations

import importlib

import seqio

from pause_jax.data import included
from pause_jax.errors import UserError
from pause_jax.tasks import official, synthetic

SPLITS = ("train", "validation", "test")
_MODULES = (
    "gsm8k",
    "squad_v1",
    "coqa",
    "webquestions",
    "nq_open",
    "commonsenseqa",
    "lambada",
    "piqa",
    "hellaswag",
)
for _module in _MODULES:  # each registers its tasks
    importlib.import_module(f"{__name__}.{_module}")


def get(name: str, vocabulary: seqio.Vocabulary, data_dir: str = "") -> seqio.Task:
    """The task called `name`, its texts tokenized by `vocabulary`, its official files, if it reads any, in `data_dir`.

    Raises:
      UserError: no such task; the known ones are named.
    """
    included.load()
    synthetic.register_if_named(name)
    if name not in seqio.TaskRegistry.names() or "inputs" not in seqio.TaskRegistry.get(name).output_features:
        raise UserError(
            f"there is no task {name!r}; known are {', '.join(known())}, and what a file given as --include=FILE.py "
            "registers"
        )
    task = official.bound(name, data_dir) if name in official.known() else seqio.TaskRegistry.get(name)
    wanted = features(vocabulary)
    if "hints" in task.output_features:
        wanted["hints"] = seqio.Feature(vocabulary, add_eos=False)
    return task.replace(output_features=wanted)


def known() -> list[str]:
    """Names of all tasks; N stands for a number of the user's choice."""
    included.load()
    return [*official.known(), *(f"{name}_N ({family.number})" for name, family in synthetic.FAMILIES.items())]


def features(vocabulary: seqio.Vocabulary) -> dict[str, seqio.Feature]:
    """The output features of a downstream task: the target ends in an EOS, the prompt does not."""
    return {
        "inputs": seqio.Feature(vocabulary, add_eos=False),
        "targets": seqio.Feature(vocabulary, add_eos=True),
    }

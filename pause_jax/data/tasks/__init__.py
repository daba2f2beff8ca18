"""Downstream tasks: a prompt, a target, a metric. One file a task or family; each is a SeqIO task.

A task has the splits "train", "validation" and "test", where "validation" is a part of the training data, on which
whatever is chosen is chosen. Its examples have `inputs` and `targets`, texts, and whatever its metric wants beside.
To add one: a file here that calls `register`, imported below.
"""

from __future__ import annotations

import seqio

from pause_jax.data.tasks import synthetic
from pause_jax.errors import UserError

SPLITS = ("train", "validation", "test")


def get(name: str, vocabulary: seqio.Vocabulary) -> seqio.Task:
    """The task called `name`, its texts tokenized by `vocabulary`, whichever it was registered with.

    Raises:
      UserError: no such task; the known ones are named.
    """
    synthetic.register_if_named(name)
    if name not in seqio.TaskRegistry.names() or "inputs" not in seqio.TaskRegistry.get(name).output_features:
        raise UserError(f"there is no task {name!r}; known are {', '.join(known())}")
    return seqio.TaskRegistry.get(name).replace(output_features=features(vocabulary))


def known() -> list[str]:
    """Names of all tasks; N stands for a number of the user's choice."""
    return [f"{family}_N ({what})" for family, (_, what) in synthetic.FAMILIES.items()]


def features(vocabulary: seqio.Vocabulary) -> dict[str, seqio.Feature]:
    """The output features of a downstream task: the target ends in an EOS, the prompt does not."""
    return {
        "inputs": seqio.Feature(vocabulary, add_eos=False),
        "targets": seqio.Feature(vocabulary, add_eos=True),
    }

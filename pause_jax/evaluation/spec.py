"""What a trained run is evaluated on: the tasks, the numbers of pauses, and the examples."""

from __future__ import annotations

import dataclasses

from pause_jax.errors import UserError


@dataclasses.dataclass(frozen=True)
class EvaluationSpec:
    """What each trained run is evaluated on. A sweep's jobs are named by a hash of these fields."""

    tasks: tuple[str, ...] = ()  # names; ("all",): the official ones whose files are there; empty: a sweep's own task
    m_inf: tuple[int, ...] = (0,)  # pauses after the prompt; all of them are evaluated from one checkpoint
    splits: tuple[str, ...] = ("test",)
    limit: int = 0  # examples of each task and split; 0: all
    batch_size: int = 256  # examples at a time; the numbers do not depend on it, but for rounding


def parse_m_inf(text: str) -> tuple[int, ...]:
    """`0,2,5` as numbers, each once. Raises UserError for anything else."""
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() for part in parts):
        raise UserError(
            f"--m_inf={text} is no list of whole numbers, 0 or more: give numbers of pauses such as 0,2,5,10"
        )
    return tuple(dict.fromkeys(map(int, parts)))

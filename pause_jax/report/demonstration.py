"""One JSON file of a demonstration: a task with pauses, without, and without at the same training FLOPs.

{"task": …, "unit": "% accuracy", "seeds": […], "steps": …, "pauses": M, "pause": [accuracy of each seed],
 "no_pause": […], "no_pause_flop_matched": […], "wall_seconds": …, "command": …}
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pause_jax.errors import UserError
from pause_jax.report.results import Result
from pause_jax.system.files import write_atomically


def write(file: Path, rows: Sequence[Result], *, wall_seconds: float, command: str) -> None:
    """Write the file. Raises UserError as `summarise`."""
    file.parent.mkdir(parents=True, exist_ok=True)
    content = {**summarise(rows), "wall_seconds": round(wall_seconds), "command": command}
    write_atomically(file, json.dumps(content, indent=1) + "\n")


def summarise(rows: Sequence[Result]) -> dict[str, Any]:
    """The file's content but time and command: of causal attention, M_inf = M_ft and the test split.

    Raises:
      UserError: several tasks or numbers of pauses, or an arm that lacks seeds which another has.
    """
    asked = [
        row
        for row in rows
        if (row.metric, row.split, row.attention) == ("accuracy", "test", "causal") and row.m_ft == str(row.m_inf)
    ]
    paused = [row for row in asked if row.m_inf]
    told = {(row.task, row.m_inf, row.steps) for row in paused}
    if len(told) != 1 or len({row.task for row in asked}) != 1:
        raise UserError(f"a demonstration is of one task, number of pauses and of steps, but there are {sorted(told)}")
    ((task, pauses, steps),) = told
    without = [row for row in asked if not row.m_inf]
    arms = {
        "pause": paused,
        "no_pause": [row for row in without if row.steps == steps],
        "no_pause_flop_matched": [row for row in without if row.steps > steps],
    }
    values = {name: {row.seed: round(row.value, 2) for row in arm} for name, arm in arms.items()}
    seeds = sorted(values["pause"])
    for name, of_seed in values.items():
        if sorted(of_seed) != seeds or len(arms[name]) != len(seeds):
            raise UserError(f"the demonstration's arm {name} has the seeds {sorted(of_seed)}, but pause has {seeds}")
    lists = {name: [of_seed[seed] for seed in seeds] for name, of_seed in values.items()}
    return {"task": task, "unit": "% accuracy", "seeds": seeds, "steps": steps, "pauses": pauses, **lists}

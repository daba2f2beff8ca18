"""The cores of this machine that this process may use."""

from __future__ import annotations

import os


def available_cores() -> list[int]:
    """Numbers of the cores, ascending; fewer than the machine has where a scheduler or `taskset` limits them."""
    if hasattr(os, "sched_getaffinity"):  # not on a Mac
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))

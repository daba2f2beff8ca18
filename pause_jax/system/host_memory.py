"""How much memory this process can still get from its machine."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path


def available(root: Path = Path("/")) -> tuple[float, str]:
    """(bytes, what memory that is): the least that the machine and each control group of this process have left.

    The limit of a container or a SLURM job is that of a control group (version 1 or 2); file pages that the kernel can
    drop do not count as used. Without /proc (on a Mac) it is all of the machine's memory.
    """
    found = [(_machine(root), "free of this machine's memory")]
    found += [
        (left, f"left of this machine's control group's limit of {limit / 1e9:.3g} GB")
        for limit, left in _control_groups(root)
    ]
    return min(found)


def _machine(root: Path) -> float:
    with contextlib.suppress(OSError, ValueError):
        for line in (root / "proc/meminfo").read_text(encoding="utf-8").splitlines():
            name, _, value = line.partition(":")
            if name == "MemAvailable":
                return int(value.split()[0]) * 1024.0  # kB
    return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))


def _control_groups(root: Path) -> Iterator[tuple[float, float]]:
    """(limit, what is left of it) of the control groups that have a limit."""
    try:
        lines = (root / "proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if not controllers:
            top, names = root / "sys/fs/cgroup", ("memory.max", "memory.current", "inactive_file")
        elif "memory" in controllers.split(","):
            top, names = (
                root / "sys/fs/cgroup/memory",
                ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
            )
        else:
            continue
        group = top / path.lstrip("/")  # in a container it may not be there, and its own group is `top`
        for folder in (group, *group.parents):
            if folder == top.parent:
                break
            with contextlib.suppress(OSError, ValueError, KeyError):  # no limit: "max", or no such file
                yield _limit_and_left(folder, *names)


def _limit_and_left(folder: Path, limit: str, used: str, droppable: str) -> tuple[float, float]:
    most = int((folder / limit).read_text(encoding="utf-8"))
    fields = dict(line.split() for line in (folder / "memory.stat").read_text(encoding="utf-8").splitlines())
    in_use = int((folder / used).read_text(encoding="utf-8")) - int(fields[droppable])
    return float(most), float(most - in_use)

"""What a process can still get, of faked /proc and /sys/fs/cgroup trees."""

from __future__ import annotations

import pytest

from pause_jax.system import host_memory

MEMINFO = "MemTotal:       24000000 kB\nMemFree:  1000000 kB\nMemAvailable:   20000000 kB\n"
UNLIMITED_V1 = 9223372036854771712
V1 = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
V2 = ("memory.max", "memory.current", "inactive_file")


def machine(root, cgroup, groups):
    """Files below `root`: what /proc/self/cgroup says, and {folder: (names, limit, used, droppable)}."""
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/meminfo").write_text(MEMINFO)
    (root / "proc/self/cgroup").write_text(cgroup)
    for folder, ((limit_name, used_name, droppable_name), limit, used, droppable) in groups.items():
        path = root / "sys/fs/cgroup" / folder
        path.mkdir(parents=True, exist_ok=True)
        (path / limit_name).write_text(f"{limit}\n")
        (path / used_name).write_text(f"{used}\n")
        (path / "memory.stat").write_text(f"anon 5\n{droppable_name} {droppable}\n")
    return root


GROUPS = {
    "version 2": ("0::/job/step\n", {"job": (V2, 8_000, 3_000, 500), "job/step": (V2, "max", 3_000, 500)}),
    "version 2, seen from within its container": ("0::/\n", {"": (V2, 8_000, 3_000, 500)}),
    "version 1": ("3:cpu:/\n4:memory:/job\n0::/\n", {"memory/job": (V1, 8_000, 3_000, 500)}),
    "version 1, whose folder the container does not see": ("4:memory:/docker/x\n", {"memory": (V1, 8_000, 3_000, 500)}),
    "the tightest of several": (
        "4:memory:/a/b\n",
        {"memory/a": (V1, 8_000, 3_000, 500), "memory/a/b": (V1, 99_000, 3_000, 0)},
    ),
}


@pytest.mark.parametrize("kind", GROUPS)
def test_a_control_groups_limit_counts_without_what_can_be_dropped(tmp_path, kind):
    left, whose = host_memory.available(machine(tmp_path, *GROUPS[kind]))
    assert left == 8_000 - (3_000 - 500) and "control group" in whose


@pytest.mark.parametrize(
    ("cgroup", "groups"),
    [
        ("0::/\n", {}),
        ("0::/user\n", {"user": (V2, "max", 3_000, 0)}),
        ("4:memory:/user\n", {"memory/user": (V1, UNLIMITED_V1, 3_000, 0)}),
    ],
)
def test_without_a_limit_it_is_what_the_machine_has_free(tmp_path, cgroup, groups):
    assert host_memory.available(machine(tmp_path, cgroup, groups)) == (
        20_000_000 * 1024,
        "free of this machine's memory",
    )


def test_without_proc_it_is_all_of_the_machine(tmp_path):
    assert host_memory.available(tmp_path)[0] > 1e8

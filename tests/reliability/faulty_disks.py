"""Disks that fail or are slow for one process, without the right to mount any (faulty_disk.c)."""

from __future__ import annotations

import errno
import shutil
import subprocess
from pathlib import Path

import pytest

SOURCE = Path(__file__).with_name("faulty_disk.c")


class FaultyDisk:
    """What is wrong with a process's disk; nothing, until a test says so."""

    def __init__(self, folder: Path):
        """`folder` takes the compiled library and the file by which it is told; skips the test without a compiler."""
        compiler = shutil.which("cc")
        if compiler is None:
            pytest.skip("needs a C compiler, cc")
        library = folder / "faulty_disk.so"
        subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", library, SOURCE, "-ldl"], check=True)
        self._said = folder / "fault"
        self.environment = {"LD_PRELOAD": str(library), "FAULTY_DISK": str(self._said)}

    def is_read_only(self, below: Path) -> None:
        """Nothing below can be written any more, to open files neither: as where a kernel finds the disk damaged."""
        self._is(f"write {errno.EROFS} {below}")

    def is_full(self, below: Path) -> None:
        self._is(f"write {errno.ENOSPC} {below}")

    def is_unreadable(self, below: Path) -> None:
        self._is(f"read {errno.EIO} {below}")

    def is_slow(self, below: Path, milliseconds: int) -> None:
        """Each call that changes something takes so much longer."""
        self._is(f"delay {milliseconds} {below}")

    def is_well(self) -> None:
        self._said.unlink()

    def _is(self, fault: str) -> None:
        partial = self._said.with_suffix(".partial")
        partial.write_text(fault)
        partial.replace(self._said)

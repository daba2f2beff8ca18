"""Tunes glibc's malloc, so that a step gets back the memory that the step before it has freed."""

from __future__ import annotations

import ctypes
import glob
import os
import platform

# glibc's <malloc.h>
_M_TRIM_THRESHOLD, _M_MMAP_MAX, _M_ARENA_MAX = -1, -4, -8
_ACCELERATORS = "/dev/nvidia[0-9]*", "/dev/accel*", "/dev/vfio/[0-9]*", "/dev/kfd"


def tune_malloc() -> None:
    """Make this process keep memory that it frees, on Linux machines without an accelerator.

    On CPUs XLA allocates all memory of a step in one piece and frees it afterwards. By default glibc hands it back to
    the kernel, and the next step waits until every page of 4 KiB is filled with zeros again. Call it before JAX is
    imported, as a thread stays with its first arena. Where glibc's own variables (MALLOC_...) are set, it does nothing.
    """
    if platform.libc_ver()[0] != "glibc" or any(name.startswith("MALLOC_") for name in os.environ):
        return
    if any(glob.glob(pattern) for pattern in _ACCELERATORS):
        return  # steps are not computed here, and many cores read data at once
    libc = ctypes.CDLL(None)
    for option, value in ((_M_ARENA_MAX, 1), (_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, -1)):
        libc.mallopt(option, value)

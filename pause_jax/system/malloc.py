"""Memory of C++ code: what a step frees, the next one gets back."""

from __future__ import annotations

import ctypes
import glob
import os
import platform

# glibc's <malloc.h>
_M_TRIM_THRESHOLD, _M_MMAP_MAX, _M_ARENA_MAX = -1, -4, -8
_ACCELERATORS = "/dev/nvidia[0-9]*", "/dev/accel*", "/dev/vfio/[0-9]*", "/dev/kfd"


def tune_malloc() -> None:
    """From now on this process keeps memory that it frees, on Linux machines without an accelerator.

    XLA gives a step on a CPU all its memory in one piece and frees it after, which glibc hands back to the kernel: the
    next step waits for every page of it, 4 KiB at a time, to be filled with zeros. Call it before JAX is imported: each
    thread's memory is where it first was. Whoever sets glibc's own variables (MALLOC_...) decides instead.
    """
    if platform.libc_ver()[0] != "glibc" or any(name.startswith("MALLOC_") for name in os.environ):
        return
    if any(glob.glob(pattern) for pattern in _ACCELERATORS):
        return  # steps are not computed here, and many cores read data at once
    libc = ctypes.CDLL(None)
    for option, value in ((_M_ARENA_MAX, 1), (_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, -1)):
        libc.mallopt(option, value)

"""What a process frees and takes again: new pages, or those that it had."""

import os
import platform
import subprocess
import sys

import pytest

PROGRAM = """
import resource, threading
from pause_jax.system import malloc
malloc.tune_malloc()
import numpy as np

def use():
    np.ones(64 * 1024**2, np.uint8)  # 16,384 pages of 4 KiB

def in_a_thread():
    thread = threading.Thread(target=use)
    thread.start()
    thread.join()

use(), in_a_thread()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
use(), in_a_thread()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="it is glibc's memory that is kept")
@pytest.mark.parametrize("variables, kept", [({}, True), ({"MALLOC_ARENA_MAX": "2"}, False)], ids=["default", "told"])
def test_freed_memory_is_kept_unless_glibc_is_told_otherwise(variables, kept):
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    environment |= variables | {"NUMPY_MADVISE_HUGEPAGE": "0"}  # pages of 2 MiB would be too few to tell
    run = subprocess.run([sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True)
    assert not run.stderr
    faults = int(run.stdout)
    assert faults < 2000 if kept else faults > 10_000

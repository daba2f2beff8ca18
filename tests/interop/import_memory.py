"""How much memory placing a Hugging Face folder takes beside the parameters: python import_memory.py FOLDER

Prints MB: the parameters, and the most that was held while they were placed.
"""

import sys
import threading
import time
from pathlib import Path

import jax

from pause_jax.interop.importing import place
from pause_jax.interop.weights import Folder, Reader
from tests.interop.memory_model import MODEL
from tests.interop.runs import one_device


def held() -> float:
    """Anonymous memory of this process; the mapped files are not."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1e3 for line in lines if line.startswith("RssAnon"))


mesh = one_device()
jax.block_until_ready(jax.numpy.ones(3) + 1)
reader = Reader(Folder(Path(sys.argv[1])), MODEL)
before, most, done = held(), 0.0, threading.Event()


def watch() -> None:
    global most
    while not done.is_set():
        most = max(most, held())
        time.sleep(0.002)


watcher = threading.Thread(target=watch)
watcher.start()
params = jax.block_until_ready(place(reader, MODEL, mesh))
done.set()
watcher.join()
print(sum(leaf.nbytes for leaf in jax.tree.leaves(params)) / 1e6, most - before)

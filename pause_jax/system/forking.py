"""Worker processes, forked from one that has imported what they need: TensorFlow takes seconds, but only once."""

from __future__ import annotations

import contextlib
import importlib
import multiprocessing as mp
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from multiprocessing import forkserver
from multiprocessing.context import ForkServerContext

from pause_jax.system import malloc, skip_keras
from pause_jax.system.native_stderr import suppress_native_stderr

_PRELOAD = "PAUSE_JAX_PRELOAD"  # tells the fork server what to import


def context(preload: Sequence[str], environment: Mapping[str, str] | None = None) -> ForkServerContext:
    """A context whose processes have imported the modules `preload`, except those that cannot be imported.

    The first call in this process decides for all later ones.

    Args:
      environment: environment variables during these imports.
    """
    made = mp.get_context("forkserver")
    made.set_forkserver_preload(["pause_jax.system.forkserver_main"])
    with _variables({**(environment or {}), _PRELOAD: ",".join(preload)}):
        forkserver.ensure_running()
    return made


def die_with_parent() -> None:
    """End this process when its parent has been killed.

    A parent that is started anew must be alone in its folders.
    """
    parent = mp.parent_process()
    assert parent is not None, "only for processes of `context`"

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


@contextlib.contextmanager
def _variables(environment: Mapping[str, str]) -> Iterator[None]:
    """Set these environment variables within the context."""
    before = {name: os.environ.get(name) for name in environment}
    os.environ.update(environment)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def preload_modules() -> None:
    """In the fork server, import what `context` was asked for; do nothing in any other process."""
    asked = os.environ.pop(_PRELOAD, "")
    if not asked:
        return
    malloc.tune_malloc()
    skip_keras.install()
    with suppress_native_stderr():
        for module in asked.split(","):
            with contextlib.suppress(Exception):  # the worker that needs it will raise
                importlib.import_module(module)

"""Settings that every program makes for its own process; importing the library never makes them."""

from __future__ import annotations

import io
import os
import sys
import tempfile

from pause_jax.system import malloc, paths, skip_keras


def prepare_process() -> None:
    """Set output encoding errors, environment variables, malloc and imports; call it before TensorFlow or JAX."""
    for stream in (sys.stdout, sys.stderr):  # a character that the locale lacks is shown by its number
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if cache := paths.cache_folder():
        os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(cache / "xla"))
    if os.path.expanduser("~") == "~":  # TensorFlow would make a folder of this name here
        os.environ.setdefault("KERAS_HOME", os.path.join(tempfile.gettempdir(), f"keras-{os.getuid()}"))
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")  # small programs together take seconds
    malloc.tune_malloc()
    skip_keras.install()

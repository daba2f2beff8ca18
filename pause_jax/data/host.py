"""TensorFlow reads data here; the accelerators are JAX's."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import tensorflow as tf

from pause_jax.errors import UserError


def keep_off_accelerators() -> None:
    """Hides the GPUs from TensorFlow, which would otherwise take nearly all of their memory at its first operation."""
    tf.config.set_visible_devices([], "GPU")


def numpy_elements(dataset: tf.data.Dataset) -> Iterator[Any]:
    """The elements as NumPy arrays; a UserError raised under `tf.numpy_function` comes out as it was.

    TensorFlow turns what a Python function raises into an error of its own, whose message ends in Python's traceback.
    """
    try:
        yield from dataset.as_numpy_iterator()
    except tf.errors.OpError as error:
        if found := re.search(r"^pause_jax\.errors\.UserError: (.*)$", error.message, re.MULTILINE):
            raise UserError(found[1]) from error
        raise

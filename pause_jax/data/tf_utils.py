"""Helpers for TensorFlow, which only reads data here: it leaves the accelerators to JAX."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator
from typing import Any

import tensorflow as tf

from pause_jax.errors import UserError
from pause_jax.system.native_stderr import suppress_native_stderr


def keep_off_accelerators() -> None:
    """Hides the GPUs from TensorFlow, which would otherwise take nearly all of their memory at its first operation."""
    with suppress_native_stderr():  # it looks for GPUs, and complains where there is no driver
        tf.config.set_visible_devices([], "GPU")


def without_autograph[**P, T](make: Callable[P, T]) -> Callable[P, T]:
    """`make`, a function that makes a data set, run without AutoGraph unless it needs it.

    Rewriting what SeqIO and its preprocessors map takes seconds at every start, and no function of ours branches on
    tensors. One that does, in a user's own task, raises a TypeError, and `make` is then run again with AutoGraph.
    """

    @functools.wraps(make)
    def called(*args: P.args, **options: P.kwargs) -> T:
        try:
            return tf.autograph.experimental.do_not_convert(make)(*args, **options)
        except TypeError:
            return make(*args, **options)

    return called


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

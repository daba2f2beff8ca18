"""TensorFlow reads data here; the accelerators are JAX's."""

from __future__ import annotations

import tensorflow as tf


def keep_off_accelerators() -> None:
    """Hides the GPUs from TensorFlow, which would otherwise take nearly all of their memory at its first operation."""
    tf.config.set_visible_devices([], "GPU")

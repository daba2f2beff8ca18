"""TensorFlow without Keras: not loaded with the data modules, there for whoever uses it."""

from __future__ import annotations

import os
import subprocess
import sys

PROGRAM = """
import sys
from pause_jax.system import skip_keras
skip_keras.install()
skip_keras.install()  # a second time, nothing is added
assert len([finder for finder in sys.meta_path if "Keras" in type(finder).__name__]) == 1
import pause_jax.data
assert "tensorflow" not in sys.modules
from pause_jax.data import finetuning, pretraining
assert "tensorflow" in sys.modules and "seqio" in sys.modules
loaded = {"keras", "keras.src", "sklearn", "matplotlib.pyplot"} & set(sys.modules)
assert not loaded, loaded
import tensorflow as tf
assert tf.keras.layers.Dense(3)(tf.ones((2, 2))).shape == (2, 3)
from tensorflow.keras import layers
import keras
assert layers.Dense(1).name and keras.__version__
"""


def test_tensorflow_says_nothing_on_stderr():
    """Of GPUs that are not there, of how C++ logs, whatever TF_CPP_MIN_LOG_LEVEL is."""
    environment = {name: value for name, value in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"}
    look = "from pause_jax.system import skip_keras; skip_keras.install()\n"
    look += "from pause_jax.data import pretraining, tf_utils; tf_utils.keep_off_accelerators()"
    done = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, timeout=120, env=environment)
    assert (done.returncode, done.stderr) == (0, "")
    bad = subprocess.run(
        [sys.executable, "-c", f"{look}\nimport tensorflow.nothing"],
        capture_output=True,
        text=True,
        timeout=120,
        env=environment,
    )
    assert bad.returncode == 1 and "No module named 'tensorflow.nothing'" in bad.stderr  # and hides nothing else


def test_keras_is_loaded_where_it_is_used_and_not_before():
    result = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr

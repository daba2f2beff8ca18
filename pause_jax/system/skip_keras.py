"""Imports TensorFlow and SeqIO without Keras, which nothing here uses, and quietly: in half the time.

`import tensorflow` loads all of Keras, and with it scikit-learn and matplotlib if they are installed, so that its
optimizers are known where a SavedModel is read; where that raises ImportError, it goes on. `import tensorflow_text`
defines Keras layers. Both are skipped. `tf.keras` is still loaded at its first use, in a user's own task.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import sys
import types
from collections.abc import Sequence
from typing import Any

from pause_jax.system.native_stderr import suppress_native_stderr

_LAYERS = "tensorflow_text.python.keras"
_TALKS = ("tensorflow", "tensorflow_text", "seqio")


class _Refuses(importlib.abc.Loader):
    """A loader that raises ImportError, for a module that is not to be loaded yet."""

    def exec_module(self, module: types.ModuleType) -> None:
        raise ImportError(f"{module.__name__} is not loaded with TensorFlow (pause_jax/system/skip_keras.py)")


class _LeavesEmpty(importlib.abc.Loader):
    """A loader that leaves the module empty."""

    def exec_module(self, module: types.ModuleType) -> None:
        pass


class _Quietly(importlib.abc.Loader):
    """Wraps another loader and drops what C++ code writes to stderr meanwhile: that there is no GPU, and so on."""

    def __init__(self, loader: importlib.abc.Loader):
        self._loader = loader

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: types.ModuleType) -> None:
        with suppress_native_stderr():
            self._loader.exec_module(module)


class _WithoutKeras(importlib.abc.MetaPathFinder):
    """Finds Keras while TensorFlow is being imported, which needs its spec, but does not let it be loaded."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: types.ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name == _LAYERS:
            return importlib.machinery.ModuleSpec(name, _LeavesEmpty())
        if name in _TALKS and (spec := importlib.machinery.PathFinder.find_spec(name, path, target)) and spec.loader:
            spec.loader = _Quietly(spec.loader)
            return spec
        if name != "keras" or not _is_being_imported("tensorflow"):
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec is not None:
            spec.loader = _Refuses()
        return spec


def _is_being_imported(name: str) -> bool:
    return getattr(getattr(sys.modules.get(name), "__spec__", None), "_initializing", False)


def install() -> None:
    """Install the import hook in this process; a second call changes nothing."""
    if not any(isinstance(finder, _WithoutKeras) for finder in sys.meta_path):
        sys.meta_path.insert(0, _WithoutKeras())

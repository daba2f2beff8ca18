"""Set before jax is imported: 8 virtual CPU devices, accidental broadcasting an error, quick and cached compilation."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import hypothesis
import pytest

# PyPI's torch brings triton, which ends the process when it is imported after TensorFlow (two copies of LLVM). Nothing
# here runs it, and torch goes without where it cannot be imported.
sys.modules.setdefault("triton", None)  # type: ignore[arg-type]

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from pause_jax.system import skip_keras  # noqa: E402 - where the tests were started from is not known

skip_keras.install()  # as all programs do

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("JAX_NUMPY_RANK_PROMOTION", "raise")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
if "xla_force_host_platform_device_count" not in os.environ.get("XLA_FLAGS", ""):
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=8".strip()

# Compiling is most of what these tests do: unoptimized it takes half the time, and once for all processes and runs.
if "xla_backend_optimization_level" not in os.environ["XLA_FLAGS"]:
    os.environ["XLA_FLAGS"] += " --xla_backend_optimization_level=0"
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(ROOT / ".pytest_cache" / "xla"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")

# The same examples in every run: a failure that comes and goes helps nobody. Times depend on the machine.
hypothesis.settings.register_profile("tests", deadline=None, derandomize=True)
hypothesis.settings.load_profile("tests")


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Bytes do not name a test: gzip's hold the time, and workers that collect other names than each other end."""
    return argname if isinstance(val, bytes) else None


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Real data, where this machine has it."""
    folder = Path(os.environ.get("PAUSE_JAX_DATA_DIR", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no data in {folder}: set PAUSE_JAX_DATA_DIR to a folder that has it")
    return folder


@pytest.fixture(scope="session")
def real_data(data_dir: Path) -> Path:
    """The folder of real data sets and tokenizers; the test is skipped where there is none."""
    return data_dir


@pytest.fixture(scope="session")
def stream_of() -> Callable[[Sequence[Sequence[int]]], Any]:
    """A function that makes a token stream of documents given as lists of ids."""
    import numpy as np

    from pause_jax.data.streams import TokenStream

    def make(documents: Sequence[Sequence[int]]) -> TokenStream:
        starts = np.cumsum([0, *(len(document) for document in documents[:-1])])
        return TokenStream(np.concatenate(documents).astype(np.uint16), starts, text_bytes=0, sha256="")

    return make

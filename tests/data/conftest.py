"""Where the real data lies, and token streams made by hand."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Sequence

import numpy as np
import pytest


@pytest.fixture(scope="session")
def real_data() -> pathlib.Path:
    """The folder of real data sets and tokenizers; the test is skipped where there is none."""
    default = pathlib.Path(__file__).parents[2] / ".." / "shared" / "data"
    folder = pathlib.Path(os.environ.get("PAUSE_JAX_DATA_DIR", default))
    if not folder.is_dir():
        pytest.skip(f"no real data in {folder}: set PAUSE_JAX_DATA_DIR")
    return folder


@pytest.fixture(scope="session")
def stream_of():
    """A function that makes a token stream of documents given as lists of ids."""
    from pause_jax.data.stream import TokenStream

    def make(documents: Sequence[Sequence[int]]) -> TokenStream:
        starts = np.cumsum([0, *(len(document) for document in documents[:-1])])
        return TokenStream(np.concatenate(documents).astype(np.uint16), starts, text_bytes=0, sha256="")

    return make

"""Packages that the core goes without: which extra brings each, and what is said where it is missing."""

from __future__ import annotations

import importlib.util

from pause_jax.errors import UserError

# Module as it is imported → the extra to install.
EXTRAS = {
    "seqio": "data",
    "tensorflow": "data",
    "tensorflow_text": "data",
    "tensorflow_datasets": "data",
    "array_record": "data",
    "sentencepiece": "data",
    "rouge_score": "tasks",
    "tokenizers": "interop",
    "safetensors": "interop",
    "jinja2": "report",
    "matplotlib": "report",
    "submitit": "slurm",
    "yaml": "gke",
    "gcsfs": "gcs",
}
PURPOSES = {
    "data": "reading text and tasks",
    "tasks": "this task's metric",
    "interop": "reading or writing Hugging Face's formats",
    "report": "drawing a report",
    "slurm": "a sweep through SLURM",
    "gke": "writing JobSets",
    "gcs": "a bucket's address",
}


def require(*extras: str) -> None:
    """Raises UserError where a package of these extras is missing: before work that needs it only at its end."""
    for module, extra in EXTRAS.items():
        if extra in extras and importlib.util.find_spec(module) is None:
            raise UserError(_sentence(module))


def missing(error: BaseException) -> str | None:
    """The sentence for an error that a missing package of an extra has raised; None for all others."""
    module = (error.name or "").partition(".")[0] if isinstance(error, ModuleNotFoundError) else ""
    return _sentence(module) if module in EXTRAS else None


def _sentence(module: str) -> str:
    extra = EXTRAS[module]
    return f"{PURPOSES[extra]} needs {module}, which is not installed: pip install 'pause_jax[{extra}]'"

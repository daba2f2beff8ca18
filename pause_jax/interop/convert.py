"""Imports models of Hugging Face as runs, and exports runs as folders that transformers loads (launch.convert)."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pause_jax.config import MeshConfig
from pause_jax.distributed import processes
from pause_jax.errors import UserError


def import_model(source: Path, workdir: Path, mesh: MeshConfig, vocabulary: str) -> str:
    """Make the folder `source` a run at step 0 in `workdir`, and return a sentence on what was made.

    Args:
      vocabulary: "byte" or the path of a tokenizer; "": the model's own.

    Raises:
      UserError: as `importing.import_folder`.
    """
    from pause_jax.distributed.mesh import make_mesh
    from pause_jax.interop.importing import import_folder

    config = import_folder(source, workdir, make_mesh(mesh), vocabulary).config()
    return (
        f"{workdir}: {source} as a run at step 0, {config.model.num_layers} layers of {config.model.d_model}, "
        f"vocabulary {config.data.vocabulary}; train from it with --config.init_from={workdir}"
    )


def export_model(run: str, out: Path, *, dtype: Literal["float32", "bfloat16"], results: Path | None) -> str:
    """Write a checkpoint as a Hugging Face folder, and return a sentence on what was made.

    Args:
      run: a run's folder, or RUN/checkpoints/STEP.
      dtype: of the weights that are written.
      results: a results.csv for the model card.

    Raises:
      UserError: there is no such checkpoint, or as `exporting.export_run`.
    """
    if processes.several():
        raise UserError("--to_hf writes from one process: start one only")
    from pause_jax.checkpointing import checkpoints
    from pause_jax.distributed.mesh import make_mesh
    from pause_jax.interop.exporting import export_run
    from pause_jax.report.results import read_results

    folder, step = checkpoints.locate(run)
    found = read_results(results) if results else []
    export_run(folder, step, out, make_mesh(MeshConfig()), dtype=dtype, results=found)
    return f"{out}: step {step} of {folder.path}; {out / 'README.md'} says how to give it time to think"

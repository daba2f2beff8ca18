"""Exports a run as a Hugging Face folder: safetensors, config, tokenizer, generation settings and a model card."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import jax
import ml_dtypes
import numpy as np
from jax.sharding import Mesh
from safetensors.numpy import save_file

from pause_jax.checkpointing import checkpoints
from pause_jax.checkpointing.run_folder import RunFolder
from pause_jax.config import Config
from pause_jax.distributed import memory
from pause_jax.errors import UserError
from pause_jax.interop import card, configs, tokenizers
from pause_jax.interop.weights import HEAD, INDEX, SINGLE, TOKEN_TABLES, Tensor, tensors
from pause_jax.report.results import Result
from pause_jax.system import mounts
from pause_jax.tokenizers import tokenizer

SHARD_BYTES = 5 * 10**9  # of a file, as in transformers
Dtype = Literal["float32", "bfloat16"]


def export_run(
    folder: RunFolder,
    step: int,
    out: Path,
    mesh: Mesh,
    *,
    dtype: Dtype = "float32",
    shard_bytes: int = SHARD_BYTES,
    results: Sequence[Result] = (),
) -> None:
    """Write the checkpoint `step` of a run into the new folder `out`, which appears when it is whole.

    The pauses' vectors become rows of the embedding, under the first ids that the tokenizer leaves free.

    Raises:
      UserError: `out` exists; the run's attention, network or tokenizer has no counterpart, or it cannot be read.
    """
    config = folder.config()
    if out.exists():
        raise UserError(f"--to_hf={out} exists: give another folder, or delete it")
    if config.finetune.task and config.finetune.attention != "causal":
        raise UserError(
            f"the run in {folder.path} was finetuned with config.finetune.attention = {config.finetune.attention!r}, "
            "but what is exported reads causally and would give other answers: finetune with 'causal'"
        )
    words = tokenizer.load(config.data.vocabulary)
    pause_ids = list(range(words.size, words.size + config.model.num_pause_tokens))
    hf = configs.hf_config(config.model, pause_ids) | {
        "torch_dtype": dtype,
        "eos_token_id": words.eos_id,
    }
    with _new_folder(out) as partial:
        _write(folder, step, partial, mesh, config, hf, pause_ids, dtype, shard_bytes, results)


@contextlib.contextmanager
def _new_folder(out: Path) -> Iterator[Path]:
    """A folder to write to, which becomes `out` at the end, and is removed where writing fails."""
    partial = out.with_name(f"{out.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        partial.mkdir(parents=True)
    except OSError as error:
        raise UserError(f"--to_hf={out} cannot be written ({error.strerror}): give a folder in one of yours") from None
    try:
        yield partial
        mounts.move_folder(partial, out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _write(
    folder: RunFolder,
    step: int,
    partial: Path,
    mesh: Mesh,
    config: Config,
    hf: dict[str, Any],
    pause_ids: list[int],
    dtype: Dtype,
    shard_bytes: int,
    results: Sequence[Result],
) -> None:
    tokenizers.write(config.data.vocabulary, pause_ids, partial, config.model.max_positions)
    memory.check_parameters(config, mesh, f"the run in {folder.path}")
    params = checkpoints.restore_params(folder.checkpoints, step, config, mesh)
    pauses = params.pop("pause", None)
    vectors = None if pauses is None else np.asarray(jax.device_get(pauses["embedding"]))
    _write_weights(
        [_with_pauses(t, hf["vocab_size"], pause_ids, vectors) for t in tensors(params, config.model)],
        partial,
        dtype,
        shard_bytes,
    )
    _write_json(partial / "config.json", hf)
    _write_json(partial / "generation_config.json", _generation(hf, pause_ids))
    text = card.text(folder, step, config, pause_ids, hf["model_type"], results)
    (partial / "README.md").write_text(text, encoding="utf-8")


def _generation(hf: dict[str, Any], pause_ids: list[int]) -> dict[str, Any]:
    """Generation settings, which suppress pauses: our head has no columns for them."""
    settings: dict[str, Any] = {"eos_token_id": hf["eos_token_id"], "pad_token_id": hf["eos_token_id"]}
    return settings | ({"suppress_tokens": pause_ids} if pause_ids else {})


def _with_pauses(tensor: Tensor, rows: int, pause_ids: list[int], vectors: np.ndarray | None) -> Tensor:
    """A token table enlarged to `rows` rows, those of the pauses among them; any other weight as it is."""
    is_table = tensor.name.endswith(TOKEN_TABLES)
    if vectors is None or not (is_table or tensor.name == HEAD):
        return tensor

    def make() -> np.ndarray:
        table = np.zeros((rows, tensor.shape[1]), np.float32)
        table[: tensor.shape[0]] = tensor.make()
        if is_table:
            table[pause_ids] = vectors
        return table

    return Tensor(tensor.name, (rows, tensor.shape[1]), make)


def _write_weights(weights: Sequence[Tensor], folder: Path, dtype: Dtype, shard_bytes: int) -> None:
    """Write safetensors of about `shard_bytes` each, one in memory at a time, and where there are several an index."""
    kind = np.dtype(np.float32) if dtype == "float32" else np.dtype(ml_dtypes.bfloat16)
    shards = list(_shards(weights, kind.itemsize, shard_bytes))
    names = (
        [SINGLE]
        if len(shards) == 1
        else [f"model-{k:05d}-of-{len(shards):05d}.safetensors" for k in range(1, len(shards) + 1)]
    )
    for name, shard in zip(names, shards, strict=True):
        save_file({t.name: t.make().astype(kind) for t in shard}, folder / name, metadata={"format": "pt"})
    if len(shards) > 1:
        total = sum(int(np.prod(t.shape)) * kind.itemsize for t in weights)
        of = {t.name: name for name, shard in zip(names, shards, strict=True) for t in shard}
        _write_json(folder / INDEX, {"metadata": {"total_size": total}, "weight_map": of})


def _shards(weights: Sequence[Tensor], itemsize: int, shard_bytes: int) -> Iterator[list[Tensor]]:
    shard: list[Tensor] = []
    filled = 0
    for tensor in weights:
        size = int(np.prod(tensor.shape)) * itemsize
        if shard and filled + size > shard_bytes:
            yield shard
            shard, filled = [], 0
        shard.append(tensor)
        filled += size
    yield shard


def _write_json(file: Path, content: dict[str, Any]) -> None:
    file.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")

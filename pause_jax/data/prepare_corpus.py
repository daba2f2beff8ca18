"""What launch.prepare does: prepare a corpus on this machine or on Beam, show rows, download, train a tokenizer.

pause_jax/data/prepare.py has the plan and the unit of work; this file carries them out.
"""

from __future__ import annotations

import dataclasses
import functools
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pause_jax import extras
from pause_jax.config import Config, DataConfig
from pause_jax.data import prepare, splits
from pause_jax.data.documents import Piece
from pause_jax.data.prepare_pool import Pool, Speedometer, Stopped, make
from pause_jax.data.splits import Scan
from pause_jax.errors import UserError
from pause_jax.logging.progress import Heartbeat, Progress
from pause_jax.system.cores import available_cores
from pause_jax.system.native_stderr import suppress_native_stderr
from pause_jax.training.signals import StopSignals


@dataclasses.dataclass(frozen=True)
class Options:
    """How a corpus is prepared."""

    workers: int = 0  # processes on this machine; 0: one a core
    skip_bad: bool = False  # leave out documents that are no UTF-8 text, rather than stop
    beam_options: str | None = None  # make the shards on Apache Beam


def run(out: Path, data: DataConfig, options: Options) -> bool:
    """Make what is missing in `out`, and print what was made; False where a signal stopped it.

    Raises:
      UserError: a package is missing, or see `prepare.begin` and `prepare.run_unit`.
    """
    extras.require("data")
    workers = options.workers or len(available_cores())
    with StopSignals() as stop, Pool(workers, stopping=lambda: stop.requested is not None) as pool:
        try:
            manifest = make_shards(out, data, pool, options)
        except Stopped:
            print(f"stopped by {stop.requested}; run the same command again to go on from {out}")
            return False
    conclude(out, manifest)
    return True


def make_shards(out: Path, data: DataConfig, pool: Pool, options: Options) -> Mapping[str, Any]:
    """Make what is missing in `out`, and return its manifest.

    Raises:
      UserError: see `prepare.begin` and `prepare.run_unit`.
      Stopped: by a signal.
    """
    source = pool.map(prepare.describe, [data])[0]
    units = prepare.begin(
        out, data, source, functools.partial(scan, pool, data, options.skip_bad), skip_bad=options.skip_bad
    )
    if options.beam_options is not None:
        from pause_jax.data import beam

        print(f"prepare {len(units)} shards on Apache Beam {options.beam_options}", flush=True)
        beam.run_units(units, options.beam_options)
    else:
        with Progress("prepare", len(units), unit="shards") as progress:
            pool.map(make, units, Speedometer(progress, pool.text_bytes))
    return prepare.finish(out, units)


def scan(pool: Pool, data: DataConfig, skip_bad: bool, files: Sequence[Piece]) -> dict[Piece, Scan]:
    """Scan the user's files, so that they can be cut into shards."""
    look = functools.partial(splits.scan_file, text_field=data.text_field, skip_bad=skip_bad)
    with Progress("look through the files", len(files), unit="files") as progress:
        scans = pool.map(look, files, lambda done: progress.update(done, {}))
    return dict(zip(files, scans, strict=True))


def conclude(out: Path, manifest: Mapping[str, Any]) -> None:
    """Print what was made, what was left out, and which documents are unusually long."""
    for split, made in manifest["splits"].items():
        print(
            f"{split}: {made['documents']:,} documents, {made['text_tokens']:,} text tokens, "
            f"{made['text_bytes'] / 1e6:,.1f} MB of text in {len(made['shards'])} shards"
            + "".join(f", {made[kind]:,} {kind} documents left out" for kind in ("blank", "bad") if made[kind])
        )
        if long := [name for shard in made["shards"] for name in shard["long"]]:
            print(f"{split}: {len(long)} documents are longer than 10 MB and were kept whole: {', '.join(long[:3])}")
    print(f"prepared: {out}; train on it with --config.data.prepared={out}")


def show(config: Config, count: int) -> None:
    """Print `count` training blocks of a resolved config, or of a finetuning config its examples."""
    with suppress_native_stderr():
        from pause_jax.data import finetuning, pretraining, preview

    if config.finetune.task:
        task = finetuning.open_task(config.data, config.finetune)
        preview.show_examples(config, task.train, task.filler_id, count=count)
    else:
        preview.show_blocks(config, pretraining.open_corpus(config.data).train, count=count)


def download(names: Sequence[str], data_dir: str | None) -> None:
    """Fetch the official files of tasks, or of `all`.

    Raises:
      UserError: no folder is given, there is no such task, or as `download.fetch_tasks`.
    """
    if not data_dir:
        raise UserError("--data_dir is missing: give the folder for the files of tasks, such as --data_dir=data")
    with suppress_native_stderr():
        from pause_jax import tasks
        from pause_jax.tasks import download as downloads

    known = list(tasks.official.known())
    if unknown := [name for name in names or [""] if name not in [*known, "all"]]:
        raise UserError(
            f"--download={unknown[0]}: there is no such task with official files; known are {', '.join(known)}, or all"
        )
    wanted = known if "all" in names else list(dict.fromkeys(names))
    fetched = downloads.fetch_tasks(wanted, Path(data_dir))
    print(f"{len(fetched)} files fetched; the files of {', '.join(wanted)} are whole and as published: {data_dir}")


def train_tokenizer(out: Path, data: DataConfig, size: int) -> None:
    """Write a SentencePiece model, trained on the training text.

    Raises:
      UserError: `out` exists, or see `train_sentencepiece.train`.
    """
    if out.exists():
        raise UserError(f"--out={out} exists: give another name, a tokenizer is not to change under what uses it")
    with suppress_native_stderr():
        from pause_jax.tokenizers import train_sentencepiece

    print(
        f"train {size:,} pieces on up to {train_sentencepiece.SAMPLE_BYTES / 1e6:.0f} MB of text: minutes", flush=True
    )
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # the trainer is C++ and would not notice Python's handler
    with Heartbeat("train the tokenizer"):
        model = train_sentencepiece.train(data, size)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        partial = out.with_name(out.name + ".partial")
        partial.write_bytes(model)
        partial.replace(out)
    except OSError as error:
        raise UserError(f"--out={out} cannot be written ({error.strerror}): give another place") from error
    print(f"trained: {out}; use it with --config.data.vocabulary={out}")

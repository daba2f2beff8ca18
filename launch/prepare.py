"""Tokenize a corpus once, onto disk: token streams that training reads at any size, at any place, at no start-up cost.

    python -m launch.prepare --config=experiments/quickstart.py:pause --out=prepared/mine \\
        --config.data.files='texts/*.jsonl.gz' --config.data.vocabulary=t5.spiece.model
    python -m launch.train --config=experiments/quickstart.py:pause --workdir=runs/mine \\
        --config.data.prepared=prepared/mine --config.data.vocabulary=t5.spiece.model

Of the config, only config.data is read. The work is cut into ranges of text, each of which becomes a shard; the same
command again goes on where it stopped, however it was stopped. docs/data.md has C4, Wikipedia, books, and Apache Beam.
With --train_sentencepiece=32000, --out is the .model file of a tokenizer to be trained on the corpus instead; with
--verify, the shards in --out are compared with their checksums; with --show=3, blocks of training are printed, before
and after pauses are inserted, or the prompts, pauses and targets of a finetuning config, and nothing is written.

    python -m launch.prepare --download=gsm8k,squad_v1 --data_dir=data

fetches the official files of downstream tasks (or of `all`) and checks them; docs/tasks.md says which.
Exit codes: 0 done, 2 a mistake in the command or the text, 75 stopped by a signal, what was finished is kept.
"""

from __future__ import annotations

import functools
import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent import futures
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path
from typing import Any, TypeVar

from absl import flags

from launch import train
from pause_jax.command_line import cli
from pause_jax.config import DataConfig
from pause_jax.data import prepare, splits
from pause_jax.data.documents import Piece
from pause_jax.data.prepare import Unit
from pause_jax.data.shards import Shard
from pause_jax.data.splits import Scan
from pause_jax.errors import UserError
from pause_jax.logging.progress import Heartbeat, Progress
from pause_jax.system import forking, native_stderr
from pause_jax.system.cores import available_cores
from pause_jax.training.signals import StopSignals

FLAGS = flags.FLAGS
T = TypeVar("T")
R = TypeVar("R")


def main(argv: list[str]) -> int:
    if FLAGS["download"].present:
        return download(FLAGS.download, FLAGS.data_dir)
    if FLAGS.show is not None:
        return show(FLAGS.show)
    if not FLAGS.out:
        raise UserError("--out is missing: give the folder to be made, such as --out=prepared/mine")
    if FLAGS.workers < 0:
        raise UserError(f"--workers={FLAGS.workers} must not be negative: give 0 for one a core")
    out = Path(FLAGS.out)
    if FLAGS.verify:
        print(f"{prepare.verify(out)} shards agree with their checksums: {out}")
        return cli.EXIT_DONE
    data = prepare.with_absolute_paths(cli.load_config().data)
    if FLAGS["train_sentencepiece"].present:
        train_tokenizer(out, data, FLAGS.train_sentencepiece)
        return cli.EXIT_DONE
    workers = FLAGS.workers or len(available_cores())
    with StopSignals() as stop, Pool(workers, stopping=lambda: stop.requested is not None) as pool:
        try:
            manifest = run(out, data, pool, skip_bad=FLAGS.on_bad_text == "skip")
        except Stopped:
            print(f"stopped by {stop.requested}; run the same command again to go on from {out}")
            return cli.EXIT_STOPPED
    conclude(out, manifest)
    return cli.EXIT_DONE


def show(count: int) -> int:
    """Print training blocks of the config, or of a finetuning config its examples."""
    if count < 1:
        raise UserError(f"--show={count} shows nothing: give a number of blocks, such as 3")
    config = train.resolve(cli.load_config())
    with native_stderr.hidden():
        from pause_jax.data import finetuning, pretraining, preview

    if config.finetune.task:
        task = finetuning.open_task(config.data, config.finetune)
        preview.show_examples(config, task.train, task.filler_id, count=count)
    else:
        preview.show_blocks(config, pretraining.open_corpus(config.data).train, count=count)
    return cli.EXIT_DONE


def download(names: Sequence[str], data_dir: str | None) -> int:
    """Fetch the official files of tasks, or of `all`."""
    if not data_dir:
        raise UserError("--data_dir is missing: give the folder for the files of tasks, such as --data_dir=data")
    with native_stderr.hidden():
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
    return cli.EXIT_DONE


def run(out: Path, data: DataConfig, pool: Pool, *, skip_bad: bool) -> Mapping[str, Any]:
    """Make what is missing in `out`; its manifest.

    Raises:
      UserError: see `prepare.begin` and `prepare.run_unit`.
      Stopped: by a signal.
    """
    source = pool.map(prepare.describe, [data])[0]
    units = prepare.begin(out, data, source, functools.partial(scan, pool, data, skip_bad), skip_bad=skip_bad)
    if FLAGS["beam_options"].present:
        from pause_jax.data import beam

        print(f"prepare {len(units)} shards on Apache Beam {FLAGS.beam_options}", flush=True)
        beam.run_units(units, FLAGS.beam_options)
    else:
        with Progress("prepare", len(units), unit="shards") as progress:
            pool.map(make, units, Speedometer(progress, pool.text_bytes))
    return prepare.finish(out, units)


def train_tokenizer(out: Path, data: DataConfig, size: int) -> None:
    """Write a SentencePiece model, trained on the training text.

    Raises:
      UserError: `out` exists, or see `sentencepieces.train`.
    """
    if out.exists():
        raise UserError(f"--out={out} exists: give another name, a tokenizer is not to change under what uses it")
    with native_stderr.hidden():
        from pause_jax.tokenizers import train_sentencepiece

    print(
        f"train {size:,} pieces on up to {train_sentencepiece.SAMPLE_BYTES / 1e6:.0f} MB of text: minutes", flush=True
    )
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # the trainer would not hear of Python's
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


def scan(pool: Pool, data: DataConfig, skip_bad: bool, files: Sequence[Piece]) -> dict[Piece, Scan]:
    """Look through the user's files, so that they can be cut."""
    look = functools.partial(splits.scan_file, text_field=data.text_field, skip_bad=skip_bad)
    with Progress("look through the files", len(files), unit="files") as progress:
        scans = pool.map(look, files, lambda done: progress.update(done, {}))
    return dict(zip(files, scans, strict=True))


def make(unit: Unit) -> Shard:
    """One shard, in a worker's process."""
    return prepare.run_unit(unit, _tell)


def conclude(out: Path, manifest: Mapping[str, Any]) -> None:
    """Say what was made, and what was left out or is out of the ordinary."""
    for split, made in manifest["splits"].items():
        print(
            f"{split}: {made['documents']:,} documents, {made['text_tokens']:,} text tokens, "
            f"{made['text_bytes'] / 1e6:,.1f} MB of text in {len(made['shards'])} shards"
            + "".join(f", {made[kind]:,} {kind} documents left out" for kind in ("blank", "bad") if made[kind])
        )
        if long := [name for shard in made["shards"] for name in shard["long"]]:
            print(f"{split}: {len(long)} documents are longer than 10 MB and were kept whole: {', '.join(long[:3])}")
    print(f"prepared: {out}; train on it with --config.data.prepared={out}")


class Stopped(Exception):
    """A signal came before all was done."""


class Pool:
    """Processes that prepare, one a core; none of their messages are seen, what they raise is raised here."""

    def __init__(self, workers: int, *, stopping: Callable[[], bool]):
        context = forking.context(["pause_jax.data.corpora", "pause_jax.data.prepare"])
        self.text_bytes: Synchronized[int] = context.Value("q", 0)  # tokenized so far, by all
        self._stopping = stopping
        self._executor = futures.ProcessPoolExecutor(workers, context, _start_worker, (self.text_bytes,))

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, *error: object) -> None:
        self._executor.shutdown(cancel_futures=True)

    def map(
        self, function: Callable[[T], R], items: Sequence[T], on_tick: Callable[[int], None] | None = None
    ) -> list[R]:
        """The function's results for all items, in order; `on_tick` gets the number of items that are done.

        Raises:
          Stopped: by a signal; what was under way has been finished.
          Exception: what the function raises first; the rest is not begun.
        """
        jobs = [self._executor.submit(function, item) for item in items]
        left: set[futures.Future[R]] = set(jobs)
        try:
            while left:
                done, left = futures.wait(left, timeout=0.2, return_when=futures.FIRST_COMPLETED)
                for job in done:
                    job.result()
                if on_tick:
                    on_tick(len(jobs) - len(left))
                if left and self._stopping():
                    raise Stopped
        except BrokenProcessPool as error:
            raise UserError(
                "a process of the preparation died, for want of memory perhaps: run the same command again with fewer "
                "--workers; shards that are whole are kept"
            ) from error
        finally:
            for job in left:
                job.cancel()
        return [job.result() for job in jobs]


class Speedometer:
    """Shows text and speed beside the number of shards, once a second."""

    def __init__(self, progress: Progress, text_bytes: Synchronized[int]):
        self._progress, self._text_bytes = progress, text_bytes
        self._started, self._shown = time.monotonic(), (-1, 0.0)

    def __call__(self, done: int) -> None:
        now, megabytes = time.monotonic(), self._text_bytes.value / 1e6
        if done == self._shown[0] and now - self._shown[1] < 1:
            return
        self._shown = (done, now)
        speed = megabytes / max(now - self._started, 1e-3)
        self._progress.update(done, {"text": f"{megabytes:,.1f} MB", "speed": f"{speed:.2f} MB/s"})


def _start_worker(text_bytes: Synchronized[int]) -> None:
    """A fresh process: deaf to signals, which are the parent's to answer, dead soon after it, one thread, no GPU."""
    global _text_bytes
    _text_bytes = text_bytes
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    forking.die_with_parent()
    os.environ.update(TF_NUM_INTEROP_THREADS="1", TF_NUM_INTRAOP_THREADS="1")
    with native_stderr.hidden():
        from pause_jax.data import tf_utils

        tf_utils.keep_off_accelerators()


_text_bytes: Synchronized[int] | None = None  # in a worker: what it shares with the parent


def _tell(text_bytes: int) -> None:
    assert _text_bytes is not None
    with _text_bytes.get_lock():
        _text_bytes.value += text_bytes


if __name__ == "__main__":
    cli.config_flag()
    cli.include_flag()
    cli.path_flag("out", None, "the folder to be made, or with --train_sentencepiece the .model file")
    flags.DEFINE_integer("workers", 0, "processes on this machine; 0: one a core")
    flags.DEFINE_enum("on_bad_text", "stop", ["stop", "skip"], "what to do about a document that is no UTF-8 text")
    flags.DEFINE_string("beam_options", None, "make the shards on Apache Beam, such as '--runner=FlinkRunner ...'")
    flags.DEFINE_integer("train_sentencepiece", None, "pieces of a tokenizer to train; nothing is prepared then")
    flags.DEFINE_bool("verify", False, "compare the shards in --out with their checksums, and do nothing else")
    flags.DEFINE_integer("show", None, "print so many training blocks, before and after pauses are inserted, no more")
    flags.DEFINE_list(
        "download", None, "fetch the official files of tasks, such as gsm8k,squad_v1 or all, and do nothing else"
    )
    cli.path_flag("data_dir", None, "with --download: the folder that the files go to")
    cli.run(main)

"""Tokenize a corpus once, onto disk: token streams of any size that training reads at no start-up cost.

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

from pathlib import Path

from absl import flags

from pause_jax.command_line import cli
from pause_jax.data import prepare, prepare_corpus
from pause_jax.errors import UserError
from pause_jax.training import run

FLAGS = flags.FLAGS


def main(argv: list[str]) -> int:
    if FLAGS["download"].present:
        prepare_corpus.download(FLAGS.download, FLAGS.data_dir)
        return cli.EXIT_DONE
    if FLAGS.show is not None:
        if FLAGS.show < 1:
            raise UserError(f"--show={FLAGS.show} shows nothing: give a number of blocks, such as 3")
        prepare_corpus.show(run.resolve(cli.load_config()), FLAGS.show)
        return cli.EXIT_DONE
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
        prepare_corpus.train_tokenizer(out, data, FLAGS.train_sentencepiece)
        return cli.EXIT_DONE
    beam_options = FLAGS.beam_options if FLAGS["beam_options"].present else None
    options = prepare_corpus.Options(FLAGS.workers, skip_bad=FLAGS.on_bad_text == "skip", beam_options=beam_options)
    return cli.EXIT_DONE if prepare_corpus.run(out, data, options) else cli.EXIT_STOPPED


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

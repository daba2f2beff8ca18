"""Import models of Hugging Face as runs, and export runs as folders that transformers loads, pauses included.

    python -m launch.convert --from_hf=Llama-3.2-1B --workdir=runs/llama
    python -m launch.convert --run=runs/uptrained --to_hf=exported/uptrained

What is read: GPT-2, Llama 2 and 3, Mistral without a sliding window, Qwen 2, 2.5 and 3, SmolLM, as safetensors. The
run that is made is at step 0: start others from it with --config.init_from, where it gets fresh pauses
(docs/interop.md). What is written has the pauses as special tokens of the tokenizer, and a README.md that says how to
use them.
"""

from __future__ import annotations

from pathlib import Path

from absl import flags

from pause_jax.command_line import cli
from pause_jax.distributed import processes
from pause_jax.errors import UserError
from pause_jax.interop import convert

FLAGS = flags.FLAGS


def main(argv: list[str]) -> int:
    if bool(FLAGS.from_hf) == bool(FLAGS.to_hf):
        raise UserError(
            "give either --from_hf=DIR --workdir=RUN to read a model, or --run=RUN --to_hf=DIR to write one"
        )
    with processes.initialize(cli.address(), FLAGS.start_timeout):
        if FLAGS.from_hf:
            mesh = cli.parse_mesh(FLAGS.mesh)
            print(convert.import_model(Path(FLAGS.from_hf), cli.workdir(), mesh, FLAGS.vocabulary))
        else:
            cli.check_given("run")
            results = Path(FLAGS.results) if FLAGS.results else None
            print(convert.export_model(FLAGS.run, Path(FLAGS.to_hf), dtype=FLAGS.dtype, results=results))
    return cli.EXIT_DONE


if __name__ == "__main__":
    cli.path_flag("from_hf", None, "a folder with config.json, safetensors and a tokenizer, to read")
    cli.path_flag("vocabulary", "", "with --from_hf: 'byte' or the path of a tokenizer; its own is the default")
    flags.DEFINE_string("mesh", "", "with --from_hf: how the parameters are cut, such as fsdp=4,tensor=2")
    cli.path_flag("run", None, "a run's folder (its newest checkpoint), or RUN/checkpoints/STEP, to write")
    cli.path_flag("to_hf", None, "with --run: the folder to make")
    flags.DEFINE_enum("dtype", "float32", ["float32", "bfloat16"], "with --to_hf: of the weights")
    cli.path_flag("results", "", "with --to_hf: a results.csv of launch.evaluate, for the model card")
    cli.workdir_flag()
    cli.process_flags()
    cli.run(main)

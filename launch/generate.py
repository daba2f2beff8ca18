"""Continue a prompt with a trained model, after giving it time to think.

    python -m launch.generate --run=runs/pause --m_inf=10 --prompt='def read(path):'

The prompt is read with `m_inf` pauses appended; what the model says before the last pause is ignored (paper
section 3.1), then it writes token by token. --temperature=0 (greedy) is the default.
"""

from __future__ import annotations

from absl import flags

from pause_jax.command_line import cli
from pause_jax.errors import UserError

FLAGS = flags.FLAGS


def main(argv: list[str]) -> int:
    if not FLAGS.run:
        raise UserError("--run is missing: give a run's folder, or one of its checkpoints (RUN/checkpoints/STEP)")
    if FLAGS.m_inf < 0:
        raise UserError(f"--m_inf={FLAGS.m_inf} is negative: give the number of pauses, 0 or more")
    if FLAGS.max_new_tokens < 1:
        raise UserError(f"--max_new_tokens={FLAGS.max_new_tokens} leaves nothing to write: give 1 or more")
    from pause_jax.inference.restored import RestoredRun  # JAX, after the flags
    from pause_jax.inference.sampling import Sampling

    texts = RestoredRun.restore(FLAGS.run).complete(
        FLAGS.prompt,
        m_inf=FLAGS.m_inf,
        max_new_tokens=FLAGS.max_new_tokens,
        seed=FLAGS.seed,
        sampling=Sampling(temperature=FLAGS.temperature, top_p=FLAGS.top_p),
    )
    for prompt, text in zip(FLAGS.prompt, texts, strict=True):
        print(prompt + text)
    return cli.EXIT_DONE


if __name__ == "__main__":
    cli.path_flag("run", None, "a run's folder (its newest checkpoint), or RUN/checkpoints/STEP")
    flags.DEFINE_multi_string("prompt", ["def "], "text to continue; may be given several times")
    flags.DEFINE_integer("m_inf", 0, "pauses after the prompt")
    flags.DEFINE_integer("max_new_tokens", 100, "tokens to write at most")
    flags.DEFINE_float("temperature", 0.0, "0 is greedy")
    flags.DEFINE_float("top_p", 1.0, "sample from the likeliest tokens that together have this probability")
    flags.DEFINE_integer("seed", 0, "of the sampling")
    cli.run(main)

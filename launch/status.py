"""Show the state of a sweep, from its folder alone: its driver may be alive or not, here or on another machine.

    python -m launch.status --workdir=runs/sweep

On a terminal the table is drawn anew every few seconds, until the sweep has ended or Ctrl-C; elsewhere, and with
--once, it is printed once.
"""

from __future__ import annotations

from absl import flags

from pause_jax.command_line import cli
from pause_jax.sweeps import status

FLAGS = flags.FLAGS


def main(argv: list[str]) -> int:
    status.show(cli.workdir(), once=FLAGS.once)
    return cli.EXIT_DONE


if __name__ == "__main__":
    cli.workdir_flag()
    flags.DEFINE_bool("once", False, "print the table once and end, on a terminal too")
    cli.run(main)

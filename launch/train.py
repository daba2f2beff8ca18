"""Pretrain a decoder, with pauses or without; run the same command again to go on where it stopped.

    python -m launch.train --config=experiments/quickstart.py:pause --workdir=runs/pause
    python -m launch.train --config=experiments/quickstart.py:pause --workdir=runs/mine \\
        --config.data.files='texts/*.txt' --config.train.steps=2000

Every setting is a config field (`--config.a.b=value`); pause_jax/config/ lists them with their meaning.
Of several processes each runs this same command, and the workdir lies where all of them see it. SLURM, TPU VMs and
JobSets on TPUs tell the processes of each other (launch/slurm, launch/tpu_vm, launch/gke); elsewhere process I of N is:

    python -m launch.train ... --coordinator=HOST:PORT --num_processes=N --process_id=I

--config.run.replay_step=K trains nothing: it shows what step K of the run in --workdir computes, row by row.

Exit codes: 0 done, 2 a mistake in the command, 3 stopped by itself (loss not finite), 4 another process of the run was
lost, 75 stopped by a signal or by --config.run.max_seconds with everything saved.
"""

from __future__ import annotations

from pause_jax.command_line import cli
from pause_jax.distributed import processes
from pause_jax.training import run


def main(argv: list[str]) -> int:
    with processes.initialize(cli.address(), cli.FLAGS.start_timeout):
        workdir = cli.workdir()
        tell = print if processes.index() == 0 else lambda sentence: None
        config = run.prepare(cli.load_config(tell), workdir)
        for sentence in run.notes(config):
            tell(sentence)
        outcome = run.run_training(config, workdir)
        if sentence := run.conclusion(outcome, config, workdir):
            tell(sentence)
    return cli.EXIT_STOPPED if outcome == "stopped" else cli.EXIT_DONE


if __name__ == "__main__":
    cli.config_flag()
    cli.include_flag()
    cli.workdir_flag()
    cli.process_flags()
    cli.run(main)

"""lm-evaluation-harness with a run of ours as its model: all of its flags, and --model=pause_jax.

    pip install lm-eval==0.4.13
    python -m launch.lm_eval --model=pause_jax --model_args=run=runs/mine,m_inf=10 --tasks=lambada_openai --limit=100
    python -m launch.lm_eval --model=pause_jax --model_args=run=runs/mine,m_inf=0 --tasks=mine --include_path=my_tasks

`run` is a run's folder or RUN/checkpoints/STEP, `m_inf` the pauses after each context, `batch_size` rows are a batch.
"""

from __future__ import annotations

import importlib.util
import sys


def main() -> None:
    from launch import cli

    cli.prepare_process()
    if not importlib.util.find_spec("lm_eval"):
        sys.exit("error: the harness is not installed: pip install lm-eval==0.4.13")
    from pause_jax.errors import UserError

    try:
        from lm_eval.__main__ import cli_evaluate

        from pause_jax.interop import harness  # noqa: F401 - registers the model

        cli_evaluate()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(cli.EXIT_USER_ERROR)


if __name__ == "__main__":
    main()

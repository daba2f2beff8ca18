"""Run lm-evaluation-harness on a run: all of its flags, and --model=pause_jax.

    pip install lm-eval==0.4.13
    python -m launch.lm_eval --model=pause_jax --model_args=run=runs/mine,m_inf=10 --tasks=lambada_openai --limit=100
    python -m launch.lm_eval --model=pause_jax --model_args=run=runs/mine,m_inf=0 --tasks=mine --include_path=my_tasks

`run` is a run's folder or RUN/checkpoints/STEP, `m_inf` the number of pauses after each context, `batch_size` the rows
of a batch (it overrides --batch_size), `max_length` the most positions of a text, its pauses and the answer together
(without it, those that the run was trained for).
"""

from __future__ import annotations

import importlib.util
import sys
import traceback
from pathlib import Path


def main() -> None:
    from pause_jax.command_line import cli

    cli.prepare_process()
    if not importlib.util.find_spec("lm_eval"):
        print("error: the harness is not installed: pip install lm-eval==0.4.13", file=sys.stderr)
        sys.exit(cli.EXIT_USER_ERROR)
    from pause_jax.errors import UserError

    try:
        from lm_eval.__main__ import cli_evaluate

        from pause_jax.interop import harness  # noqa: F401 - registers the model

        cli_evaluate()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(cli.EXIT_USER_ERROR)
    except (ValueError, TypeError, OSError) as error:
        if not _is_about_flags(error):
            raise
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(cli.EXIT_USER_ERROR)


def _is_about_flags(error: Exception) -> bool:
    """Whether it was raised where the harness checks its flags and task names: it reports mistakes by tracebacks."""
    frames = [
        f for f in traceback.extract_tb(error.__traceback__) if {"lm_eval", "pause_jax"} & {*Path(f.filename).parts}
    ]
    if not frames:
        return False
    file = Path(frames[-1].filename)
    return file.parent.name in ("config", "_cli") or (file.name, frames[-1].name) == ("evaluator.py", "simple_evaluate")


if __name__ == "__main__":
    main()

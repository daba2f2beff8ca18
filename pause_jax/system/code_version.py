"""The version of this code, for the records of runs."""

from __future__ import annotations

import subprocess
from pathlib import Path

from pause_jax import __version__


def code_version() -> str:
    """The commit of the checkout that runs, `+changes` where files differ from it; the package's version elsewhere."""

    def git(*arguments: str) -> str:
        command = ["git", *arguments]  # whichever git the user has
        done = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=True)  # noqa: S603
        return done.stdout.strip()

    try:
        git("ls-files", "--error-unmatch", "../__init__.py")  # raises where it is installed inside another checkout
        changed = git("status", "--porcelain", "--untracked-files=no")
        return git("rev-parse", "--short=12", "HEAD") + ("+changes" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return f"pause_jax {__version__}"

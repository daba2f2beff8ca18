"""The packages and the long description: pyproject.toml has all else.

It cannot say that launch/ is installed as pause_jax.launch and experiments/ as pause_jax/installed/experiments, whose
parent is put into sys.path where configs import them (pause_jax/command_line/installed.py).
"""

import re
from pathlib import Path

from setuptools import find_packages, setup

EXPERIMENTS = find_packages(include=["experiments", "experiments.*"])


def long_description() -> str:
    """README.md without relative pictures and links, which lead nowhere on a page of a package index."""
    text = Path(__file__).with_name("README.md").read_text(encoding="utf-8")
    text = re.sub(r"!\[[^]]*\]\((?!https?:)[^)]*\)\n*", "", text)
    return re.sub(r"\[([^]]+)\]\((?!https?:)[^)]*\)", r"\1", text)


setup(
    packages=[
        *find_packages(include=["pause_jax", "pause_jax.*"]),
        "pause_jax.launch",
        *(f"pause_jax.installed.{name}" for name in EXPERIMENTS),
    ],
    package_dir={"pause_jax.launch": "launch", "pause_jax.installed.experiments": "experiments"},
    long_description=long_description(),
    long_description_content_type="text/markdown",
)

"""The packages: pyproject.toml has all else, but cannot say that launch/ is installed as pause_jax.launch."""

from setuptools import find_packages, setup

setup(
    packages=[*find_packages(include=["pause_jax", "pause_jax.*"]), "pause_jax.launch"],
    package_dir={"pause_jax.launch": "launch"},
)

"""Reporting runs on machines that have neither jax nor TensorFlow, and loads nothing heavy before it is used."""

from __future__ import annotations

import subprocess
import sys

HEAVY = ["jax", "tensorflow", "torch", "ml_collections", "matplotlib", "tensorboard", "rich", "scipy"]


def test_importing_reporting_imports_nothing_heavy():
    code = (
        "import sys; from pause_jax.report import comparisons, html, plots, report, result_plots, results, statistics, "
        "tables; from pause_jax.logging import progress, writers; "
        f"print([name for name in {HEAVY} if name in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "[]"

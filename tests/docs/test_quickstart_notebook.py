"""docs/quickstart.ipynb runs from its first cell to its last, in a kernel of its own and an empty folder."""

from __future__ import annotations

import os
import re

import pytest

from tests.published_commands import ROOT


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_notebook(tmp_path):
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    notebook = nbformat.read(ROOT / "docs" / "quickstart.ipynb", as_version=4)
    nbformat.validate(notebook)
    assert not any(cell.get("outputs") for cell in notebook.cells)  # nothing stale is shown
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"}
    environment.pop("XLA_FLAGS", None)  # one device, as a reader has it
    client = nbclient.NotebookClient(notebook, timeout=1200, startup_timeout=300, kernel_name="python3")
    client.execute(cwd=str(tmp_path), env=environment)
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    printed = "".join(output.get("text", "") for output in outputs)
    assert "10 pauses: " in printed and "loss" in printed
    percents = {m_ft: values for m_ft, values in re.findall(r"finetuned with (\d) pauses: (.*)", printed)}
    assert percents.keys() == {"0", "8"}
    assert all(len(re.findall(r"\d+: [\d.]+ %", values)) == 5 for values in percents.values())
    assert any("image/png" in output.get("data", {}) for output in outputs)

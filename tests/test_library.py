"""pause_jax in other people's notebooks: docs/library.ipynb runs from its first cell to its last."""

import os
from pathlib import Path

import pytest

from tests.interop.runs import LLAMA, make_run

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
def test_the_notebook(tmp_path):
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    notebook = nbformat.read(ROOT / "docs" / "library.ipynb", as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells)  # nothing stale is shown
    environment = {**os.environ, "RUN": str(make_run(tmp_path / "run", **LLAMA).path), "PYTHONPATH": str(ROOT)}
    nbclient.NotebookClient(notebook, timeout=300, kernel_name="python3").execute(cwd=str(tmp_path), env=environment)
    printed = ["".join(output.get("text", "") for output in cell.get("outputs", ())) for cell in notebook.cells]
    assert "10 pauses: " in printed[3] and printed[5].count("\n") == 3
    assert "_" in printed[8] and "think" in printed[8].replace("_", "")


def test_what_docs_runs_md_says_in_python(tmp_path):
    """The page's own code, one block after the other."""
    run = make_run(tmp_path / "run", num_pause_tokens=2, **LLAMA)
    scope = {"RUN": str(run.path)}
    for block in (ROOT / "docs" / "runs.md").read_text().split("```python\n")[1:]:
        exec(block.split("```")[0], scope)
    model = run.config().model
    assert scope["logits"].shape == (len("def f(x):") + 2, model.vocab_size) and scope["nats"] > 0
    assert scope["token_table"].shape == (model.vocab_size, model.d_model)
    assert scope["pauses"].shape == (2, model.d_model)

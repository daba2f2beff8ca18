"""The same folder by Apache Beam, on the runner that works in this process."""

from __future__ import annotations

import pytest

pytest.importorskip("apache_beam", reason="Apache Beam has an environment of its own: make beam")

from pause_jax.data import beam, prepare, splits
from pause_jax.errors import UserError
from tests.data.test_prepare import contents, prepare_here, scan_all, write_lines

RUNNER = "--runner=FnApiRunner"  # DirectRunner would look for a binary to download


def test_beam_makes_the_same_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(splits, "RANGE_BYTES", 500)
    data = write_lines(tmp_path / "a.jsonl", [f"text {i}" * 5 for i in range(100)])
    prepare_here(tmp_path / "here", data)
    folder = tmp_path / "beam"
    units = prepare.begin(folder, data, prepare.describe(data), scan_all(data), skip_bad=False)
    beam.run_units(units, RUNNER)
    prepare.finish(folder, units)
    assert contents(folder) == contents(tmp_path / "here")


def test_a_mistake_in_the_text_comes_out_of_beam_as_it_was(tmp_path):
    data = write_lines(tmp_path / "a.jsonl", [f"text {i}" for i in range(200)])
    units = prepare.begin(tmp_path / "out", data, prepare.describe(data), scan_all(data), skip_bad=False)
    with (tmp_path / "a.jsonl").open("r+") as file:
        file.seek(0)
        file.write("[")
    with pytest.raises(UserError, match=r"^\S*a\.jsonl, line 1: broken JSON \(.*one JSON object, or leave .*skip$"):
        beam.run_units(units, RUNNER)

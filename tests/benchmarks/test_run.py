"""The program: which benchmarks, what is written, how it ends."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import types
from pathlib import Path

import pytest
from absl import flags

import benchmarks
from benchmarks import machine, measure, registry
from benchmarks import run as program
from benchmarks.measure import Pair
from benchmarks.registry import ENTRIES, Entry, select
from pause_jax.errors import UserError

ROOT = Path(__file__).parents[2]
SIX = {"ours", "peer", "ratio", "goal", "unit", "holds"}


def entry(name, goal=1.0):
    return Entry(name, "s/sum", goal, lambda: Pair(lambda: sum(range(1000)), lambda: sum(range(1000))))


@pytest.fixture
def quick(monkeypatch):
    """Entries that take no time: one whose goal always holds, one whose goal never does."""
    monkeypatch.setattr(registry, "ENTRIES", (entry("good/sum", goal=1e9), entry("bad/sum", goal=0.0)))
    monkeypatch.setattr(program, "measure", lambda pair, **k: measure.measure(pair, **k | {"min_seconds": 1e-4}))
    monkeypatch.setattr(os, "environ", os.environ.copy())


@pytest.fixture
def start(monkeypatch):
    """Calls main with the program's flags, but for their parsing."""

    def start(*, only="", out=None, append=False):
        values = flags.FlagValues()
        flags.DEFINE_string("only", only, "", flag_values=values)
        flags.DEFINE_string("out", out, "", flag_values=values)
        flags.DEFINE_enum("device", "cpu", ["cpu", "gpu", "tpu"], "", flag_values=values)
        flags.DEFINE_bool("append", append, "", flag_values=values)
        values(["program"])
        monkeypatch.setattr(program, "FLAGS", values)
        return program.main(["program"])

    return start


def test_names_are_unique_and_units_are_seconds_of_something():
    names = [entry.name for entry in ENTRIES]
    assert len(set(names)) == len(names)
    assert {name.partition("/")[0] for name in names} >= {"train_step", "prefill", "decode", "batch"}
    assert all(entry.unit.startswith("s/") and (entry.goal is None or entry.goal > 0) for entry in ENTRIES)
    assert all(entry.repeats >= 5 for entry in ENTRIES if entry.goal is not None)


def test_only_is_the_beginning_of_names():
    entries = [entry("a/x"), entry("a/y"), entry("b/a")]
    assert [e.name for e in select(entries, "a")] == ["a/x", "a/y"]
    assert select(entries, "") == entries
    with pytest.raises(UserError, match=r"--only=x is the beginning of no benchmark's name: there are a/x, a/y, b/a$"):
        select(entries, "x")


def test_a_missing_peer_is_told_before_anything_is_measured():
    needs = dataclasses.replace(entry("a/x"), packages=("no_such_package",))
    with pytest.raises(UserError, match=r"a/x .* no_such_package, which is not installed: pip install -r req"):
        select([needs], "a")
    assert select([needs, entry("b/y")], "b")


def test_results_table_and_exit_code(quick, start, tmp_path, capsys):
    out = tmp_path / "results.json"
    assert start(only="good", out=str(out)) == 0
    assert start(out=str(out)) == 1  # one goal does not hold; all are written
    results = json.loads(out.read_text())
    assert list(results) == ["good/sum", "bad/sum"]
    assert all(set(result) >= SIX for result in results.values())
    assert [result["holds"] for result in results.values()] == [True, False]
    assert (results["bad/sum"]["unit"], results["bad/sum"]["goal"]) == ("s/sum", 0.0)
    printed = capsys.readouterr().out
    assert "bad/sum" in printed and "NO" in printed
    assert "16/16  100 %" in printed


@pytest.mark.parametrize("out", ["{tmp}", "{tmp}/none/results.json"])
def test_a_file_that_cannot_be_written_is_told_at_once(quick, start, tmp_path, out):
    with pytest.raises(UserError, match=r"^--out=.* cannot be written"):
        start(out=out.format(tmp=tmp_path))


def test_history_gets_a_line_a_run(quick, start, tmp_path, monkeypatch):
    history = tmp_path / "history.jsonl"
    monkeypatch.setattr(program, "HISTORY", history)
    start(only="good")
    assert not history.exists()
    start(only="good", append=True)
    first = history.read_text()
    start(append=True)
    assert history.read_text().startswith(first)
    lines = [json.loads(line) for line in history.read_text().splitlines()]
    assert [list(line["results"]) for line in lines] == [["good/sum"], ["good/sum", "bad/sum"]]
    assert set(lines[0]) == {"date", "commit", "machine", "versions", "results"}
    assert lines[0]["date"].endswith("+00:00")
    assert set(lines[0]["machine"]) == {"cpu", "cores", "memory_gib", "device", "load_before"}


def test_entries_of_one_pair_are_one_measurement_with_facts_and_mfu(monkeypatch, start, tmp_path):
    made = []

    def make_pair():
        made.append(None)
        return Pair(
            lambda: measure.Seconds(2.0),
            lambda: measure.Seconds(4.0),
            flops=6e9,
            facts={"peer_is": "eager"},
            others={"ours_bfloat16": lambda: measure.Seconds(1.0)},
        )

    peak = types.ModuleType("benchmarks.peak")
    peak.matmul_flops_per_second = {"float32": 5e9}.get
    monkeypatch.setitem(sys.modules, "benchmarks.peak", peak)
    monkeypatch.setattr(benchmarks, "peak", peak, raising=False)
    common = {"unit": "s/step", "goal": 0.5, "make_pair": make_pair, "min_seconds": 0.0}
    entries = (
        Entry("step/float32", dtype="float32", mfu_goal=0.6, **common),
        Entry("step/lazy", dtype="float32", mfu_goal=0.61, **common),
        Entry("step/fastest", ours=("ours", "ours_bfloat16"), **common),
    )
    monkeypatch.setattr(registry, "ENTRIES", entries)
    monkeypatch.setattr(os, "environ", os.environ.copy())
    assert start(out=str(tmp_path / "results.json")) == 1
    results = json.loads((tmp_path / "results.json").read_text())
    assert len(made) == 1 and all(result["peer_is"] == "eager" for result in results.values())
    float32, lazy, fastest = results.values()
    assert (float32["ratio"], float32["mfu"], float32["peer_mfu"], float32["holds"]) == (0.5, 0.6, 0.3, True)
    assert (lazy["mfu"], lazy["holds"]) == (0.6, False)
    assert fastest["ratio"] == 0.25 and "mfu" not in fastest


@pytest.mark.parametrize(("load", "said"), [(0.4, False), (0.6, True)])
def test_a_busy_machine_is_told(quick, start, monkeypatch, capsys, load, said):
    monkeypatch.setattr(program, "load", lambda: load)
    start(only="good")
    assert ("the machine was busy (load 0.6 at the start)" in capsys.readouterr().out) is said


def test_machine_and_versions():
    described = machine.machine()
    assert described["cpu"]
    assert 1 <= described["cores"] <= (os.cpu_count() or 1)
    assert described["memory_gib"] > 0.1
    assert machine.versions()["python"] == ".".join(map(str, sys.version_info[:3]))
    assert {"jax", "tensorflow"} <= set(machine.versions())


def test_nothing_heavy_is_imported_before_an_entry_runs():
    code = (
        "import sys; from benchmarks import run; "
        "print([n for n in ('jax', 'tensorflow', 'torch', 'matplotlib') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_mistake_is_one_sentence():
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.run", "--only=x"], cwd=ROOT, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: --only=x ") and done.stderr.count("\n") == 1


@pytest.mark.slow
def test_the_program_measures_one_benchmark(tmp_path):
    out = tmp_path / "results.json"
    command = [sys.executable, "-m", "benchmarks.run", "--only=batch/step_1000000", f"--out={out}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=500)
    assert done.returncode in (0, 1), done.stderr  # how busy the machine is must not decide a test
    assert done.stderr == ""
    (result,) = json.loads(out.read_text()).values()
    assert set(result) >= SIX
    assert done.returncode == (0 if result["ratio"] <= 1.2 else 1)
    assert 0 < result["ratio_min"] <= result["ratio"] <= result["ratio_max"] < 5  # a pipeline that walks: thousands

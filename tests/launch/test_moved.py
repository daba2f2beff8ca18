"""What people do between the programs: a model from elsewhere, several stages, and everything moved on the way."""

from __future__ import annotations

import csv
import json
import os
import shutil

import pytest

from pause_jax.interop import tokenizers
from pause_jax.report.results import read_results
from tests.interop.runs import LLAMA, make_run
from tests.programs import ROOT, assert_one_sentence, program

SMALL = [
    "--config.data.length=32",
    "--config.train.batch_size=8",
    "--config.train.steps=2",
    "--config.run.log_every=1",
    "--config.run.validation_batches=1",
    "--config.run.loggers=jsonl",
    "--config.optimizer.warmup_steps=1",
]
TASK = [
    "--config.finetune.task=recall_2",
    "--config.finetune.m_ft=2",
    "--config.finetune.max_prompt_length=16",
    "--config.finetune.target_length=4",
    "--config.pauses.rate=0",
]


@pytest.fixture
def here(tmp_path):
    """Runs programs in a folder of the user's, in which `texts` and a Hugging Face folder `hf` lie."""
    (tmp_path / "work").mkdir()
    (tmp_path / "work/texts").mkdir()
    for i in range(25):
        (tmp_path / f"work/texts/{i}.txt").write_text(f"The quick brown fox number {i} jumps over it.\n" * 20)
    (tmp_path / "experiments").symlink_to(ROOT / "experiments")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}

    def run(name, *arguments, cwd=tmp_path / "work", code=0):
        done = program(name, *arguments, cwd=cwd, env=environment)
        assert done.returncode == code, done.stderr
        return done

    return run


def costs(file):
    with file.open() as opened:
        return {(row["text_tokens"] == "", row["model_flops"] == "") for row in csv.DictReader(opened)}


@pytest.mark.slow
def test_from_an_import_to_a_report_and_again_after_a_move(tmp_path, here):
    """Import, uptrain, finetune, evaluate, report, export; then elsewhere, from another working directory."""
    work = tmp_path / "work"
    exported = make_run(tmp_path / "made", num_pause_tokens=0, **LLAMA)
    here("convert", f"--run={exported.path}", "--to_hf=hf")
    here("convert", "--from_hf=hf", "--workdir=runs/llama")
    here(
        "train",
        f"--config={ROOT}/experiments/uptrain/imported.py:runs/llama",
        "--workdir=runs/up",
        *SMALL,
        "--config.data.files=texts/*.txt",
        "--config.optimizer.pause_only_steps=0",
    )
    tune = [f"--config={ROOT}/experiments/quickstart.py:pause", *SMALL, *TASK, "--config.init_from=runs/up"]
    told = here("train", *tune, "--workdir=runs/ft").stdout
    assert "model and tokenizer are those of runs/up" in told and "attention is 'causal'" in told
    wanted = {}
    for name in ("llama", "up", "ft"):
        m_inf = "0" if name == "llama" else "0,2"
        here("evaluate", f"--run=runs/{name}", "--tasks=recall_2", f"--m_inf={m_inf}", "--limit=8", f"--out={name}.csv")
        wanted[name] = read_results(work / f"{name}.csv")
        assert costs(work / f"{name}.csv") == {(True, True)}
    assert {(r.pretrain, r.pretrain_rate, r.pretrain_steps) for r in wanted["ft"]} == {("pause", 0.1, "0|2")}
    here("report", "--results=ft.csv,up.csv,llama.csv", "--out=report")
    here("convert", "--run=runs/ft", "--to_hf=out", "--results=ft.csv")
    assert "/" not in (work / "out/README.md").read_text().split("## Training")[1].split("## Results")[0].replace(
        "tokenizer.json", ""
    )

    (work / "runs").rename(tmp_path / "moved")
    shutil.rmtree(tmp_path / "moved/llama")  # and what all began with is gone
    shutil.rmtree(tmp_path / "moved/ft/predictions")
    (tmp_path / "moved/elsewhere").mkdir()
    elsewhere = {"cwd": tmp_path / "moved/elsewhere"}
    for name in ("up", "ft"):
        here(
            "evaluate",
            f"--run=../{name}",
            "--tasks=recall_2",
            "--m_inf=0,2",
            "--limit=8",
            f"--out={name}.csv",
            **elsewhere,
        )
        assert [repr(r) for r in read_results(tmp_path / f"moved/elsewhere/{name}.csv")] == [*map(repr, wanted[name])]
    here("report", "--results=ft.csv,up.csv", "--out=report", **elsewhere)
    here("convert", "--run=../ft", "--to_hf=out", "--results=ft.csv", **elsewhere)
    assert (tmp_path / "moved/elsewhere/out/model.safetensors").read_bytes() == (
        work / "out/model.safetensors"
    ).read_bytes()
    assert here("generate", "--run=../ft", "--prompt=ab", "--max_new_tokens=2", **elsewhere).stdout.startswith("ab")
    here("diagnose", "--run=../ft", "--task=recall_2", "--m_inf=2", "--examples=4", "--out=page", **elsewhere)
    longer = [*tune[:-1], "--config.train.steps=3", "--workdir=../ft"]
    assert "trained to step 3" in here("train", *longer, "--config.init_from=../up", **elsewhere).stdout
    lost = here("train", *longer, "--config.init_from=runs/up", code=2, **elsewhere)
    assert_one_sentence(lost, r"config\.init_from = 'runs/up' holds no run: .* where the run has been moved, give its")


@pytest.mark.slow
def test_a_sweep_that_was_moved_goes_on(tmp_path, here):
    sweep = (ROOT / "tests/launch/test_sweep.py").read_text().split('SWEEP = """')[1].split('"""')[0]
    (tmp_path / "tiny.py").write_text(sweep)
    config = f"--config={tmp_path}/tiny.py:1,recall_2"
    here("sweep", config, "--workdir=sweep", "--workers=1")
    before = read_results(tmp_path / "work/sweep/results.csv")
    (tmp_path / "work/sweep").rename(tmp_path / "moved")
    again = here("sweep", config, f"--workdir={tmp_path}/moved", "--workers=1").stdout
    assert "6 of 6 jobs done" in again and "start-up" not in again  # all were found
    more = here("sweep", config.replace("recall_2", "recall_2+recall_3"), f"--workdir={tmp_path}/moved", "--workers=1")
    assert "10 of 10 jobs done" in more.stdout
    rows = [repr(row) for row in read_results(tmp_path / "moved/results.csv")]
    assert {repr(row) for row in before} <= set(rows) and len(rows) > len(before)
    for file in (tmp_path / "moved/runs").glob("*/config.json"):
        assert str(tmp_path) not in json.dumps(json.loads(file.read_text()))
    run = next(folder for folder in (tmp_path / "moved/runs").iterdir() if folder.name.startswith("finetune"))
    here("evaluate", f"--run={run}", "--tasks=recall_2", "--limit=4", "--out=again.csv")


@pytest.mark.slow
def test_ones_own_text_and_tokenizer_from_another_working_directory(tmp_path, here):
    """The text is moved and named anew, the tokenizer is gone: the run has it."""
    work = tmp_path / "work"
    (work / "words").mkdir()
    tokenizers.write("byte", [], work / "words", max_length=64)
    small = [
        f"--config={ROOT}/experiments/quickstart.py:pause",
        *SMALL,
        "--config.model.num_layers=1",
        "--config.model.d_model=16",
        "--config.model.num_heads=2",
        "--config.model.d_ff=16",
    ]
    here(
        "train",
        *small,
        "--workdir=runs/mine",
        "--config.data.files=texts/*.txt",
        "--config.data.vocabulary=words/tokenizer.json",
    )
    shutil.rmtree(work / "words")
    (work / "runs/mine").rename(tmp_path / "mine")
    (work / "texts").rename(tmp_path / "library")
    longer = [*small, "--config.train.steps=4", "--workdir=mine", "--config.data.vocabulary=words/tokenizer.json"]
    done = here("train", *longer, "--config.data.files=library/*.txt", cwd=tmp_path)
    assert "trained to step 4" in done.stdout
    (tmp_path / "library/0.txt").write_text("another text\n" * 30)
    other = here("train", *longer, f"--config.data.files={tmp_path}/library/*", cwd=tmp_path, code=2)
    assert_one_sentence(other, r"holds another run, as other data lies in config\.data\.files: ")
    said = here("generate", "--run=.", "--prompt=The", "--max_new_tokens=2", cwd=tmp_path / "mine")
    assert said.stdout.startswith("The")
    written = here(
        "evaluate", "--run=.", "--tasks=addition_1", "--limit=4", "--out=deep/in/rows.csv", cwd=tmp_path / "mine"
    )
    assert "mine/checkpoints/4" in written.stdout
    (tmp_path / "mine/rows").mkdir()
    before = sorted(tmp_path.rglob("predictions/**/*"))
    refused = here(
        "evaluate", "--run=.", "--tasks=addition_1", "--limit=3", "--out=rows", cwd=tmp_path / "mine", code=2
    )
    assert_one_sentence(refused, r"rows cannot be")
    assert sorted(tmp_path.rglob("predictions/**/*")) == before

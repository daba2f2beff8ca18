"""The evaluation program: mistakes before any work; and standard pretraining, pause finetuning, evaluation in a row."""

from __future__ import annotations

import dataclasses
import json
import math
import re
import shutil
import signal
import subprocess
import sys

import pytest

from pause_jax.checkpointing.run_folder import RunFolder
from pause_jax.command_line import cli
from pause_jax.config import Config, DataConfig, FinetuneConfig, MeshConfig, PauseConfig
from pause_jax.errors import UserError
from pause_jax.evaluation import rows
from pause_jax.evaluation import run as evaluation
from pause_jax.evaluation.predictions import PredictionFile
from pause_jax.evaluation.spec import parse_m_inf
from pause_jax.report.results import read_results
from pause_jax.tasks import official
from pause_jax.training import run as train
from tests.distributed.process_groups import free_port, run_all
from tests.evaluations import evaluate
from tests.launch.test_train import OVERRIDES, TINY
from tests.programs import ROOT, assert_one_sentence, program
from tests.small_runs import save_untrained


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "--run is missing"),
        (["--run=nowhere"], "--tasks is missing"),
        (["--run=nowhere", "--tasks=recall_2"], "--out is missing"),
        (["--run=nowhere", "--tasks=recall_2", "--out={tmp}/r.csv"], "nowhere holds no run"),
        (["--run=nowhere", "--tasks=recall_2", "--out={tmp}/r.csv", "--m_inf=1,x"], "--m_inf=1,x is no list of whole"),
        (["--run=nowhere", "--tasks=recall_2", "--out={tmp}/r.csv", "--m_inf=-1"], "--m_inf=-1 is no list of whole"),
        (["--run=nowhere", "--tasks=recall_2", "--out={tmp}/other.csv"], "other columns .*: without model,"),
        (["--run=nowhere", "--tasks=recall_2", "--out={tmp}/r.csv", "--limit=0"], "--limit=0 leaves nothing"),
        (["--run=nowhere", "--tasks=recall_2", "--out={tmp}/r.csv", "--batch_size=0"], "--batch_size=0 is too small"),
        (["--run=nowhere", "--tasks=recall_2", "--out={tmp}/r.csv", "--mesh=fsdp"], "--mesh=fsdp gives no sizes"),
    ],
)
def test_mistakes(tmp_path, arguments, sentence):
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    assert_one_sentence(program("evaluate", *(a.format(tmp=tmp_path) for a in arguments)), sentence)
    assert not (tmp_path / "r.csv").exists()


def test_numbers_of_pauses():
    assert parse_m_inf("0, 2,2,10") == (0, 2, 10)
    for text in ("", "1.5", "2,,3", "ten"):
        with pytest.raises(UserError, match="no list of whole numbers"):
            parse_m_inf(text)


def test_meshes():
    assert cli.parse_mesh("") == MeshConfig()
    assert cli.parse_mesh("fsdp=4, tensor=2") == MeshConfig(fsdp=4, tensor=2)
    for text in ("fsdp", "fsdp=0", "tensor=-1", "sequence=2", "fsdp=4,,"):
        with pytest.raises(UserError, match="gives no sizes of data, fsdp, tensor"):
            cli.parse_mesh(text)


@pytest.fixture
def run(tmp_path):
    """A run of one step's parameters, never trained, with the official GSM8K prompts cut to 16 tokens."""
    finetune = FinetuneConfig(task="gsm8k", m_ft=(2,), attention="causal", max_prompt_length=16, target_length=4)
    config = train.resolve(
        Config(
            model=dataclasses.replace(TINY, num_pause_tokens=1),
            data=DataConfig(length=32),
            pauses=PauseConfig(rate=0.0),
            finetune=finetune,
        )
    )
    folder = RunFolder(tmp_path / "run")
    save_untrained(config, folder)
    return folder


def test_rows_of_a_run_whose_beginning_is_not_known(run, tmp_path):
    """Of older code, which kept no record of the run that it started from: that one is gone."""
    config = dataclasses.replace(run.config(), init_from=str(tmp_path / "gone"))
    older = RunFolder(tmp_path / "older")
    older.claim(config, run.manifest())
    (older.path / "history.json").unlink()
    shutil.copy(run.metrics, older.metrics)
    row = rows.training_columns(older, older.config(), 1, "m")
    assert (row["pretrain"], row["pretrain_steps"], row["text_tokens"]) == ("unknown", "unknown", None)
    assert math.isnan(row["model_flops"]) and row["finetune"] == "pause"
    known = rows.training_columns(run, run.config(), 1, "m")
    assert (known["pretrain"], known["text_tokens"], known["model_flops"]) == ("none", 0, 0.0)
    run.metrics.unlink()  # nor is a lost record a reason to lose rows
    assert rows.training_columns(run, run.config(), 1, "m")["text_tokens"] is None
    assert rows.loss_rows(run, run.config(), "m") == []


M_INF = [0, 2, 5]


def files_of(run):
    return {f.name: f.read_bytes() for f in sorted((run.path / "predictions" / "1").iterdir())}


@pytest.mark.slow
def test_two_processes_give_what_one_gives(run, tmp_path):
    """Each example once: 13 of them in batches of 4 rows, two a process."""
    settings = {"batch_size": 4, "limit": 13}
    alone = evaluate(run.path, ["recall_3"], M_INF, **settings)
    wanted = files_of(run)
    shutil.rmtree(run.path / "predictions")
    command = ["launch.evaluate", f"--run={run.path}", "--tasks=recall_3", "--m_inf=0,2,5", "--limit=13"]
    command += [f"--out={tmp_path}/results.csv", f"--coordinator=localhost:{free_port()}", "--num_processes=2"]
    ended = run_all([[*command, "--batch_size=4", f"--process_id={k}"] for k in range(2)])
    assert [one.code for one in ended] == [0, 0], ended[0].stderr + ended[1].stderr
    assert ["answers: " in one.stdout for one in ended] == [True, False]
    assert read_results(tmp_path / "results.csv") == alone.results
    found = files_of(run)
    assert found.keys() == wanted.keys()
    for name in (name for name in wanted if name.endswith(".jsonl")):
        ours, theirs = ([json.loads(line) for line in files[name].splitlines()] for files in (found, wanted))
        assert [(r["id"], r["prediction"]) for r in ours] == [(r["id"], r["prediction"]) for r in theirs]
    [*_, other] = run_all([[*command, f"--batch_size={4 + k}", f"--process_id={k}"] for k in range(2)])
    assert other.code == 2 and re.search(r"error: process 1 differs from process 0 in --batch_size", other.stderr)


KILLED = """
import os, signal, sys
from pause_jax.evaluation.predictions import PredictionFile
from tests.evaluations import evaluate

add, added = PredictionFile.add, []

def add_and_die(self, records):
    add(self, records)
    added.append(len(records))
    if len(added) == 5:
        with self._partial.open("ab") as file:
            file.write(b'{"id": "torn')
        os.kill(os.getpid(), signal.SIGKILL)

PredictionFile.add = add_and_die
run, data_dir = sys.argv[1:]
evaluate(run, ["gsm8k"], [0, 2, 5], batch_size=16, limit=40, data_dir=data_dir)
"""


INTERRUPTED = """
import sys
from pause_jax.evaluation.predictions import PredictionFile

def interrupted(self, records):
    raise KeyboardInterrupt

PredictionFile.add = interrupted
sys.argv = ["launch/evaluate.py", *sys.argv[1:]]
import runpy
runpy.run_path("launch/evaluate.py", run_name="__main__")
"""


@pytest.mark.slow
def test_an_interrupted_evaluation_says_how_it_goes_on(run, tmp_path):
    command = [sys.executable, "-c", INTERRUPTED, f"--run={run.path}", "--tasks=recall_2", f"--out={tmp_path}/r.csv"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=ROOT)
    assert done.returncode == 130, done.stderr
    assert done.stderr.endswith("interrupted: answers given so far are kept beside the run: the same command goes on\n")
    assert (
        done.stdout.startswith(f"restore {run.path}\nrestored step ") and "read the examples of recall_2" in done.stdout
    )


@pytest.mark.slow
def test_a_killed_evaluation_goes_on_and_gives_the_same(run, data_dir, monkeypatch, capsys):
    """Killed between the second batch of M_inf 2 and that of 5: nothing is answered twice, the files are the same."""
    settings = {"batch_size": 16, "limit": 40, "data_dir": str(data_dir)}
    whole = evaluate(run.path, ["gsm8k"], M_INF, **settings)
    wanted = files_of(run)
    assert set(wanted) == {f"gsm8k.test.first40.m{m}.{end}" for m in M_INF for end in ("jsonl", "about.json")}
    assert whole.truncated == {("gsm8k", "test", m): 40 for m in M_INF}
    lines = [json.loads(line) for line in wanted["gsm8k.test.first40.m2.jsonl"].splitlines()]
    assert [line["id"] for line in lines] == [f"test-{i}" for i in range(1, 41)]
    assert {"prompt", "prediction", "target", "score"} < set(lines[0]) and lines[0]["truncated"] is True

    shutil.rmtree(run.path / "predictions")
    command = [sys.executable, "-c", KILLED, str(run.path), str(data_dir)]
    assert subprocess.run(command, capture_output=True, timeout=300).returncode == -signal.SIGKILL
    left = files_of(run)
    assert {name: content.count(b"\n") - 1 for name, content in left.items()} == {
        f"gsm8k.test.first40.m{m}.jsonl.partial": count for m, count in zip(M_INF, (32, 32, 16), strict=True)
    }
    answered = []
    kept = PredictionFile.add
    monkeypatch.setattr(PredictionFile, "add", lambda self, r: answered.append(len(r)) or kept(self, r))
    again = evaluate(run.path, ["gsm8k"], M_INF, **settings)
    assert again == whole and files_of(run) == wanted
    assert sum(answered) == 3 * 40 - (32 + 32 + 16)
    capsys.readouterr()
    answered.clear()
    assert evaluate(run.path, ["gsm8k"], M_INF, **settings) == whole and not answered
    assert "120/120  100 %" in capsys.readouterr().out
    evaluation.show(whole)
    assert re.search(r"cut prompts.*\n(.*\n)*.*gsm8k .* 40 .* 40 ", capsys.readouterr().out)

    about = run.path / "predictions" / "1" / "gsm8k.test.first40.m2.about.json"
    about.write_text(about.read_text().replace(json.loads(about.read_text())["data"], "other"))
    with pytest.raises(UserError, match=r"m2\.jsonl holds the answers of another evaluation.*differs in data"):
        evaluate(run.path, ["gsm8k"], M_INF, **settings)


@pytest.mark.slow
def test_all_tasks_are_those_whose_files_are_there(run, data_dir, tmp_path, capsys, monkeypatch):
    (tmp_path / "data" / "gsm8k").mkdir(parents=True)
    source = next(path for path in (data_dir / "gsm8k").iterdir() if path.name.startswith("test"))
    (tmp_path / "data" / "gsm8k" / source.name).symlink_to(source)
    monkeypatch.setitem(official._SOURCES, "absent", official.Source("absent", {}, lambda text: iter(())))
    got = evaluate(run.path, ["all"], [2], limit=8, batch_size=8, data_dir=str(tmp_path / "data"))
    assert {row.task for row in got.results} == {"gsm8k"}
    assert re.search(r"not evaluated, as their files for split 'test' are not in .*absent", capsys.readouterr().out)
    with pytest.raises(UserError, match=r"--tasks=all finds no official file for split 'test' in .*empty"):
        evaluate(run.path, ["all"], [2], data_dir=str(tmp_path / "empty"))


@pytest.mark.slow
def test_standard_pretraining_pause_finetuning_evaluation(tmp_path):
    """The standard checkpoint gets a fresh pause vector; every M_inf, task and metric has its row."""
    base, tuned, out = tmp_path / "base", tmp_path / "tuned", tmp_path / "results.csv"
    config = "--config=experiments/quickstart.py"
    result = program("train", f"{config}:standard", f"--workdir={base}", *OVERRIDES, "--config.train.steps=3")
    assert result.returncode == 0, result.stderr
    finetune = [
        "--config.finetune.task=recall_2",
        "--config.finetune.m_ft=0,3",
        "--config.finetune.max_prompt_length=9",
        "--config.finetune.target_length=2",
        "--config.pauses.rate=0",
        "--config.train.steps=4",
    ]
    result = program(
        "train", f"{config}:pause", f"--workdir={tuned}", *OVERRIDES, f"--config.init_from={base}", *finetune
    )
    assert result.returncode == 0, result.stderr
    tasks = ["--tasks=recall_2,addition_1", f"--out={out}", "--limit=40"]
    evaluated = program("evaluate", f"--run={tuned}", *tasks, "--m_inf=0,3")
    assert evaluated.returncode == 0, evaluated.stderr
    assert "recall_2" in evaluated.stdout and "160/160  100 %" in evaluated.stdout
    assert program("evaluate", f"--run={base}", *tasks).returncode == 0

    rows = read_results(out)
    mine = [row for row in rows if row.finetune == "pause"]
    metrics = ("accuracy", "option_accuracy")  # a token is an option's length, whichever
    wanted = [("recall_2", m, metric) for m in (0, 3) for metric in metrics]
    wanted += [("addition_1", m, "accuracy") for m in (0, 3)]  # it has no options
    assert [(r.task, r.m_inf, r.metric) for r in mine] == wanted
    for row in mine:
        assert (row.pretrain, row.m_ft, row.placement, row.n_examples, row.steps) == ("std", "0|3", "append", 40, 4)
        assert row.checkpoint == "tuned/checkpoints/4" and 0 <= row.value <= 100
        assert (row.pretrain_run, row.pretrain_seed) == ("base", "0")
    zero_shot = [row for row in rows if row.finetune == "none"]
    assert {(r.m_inf, r.placement, r.checkpoint) for r in zero_shot} == {(0, "none", "base/checkpoints/3")}
    # all stages: 3 steps of 8 rows of 32 positions before, 4 steps of 8 rows of prompt and target on top
    assert zero_shot[0].text_tokens == 3 * 8 * 32
    assert mine[0].text_tokens == zero_shot[0].text_tokens + 4 * 8 * (8 + 1)  # the EOS is only a target
    assert mine[0].model_flops > zero_shot[0].model_flops
    predictions = (tuned / "predictions" / "4" / "recall_2.test.first40.m3.jsonl").read_text().splitlines()
    assert [json.loads(line)["id"] for line in predictions] == list(range(40))
    assert "prompts are read anew for each M_inf: with attention prefix_and_pauses" in evaluated.stdout
    assert_one_sentence(program("evaluate", f"--run={base}", *tasks, "--m_inf=2"), "--m_inf=2 gives pauses to a model")

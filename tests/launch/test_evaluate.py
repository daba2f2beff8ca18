"""The evaluation program: mistakes before any work; and standard pretraining, pause finetuning, evaluation in a row."""

from __future__ import annotations

import json

import pytest

from launch import evaluate
from pause_jax.errors import UserError
from pause_jax.reporting.results import read_results
from tests.launch.test_train import OVERRIDES, assert_one_sentence, program


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
    ],
)
def test_mistakes(tmp_path, arguments, sentence):
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    assert_one_sentence(program("evaluate", *(a.format(tmp=tmp_path) for a in arguments)), sentence)
    assert not (tmp_path / "r.csv").exists()


def test_numbers_of_pauses():
    assert evaluate.parse_m_inf("0, 2,2,10") == [0, 2, 10]
    for text in ("", "1.5", "2,,3", "ten"):
        with pytest.raises(UserError, match="no list of whole numbers"):
            evaluate.parse_m_inf(text)


@pytest.mark.slow
def test_standard_pretraining_pause_finetuning_evaluation(tmp_path):
    """The standard checkpoint gets a fresh pause vector; every M_inf, task and metric has its row."""
    base, tuned, out = tmp_path / "base", tmp_path / "tuned", tmp_path / "results.csv"
    config = "--config=experiments/quickstart.py"
    result = program("train", f"{config}:standard", f"--workdir={base}", *OVERRIDES, "--config.train.steps=3")
    assert result.returncode == 0, result.stderr
    finetune = ["--config.finetune.task=recall_2", "--config.finetune.m_ft=0,3", "--config.finetune.prefix_length=9",
                "--config.finetune.target_length=2", "--config.pauses.rate=0", "--config.train.steps=4"]  # fmt: skip
    result = program(
        "train", f"{config}:pause", f"--workdir={tuned}", *OVERRIDES, f"--config.init_from={base}", *finetune
    )
    assert result.returncode == 0, result.stderr
    tasks = ["--tasks=recall_2,addition_1", f"--out={out}", "--limit=40"]
    result = program("evaluate", f"--run={tuned}", *tasks, "--m_inf=0,3")
    assert result.returncode == 0, result.stderr
    assert "recall_2" in result.stdout and "160/160  100 %" in result.stdout
    assert program("evaluate", f"--run={base}", *tasks).returncode == 0

    rows = read_results(out)
    mine = [row for row in rows if row.finetune == "pause"]
    metrics = ("accuracy", "option_accuracy", "option_accuracy_per_token")
    wanted = [("recall_2", m, metric) for m in (0, 3) for metric in metrics]
    wanted += [("addition_1", m, "accuracy") for m in (0, 3)]  # it has no options
    assert [(r.task, r.m_inf, r.metric) for r in mine] == wanted
    for row in mine:
        assert (row.pretrain, row.m_ft, row.placement, row.n_examples, row.steps) == ("std", "0|3", "append", 40, 4)
        assert row.checkpoint == "tuned/checkpoints/4" and 0 <= row.value <= 100
    zero_shot = [row for row in rows if row.finetune == "none"]
    assert {(r.m_inf, r.placement, r.checkpoint) for r in zero_shot} == {(0, "none", "base/checkpoints/3")}
    # all stages: 3 steps of 8 rows of 32 positions before, 4 steps of 8 rows of prompt and target on top
    assert zero_shot[0].text_tokens == 3 * 8 * 32
    assert mine[0].text_tokens == zero_shot[0].text_tokens + 4 * 8 * (8 + 1)  # the EOS is only a target
    assert mine[0].model_flops > zero_shot[0].model_flops
    predictions = (tuned / "predictions" / "4" / "recall_2.test.m3.jsonl").read_text().splitlines()
    assert [json.loads(line)["index"] for line in predictions] == list(range(40))
    assert_one_sentence(program("evaluate", f"--run={base}", *tasks, "--m_inf=2"), "--m_inf=2 gives pauses to a model")

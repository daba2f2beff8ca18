"""The diagnosing program on small runs that were never trained: the page and its files, and mistakes in a sentence."""

from __future__ import annotations

import csv
import dataclasses
import json
import re

import pytest

from pause_jax.checkpointing.run_folder import RunFolder
from pause_jax.config import Config, DataConfig, FinetuneConfig, PauseConfig
from pause_jax.diagnostics import page
from pause_jax.diagnostics.run import diagnose
from pause_jax.errors import UserError
from pause_jax.tasks import synthetic
from pause_jax.training import run as train
from tests.evaluations import evaluate
from tests.launch.test_train import TINY
from tests.programs import assert_one_sentence, program
from tests.small_runs import save_untrained

TASK = "count_parity_5"
FINETUNE = FinetuneConfig(task=TASK, m_ft=(2,), attention="causal", max_prompt_length=7, target_length=2)


@pytest.fixture
def make_run(tmp_path, monkeypatch):
    """A run's folder with the checkpoint of a start; the task has ten examples."""
    monkeypatch.setitem(synthetic.NUM_EXAMPLES, "test", 10)

    def make(num_pause_tokens=1, **finetune):
        model = dataclasses.replace(TINY, num_layers=2, init_std=0.5, max_positions=48)
        config = Config(
            model=dataclasses.replace(model, num_pause_tokens=num_pause_tokens),
            data=DataConfig(length=32),
            pauses=PauseConfig(rate=0.0),
            finetune=dataclasses.replace(FINETUNE, **finetune),
        )
        config, folder = train.resolve(config), RunFolder(tmp_path / "run")
        save_untrained(config, folder)
        return folder.path

    return make


def rows_of(file):
    with file.open(newline="") as lines:
        return list(csv.DictReader(lines))


def test_page_and_tables(make_run, tmp_path):
    findings = diagnose(str(make_run()), TASK, 3, examples=5)
    file = page.write_page(findings, tmp_path / "out")
    html = file.read_text()
    assert html.count("data:image/png;base64,") == 2 and not re.search(r"(src|href)=\"(?!data:)", html)
    assert "never without" in html  # it was finetuned with 2 pauses alone
    for sentence in page.summary(findings):
        assert sentence.split(":")[0] in html.replace("&#39;", "'")
    names = [
        "attention.csv",
        "attention.png",
        "attention_by_pause.csv",
        "diagnosis.html",
        "flips.csv",
        "lens.csv",
        "lens.png",
    ]
    assert sorted(f.name for f in (tmp_path / "out").iterdir()) == names

    attention = rows_of(tmp_path / "out" / "attention.csv")
    assert len(attention) == 5 * 2 * 2  # measures, layers, heads
    by_pause = rows_of(tmp_path / "out" / "attention_by_pause.csv")
    assert len(by_pause) == 2 * 2 * 3
    for row in (row for row in attention if row["measure"] == "answer_to_pauses"):
        mine = [float(r["value"]) for r in by_pause if (r["layer"], r["head"]) == (row["layer"], row["head"])]
        assert sum(mine) == pytest.approx(float(row["value"]), abs=1e-5)
        assert float(row["if_even"]) == pytest.approx(3 / (7 + 3), abs=1e-6)  # of >00000= and three pauses
    lens = rows_of(tmp_path / "out" / "lens.csv")
    assert [(r["layer"], r["position"]) for r in lens[:4]] == [
        ("0", "prompt"),
        ("0", "pause 1"),
        ("0", "pause 2"),
        ("0", "pause 3"),
    ]
    assert len(lens) == 3 * 4 and all(1 <= float(row["mean_rank"]) <= 259 for row in lens)


def test_the_lens_ends_in_what_the_run_answers(make_run):
    """Where an answer's first token is the right one it is the likeliest; prompts do not see pauses."""
    run = make_run()
    findings = diagnose(str(run), TASK, 3, examples=5)
    for position, m_inf in (("prompt", 0), ("pause 3", 3)):
        lines = (run / "predictions" / "1" / f"{TASK}.test.first5.m{m_inf}.jsonl").read_text().splitlines()
        answers = [json.loads(line) for line in lines]
        right = [answer["prediction"][:1] == answer["target"] for answer in answers]
        share = findings.measured.first_N1xL[-1, findings.positions.index(position)]
        assert share == pytest.approx(sum(right) / 5)


@pytest.mark.slow
@pytest.mark.parametrize(
    "finetune",
    [
        {"placement": "prepend", "attention": "prefix_and_pauses"},
        {"placement": "filler", "attention": "prefix_only", "filler": "."},
        {"task": "", "m_ft": (0,)},
    ],
    ids=["prepend", "filler", "pretrained"],
)
def test_placements(make_run, tmp_path, finetune):
    num_pause_tokens = 0 if finetune.get("placement") == "filler" else 1
    findings = diagnose(str(make_run(num_pause_tokens, **finetune)), TASK, 2, examples=3)
    assert "never without" in page.write_page(findings, tmp_path).read_text() or not finetune["task"]
    assert findings.positions == (
        ["pause 1", "pause 2", "prompt"] if finetune.get("placement") == "prepend" else ["prompt", "pause 1", "pause 2"]
    )
    assert findings.measured.even["answer_to_pauses"] == pytest.approx(2 / 9)
    assert findings.flips.examples == 3


def test_answers_that_evaluation_kept_are_used_all(make_run):
    """Ten examples answered before: all are compared, though layers are measured on four; none is answered again."""
    run = make_run()
    evaluate(run, [TASK], [0, 2])
    kept = run / "predictions" / "1" / f"{TASK}.test.m2.jsonl"
    answers = [json.loads(line) for line in kept.read_text().splitlines()]
    for answer in answers:
        answer["score"], answer["prediction"] = 100.0, "kept <b>"
    kept.write_text("".join(json.dumps(answer) + "\n" for answer in answers))
    without = [json.loads(line) for line in (kept.parent / f"{TASK}.test.m0.jsonl").read_text().splitlines()]
    wrong = [answer["id"] for answer in without if answer["score"] < 100]
    findings = diagnose(str(run), TASK, 2, examples=4)
    assert wrong and [flip.id for flip in findings.flips.flips] == wrong
    assert findings.flips.to_right == len(wrong) and findings.flips.examples == 10
    assert len(findings.first_tokens) == 4
    assert not list(kept.parent.glob("*first4*"))


@pytest.mark.parametrize(
    ("finetune", "arguments", "sentence"),
    [
        ({}, ("nowhere", TASK, 1), "nowhere holds no run"),
        ({}, ("{run}", "cuont_parity_5", 1), "cuont_parity_5"),
        ({"num_pause_tokens": 0, "m_ft": (0,)}, ("{run}", TASK, 1), "has no pauses: there is nothing to diagnose"),
        ({}, ("{run}", TASK, 41), "41 pauses and 2 new tokens need 49 positions, but the model has learned 48"),
    ],
    ids=["run", "task", "pauses", "positions"],
)
def test_mistakes_before_any_work(make_run, finetune, arguments, sentence):
    run = make_run(**finetune)
    with pytest.raises(UserError, match=sentence):
        diagnose(arguments[0].format(run=run), *arguments[1:])
    assert not (run / "predictions").exists()


def test_a_task_that_is_scored_only(make_run, data_dir):
    with pytest.raises(UserError, match="'piqa' is answered by the likelihood of given options"):
        diagnose(str(make_run()), "piqa", 1, split="validation", data_dir=str(data_dir))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "--run is missing"),
        (["--run=nowhere"], "--task is missing"),
        (["--run=nowhere", f"--task={TASK}"], "--out is missing"),
        (["--run=nowhere", f"--task={TASK}", "--out={tmp}/out"], "--m_inf is missing: give 1 or more"),
        (["--run=nowhere", f"--task={TASK}", "--out={tmp}/out", "--m_inf=0"], "--m_inf=0 leaves no pauses"),
        (["--run=nowhere", f"--task={TASK}", "--out={tmp}/out", "--m_inf=2", "--examples=0"], "--examples=0 leaves"),
        (["--run=nowhere", f"--task={TASK}", "--out={tmp}/file", "--m_inf=2"], "file is a file: give a folder"),
        (["--run=nowhere", f"--task={TASK}", "--out={tmp}/out", "--m_inf=2"], "nowhere holds no run"),
    ],
)
def test_mistakes_in_the_command(tmp_path, arguments, sentence):
    (tmp_path / "file").write_text("mine")
    assert_one_sentence(program("diagnose", *(a.format(tmp=tmp_path) for a in arguments)), sentence)
    assert not (tmp_path / "out").exists() and (tmp_path / "file").read_text() == "mine"


@pytest.mark.slow
def test_the_program(make_run, tmp_path):
    result = program(
        "diagnose", f"--run={make_run()}", f"--task={TASK}", "--m_inf=2", f"--out={tmp_path}/out", "--examples=3"
    )
    assert result.returncode == 0, result.stderr
    assert f"page: {tmp_path}/out/diagnosis.html" in result.stdout and "100 %" in result.stdout
    assert (tmp_path / "out" / "diagnosis.html").is_file()

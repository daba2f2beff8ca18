"""lm-evaluation-harness on a run: its numbers against our evaluator's, and against one-by-one computation."""

from __future__ import annotations

import importlib.util
import json
import re

import numpy as np
import pytest

from launch import lm_eval
from pause_jax.command_line import cli
from pause_jax.config import MeshConfig
from pause_jax.errors import UserError
from pause_jax.evaluation.evaluator import evaluate
from pause_jax.inference.restored import RestoredRun
from pause_jax.tasks import metrics
from pause_jax.tasks.examples import TaskExamples
from pause_jax.tokenizers import tokenizer
from tests.interop.runs import LLAMA, make_run
from tests.programs import program

pytest.importorskip("lm_eval")

from lm_eval.api.instance import Instance

from pause_jax.interop.harness import PauseModel

WORDS = tokenizer.load("byte")
ITEMS = [{"question": f"{'x' * (i % 9)}{i}=", "choices": [" a", " bb", f" {i}"], "gold": i % 3} for i in range(20)]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("harness") / "run", **LLAMA)


def requests(kind, arguments):
    return [Instance(request_type=kind, doc={}, arguments=one, idx=i) for i, one in enumerate(arguments)]


@pytest.mark.parametrize("m_inf, batch_size", [(0, 3), (7, 3), (7, 16)])
def test_likelihoods_are_those_of_one_by_one_scoring(run, m_inf, batch_size):
    model, restored = (
        PauseModel(str(run.path), m_inf, batch_size),
        RestoredRun.restore(str(run.path), MeshConfig()),
    )
    pairs = [(item["question"] + "  ", choice) for item in ITEMS[:6] for choice in item["choices"]] + [("", "abc")]
    for (context, text), (log_p, is_greedy) in zip(
        pairs, model.loglikelihood(requests("loglikelihood", pairs)), strict=True
    ):
        bare = WORDS.encode(context.rstrip()) or [WORDS.eos_id]
        ids = WORDS.encode(context[len(context.rstrip()) :] + text)
        (prefill,) = restored.prefill([bare], [m_inf], extra_cache_length=len(ids) - 1)
        assert log_p == pytest.approx(restored.score(prefill, [[ids]], option_length=len(ids))[0][0][0], abs=1e-4)
        written = restored.generate([bare], m_inf=m_inf, max_new_tokens=len(ids), eos_id=WORDS.eos_id)[0]
        assert is_greedy == (written == ids)


def test_what_greedy_decoding_writes_is_told_to_be_greedy(run):
    model = PauseModel(str(run.path), 5)
    (answer,) = model.generate_until(requests("generate_until", [("def ", {"until": [], "max_gen_toks": 4})]))
    ids = RestoredRun.restore(str(run.path), MeshConfig()).generate(
        [WORDS.encode("def ")], m_inf=5, max_new_tokens=4, eos_id=WORDS.eos_id
    )[0]
    assert answer == WORDS.decode(ids)
    pairs = [(WORDS.encode("def "), ids), (WORDS.encode("def "), [*ids[:-1], 9])]
    (_, is_greedy), (_, other) = model._in_batches(pairs, model._score)
    assert is_greedy and not other


def test_whole_texts_are_read_in_windows(run):
    """128 positions: a text of 300 tokens is three windows. By hand: each token once, after what its window has."""
    model = PauseModel(str(run.path), 3, 4)
    text = "".join(chr(97 + i % 26) for i in range(300))
    ids, most = WORDS.encode(text), 128 - 3 - 1
    restored = RestoredRun.restore(str(run.path), MeshConfig())
    wanted = 0.0
    for start in range(0, 300, most):
        end = min(start + most, 300)
        context = [WORDS.eos_id] if start == 0 else ids[end - most - 1 : start]
        (prefill,) = restored.prefill([context], [3], extra_cache_length=end - start - 1)
        wanted += restored.score(prefill, [[ids[start:end]]], option_length=end - start)[0][0][0]
    short = WORDS.encode("short")
    (prefill,) = restored.prefill([[WORDS.eos_id]], [3], extra_cache_length=4)
    found = model.loglikelihood_rolling(requests("loglikelihood_rolling", [(text,), ("short",)]))
    assert found == pytest.approx([wanted, restored.score(prefill, [[short]], option_length=5)[0][0][0]], rel=1e-5)


def test_answers_end_where_they_are_told_to(run):
    model = PauseModel(str(run.path), 2)
    free = model.generate_until(requests("generate_until", [("ab", {"until": [], "max_gen_toks": 8})]))[0]
    until = free[3]
    settings = {"until": [until], "max_gen_toks": 8}
    assert model.generate_until(requests("generate_until", [("ab", settings)]))[0] == free.split(until)[0]
    with pytest.raises(UserError, match="a task asks for sampled answers"):
        model.generate_until(requests("generate_until", [("ab", {"do_sample": True})]))


def test_arguments_that_cannot_be(run, tmp_path):
    with pytest.raises(UserError, match="m_inf=x is no whole number"):
        PauseModel(str(run.path), "x")
    with pytest.raises(UserError, match="--model_args has pauses, but a pause_jax model takes run, m_inf, batch"):
        PauseModel(str(run.path), pauses=3)
    with pytest.raises(UserError, match=r"gives pauses, but the run .* has none"):
        PauseModel(str(make_run(tmp_path / "standard", num_pause_tokens=0).path), 3)


def test_what_the_harness_gives_twice_and_what_a_run_has_not(run):
    """Its flags have values where they are not given; --model_args counts. 24 is a folder's name, too."""
    both = {"batch_size": 1, "max_batch_size": None, "device": None}
    model = PauseModel.create_from_arg_string(f"run={run.path},batch_size=8", both)
    assert model._batch_size == 8
    assert PauseModel.create_from_arg_obj({"run": str(run.path)}, both)._batch_size == 1
    with pytest.raises(UserError, match="--model_args has no run: give --model_args=run=RUN"):
        PauseModel.create_from_arg_string("m_inf=0", both)
    with pytest.raises(UserError, match="--model_args has pretrained, but"):
        PauseModel.create_from_arg_string(f"pretrained={run.path}", both)
    with pytest.raises(UserError, match="--model_args has dtype, but"):  # it would change nothing
        PauseModel.create_from_arg_string(f"run={run.path},dtype=bfloat16", both)
    with pytest.raises(UserError, match="24 holds no run"):
        PauseModel.create_from_arg_string("run=24", both)
    with pytest.raises(UserError, match="--apply_chat_template: a pause_jax model has no chat template"):
        model.chat_template(True)


@pytest.mark.parametrize("m_inf", [0, 3])
def test_max_length_bounds_context_pauses_and_answer(run, m_inf):
    """As if the context's beginning had not been there."""
    limited, model = PauseModel(str(run.path), m_inf, max_length=20), PauseModel(str(run.path), m_inf)
    context, answer = "x" * 7 + "0123456789" * 4, " yes"
    kept = context[-(20 - m_inf - len(answer)) :]
    [cut], [whole] = (
        one.loglikelihood(requests("loglikelihood", [(text, answer)]))
        for one, text in ((limited, context), (model, kept))
    )
    np.testing.assert_allclose(cut[0], whole[0], rtol=1e-5)
    assert cut[0] != pytest.approx(model.loglikelihood(requests("loglikelihood", [(context, answer)]))[0][0])
    with pytest.raises(UserError, match=r"max_length=x is no whole number"):
        PauseModel(str(run.path), max_length="x")
    with pytest.raises(UserError, match=r"max_length=4 leaves no room for a text and 3 pauses"):
        PauseModel(str(run.path), 3, max_length=4)


def test_a_learned_table_ends_before_max_length(tmp_path):
    with pytest.raises(UserError, match=r"max_length=129 is more than config\.model\.max_positions = 128"):
        PauseModel(str(make_run(tmp_path / "gpt").path), max_length=129)


@pytest.mark.parametrize(
    "arguments, sentence",
    [
        (["--tasks=no_such_task"], "Tasks not found: no_such_task"),
        ([], "No tasks specified"),
    ],
)
@pytest.mark.slow
def test_mistakes_in_the_harness_own_flags(run, arguments, sentence):
    done = program("lm_eval", "--model=pause_jax", f"--model_args=run={run.path}", *arguments)
    assert done.returncode == 2 and "Traceback" not in done.stderr, done.stderr
    assert sentence in done.stderr.strip().splitlines()[-1]


TASK = """
task: ours
dataset_path: json
dataset_kwargs:
  data_files: {{test: {file}}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{{{question}}}}"
doc_to_choice: "{{{{choices}}}}"
doc_to_target: gold
target_delimiter: ""
metric_list:
  - metric: acc
"""


@pytest.mark.slow
def test_the_harness_finds_what_our_evaluator_finds(run, tmp_path):
    (tmp_path / "items.jsonl").write_text("".join(json.dumps(item) + "\n" for item in ITEMS))
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks" / "ours.yaml").write_text(TASK.format(file=tmp_path / "items.jsonl"))
    found = {}
    for m_inf in (0, 7):
        done = program(
            "lm_eval",
            "--model=pause_jax",
            f"--model_args=run={run.path},m_inf={m_inf}",
            "--tasks=ours",
            f"--include_path={tmp_path}/tasks",
            f"--output_path={tmp_path}/{m_inf}",
        )
        assert done.returncode == 0, done.stderr
        (file,) = (tmp_path / str(m_inf)).rglob("results*.json")
        found[m_inf] = 100 * json.loads(file.read_text())["results"]["ours"]["acc,none"]
    examples = TaskExamples(
        name="ours",
        split="test",
        ids=[str(i) for i in range(20)],
        texts=[item["question"] for item in ITEMS],
        prompts=[WORDS.encode(item["question"]) for item in ITEMS],
        references=["" for _ in ITEMS],
        targets=["" for _ in ITEMS],
        postprocess=lambda text, i: text,
        predict_metrics=[],
        options=[[WORDS.encode(choice) for choice in item["choices"]] for item in ITEMS],
        option_texts=[tuple(item["choices"]) for item in ITEMS],
        labels=[item["gold"] for item in ITEMS],
        score_metrics=[metrics.option_accuracy],
    )
    restored = RestoredRun.restore(str(run.path), MeshConfig())
    outcomes = evaluate(restored, examples, [0, 7], tokenizer=WORDS, batch_size=4)
    wanted = {m: outcome.metrics["option_accuracy"] for m, outcome in zip((0, 7), outcomes, strict=True)}
    assert found == pytest.approx(wanted) and all(0 < value < 100 for value in wanted.values())
    lost = program(
        "lm_eval", "--model=pause_jax", "--model_args=run=nowhere", "--tasks=ours", f"--include_path={tmp_path}/tasks"
    )
    assert lost.returncode == 2 and "Traceback" not in lost.stderr  # the harness logs before it
    assert lost.stderr.strip().splitlines()[-1].startswith("error: nowhere holds no run")
    assert re.search("acc", done.stdout) and np.isfinite(list(found.values())).all()


def test_without_the_harness_it_says_what_to_install(monkeypatch, capsys):
    monkeypatch.setattr(cli, "prepare_process", lambda: None)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SystemExit) as ended:
        lm_eval.main()
    assert ended.value.code == 2
    assert capsys.readouterr().err == "error: the harness is not installed: pip install lm-eval==0.4.13\n"

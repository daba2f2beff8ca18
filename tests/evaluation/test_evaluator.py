"""The evaluator on a run of random parameters: nothing lost, nothing twice, and the same numbers however it is run."""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path

import jax
import numpy as np
import pytest

from pause_jax import pauses, tokenizer, trees
from pause_jax.config import Config, FinetuneConfig, PauseConfig
from pause_jax.distributed import mesh as meshes
from pause_jax.distributed import sharding
from pause_jax.evaluation import metrics
from pause_jax.evaluation.evaluator import TaskExamples, evaluate
from pause_jax.inference.restored import RestoredRun
from pause_jax.model import counts, decoder
from pause_jax.model.config import ModelConfig
from pause_jax.runs import RunFolder

WORDS = tokenizer.load("byte")
MODEL = ModelConfig(vocab_size=WORDS.size, num_layers=1, d_model=16, num_heads=2, d_ff=16, positions="rope")
NUM = 23
PROMPTS = [f"{'x' * (i % 7)}{i}=" for i in range(NUM)]


@functools.cache
def params():
    rng = np.random.default_rng(0)

    def draw(path, leaf):
        scale = 1.0 if path.endswith("embedding") else 0.4
        return (path.endswith("scale") + scale * rng.normal(size=leaf.shape)).astype(np.float32)

    return trees.map_with_path(draw, decoder.abstract_params(MODEL, 1))


def run_of(devices=1, **finetune):
    """A run as restored onto so many devices."""
    settings = {"task": "t", "attention": "causal", "prefix_length": 8, "target_length": 3, **finetune}
    config = Config(model=MODEL, pauses=PauseConfig(n_pauses=1), finetune=FinetuneConfig(**settings))
    mesh = meshes.make_mesh(config.run.mesh, jax.devices()[:devices])
    placed = jax.device_put(params(), sharding.param_shardings(MODEL, 1, mesh))
    return RestoredRun(RunFolder(Path("nowhere")), 1, config, placed)


def examples_of(postprocess=lambda text, i: text):
    """Targets are chosen so that about a third is right: what the model says to every third prompt."""
    said = [RUN_SAYS(i) if i % 3 == 0 else "?" for i in range(NUM)]
    return TaskExamples(
        name="t", split="test", texts=PROMPTS, prompts=[WORDS.encode(p) for p in PROMPTS], references=said,
        targets=said, postprocess=postprocess, predict_metrics=[metrics.accuracy],
        options=[[WORDS.encode(o) for o in ("a", "bb", "c")[: 2 + i % 2]] for i in range(NUM)],
        option_texts=[("a", "bb", "c")[: 2 + i % 2] for i in range(NUM)],
        labels=[i % 2 for i in range(NUM)], score_metrics=[metrics.option_accuracy],
    )  # fmt: skip


@functools.cache
def answers(m_inf):
    """One prompt at a time."""
    run = run_of()
    ids = [run.generate([WORDS.encode(p)[-8:]], m_inf=m_inf, max_new_tokens=3, eos_id=WORDS.eos_id)[0] for p in PROMPTS]
    return [WORDS.decode(one) for one in ids]


def RUN_SAYS(i):
    return answers(2)[i]


@functools.cache
def outcome(batch_size=7, devices=1, m_inf=2):
    return evaluate(run_of(devices), examples_of(), m_inf, tokenizer=WORDS, batch_size=batch_size)


def test_every_example_is_answered_once_and_in_order():
    got = outcome()
    assert [p["index"] for p in got.predictions] == list(range(NUM))
    assert [p["prompt"] for p in got.predictions] == PROMPTS
    assert [p["prediction"] for p in got.predictions] == answers(2)
    said = answers(2)
    right = sum(i % 3 == 0 or said[i].strip() == "?" for i in range(NUM))
    assert got.metrics["accuracy"] == pytest.approx(100 * right / NUM)
    assert [len(p["option_log_p"]) for p in got.predictions] == [2 + i % 2 for i in range(NUM)]


@pytest.mark.parametrize(("batch_size", "devices"), [(1, 1), (64, 1), (7, 8), (64, 8)])
def test_numbers_do_not_depend_on_batch_and_devices(batch_size, devices):
    one, other = outcome(), outcome(batch_size, devices)
    assert one.metrics == other.metrics
    for a, b in zip(one.predictions, other.predictions, strict=True):
        assert a["prediction"] == b["prediction"]
        np.testing.assert_allclose(a["option_log_p"], b["option_log_p"], rtol=1e-4)


def test_progress_counts_each_example_once():
    seen = []
    evaluate(run_of(), examples_of(), 0, tokenizer=WORDS, batch_size=10, done=seen.append)
    assert seen == [10, 10, 3]


def test_postprocessing_gets_the_examples_number():
    got = evaluate(run_of(), examples_of(lambda text, i: RUN_SAYS(i) if i % 3 == 0 else "no"), 0,
                   tokenizer=WORDS, batch_size=64)  # fmt: skip
    assert got.metrics["accuracy"] == pytest.approx(100 * 8 / 23)


def test_placements_see_what_finetuning_saw():
    """Prepended pauses come before the cut prompt, fillers after it; both change the answers from those of none."""
    prompt = [WORDS.encode(p)[-8:] for p in PROMPTS]
    pause = MODEL.vocab_size
    wanted = {
        "prepend": [[pause] * 4 + p for p in prompt],
        "filler": [p + [46] * 4 for p in prompt],
        "append": [p + [pause] * 4 for p in prompt],
    }
    texts = {}
    for placement, contexts in wanted.items():
        run = run_of(placement=placement)
        got = evaluate(run, examples_of(), 4, tokenizer=WORDS, filler=46, batch_size=64)
        ids = run_of().generate(contexts, m_inf=0, max_new_tokens=3, eos_id=WORDS.eos_id)
        texts[placement] = [p["prediction"] for p in got.predictions]
        assert texts[placement] == [WORDS.decode(one) for one in ids]
    assert len({tuple(t) for t in texts.values()} | {tuple(answers(0))}) == 4


def test_flops_are_those_of_prompt_pauses_and_answer():
    got = outcome(m_inf=2)
    total = 0.0
    for prompt, said in zip(PROMPTS, got.predictions, strict=True):
        ids = run_of().generate([WORDS.encode(prompt)[-8:]], m_inf=2, max_new_tokens=3, eos_id=WORDS.eos_id)[0]
        assert WORDS.decode(ids) == said["prediction"]
        length = len(WORDS.encode(prompt)[-8:]) + 2 + len(ids)
        total += counts.forward_flops(MODEL, length, head_positions=len(ids) + 1)
    assert got.inference_flops == pytest.approx(total / NUM)


def test_a_task_without_options_has_no_scores():
    bare = dataclasses.replace(examples_of(), options=[], labels=[])
    got = evaluate(run_of(), bare, 0, tokenizer=WORDS, batch_size=64)
    assert set(got.metrics) == {"accuracy"} and "option_log_p" not in got.predictions[0]


def test_pretrained_runs_read_the_whole_prompt_causally():
    run = run_of(task="", target_length=1, attention="prefix_and_pauses")
    assert run.attention == "causal"
    got = evaluate(run, examples_of(), 1, tokenizer=WORDS, batch_size=64)
    ids = run.generate([WORDS.encode(p) for p in PROMPTS], m_inf=1, max_new_tokens=32, eos_id=WORDS.eos_id)
    assert [p["prediction"] for p in got.predictions] == [WORDS.decode(one) for one in ids]
    assert pauses.bidirectional_length("causal", 3, 1) == 0


def test_options_come_with_the_lengths_of_their_ids_and_texts():
    seen = []
    texts = [(" a", "bbb ", "cc")[: 2 + i % 2] for i in range(NUM)]
    examples = dataclasses.replace(
        examples_of(), option_texts=texts, score_metrics=[lambda targets, scores: seen.extend(scores) or {}]
    )
    evaluate(run_of(), examples, 2, tokenizer=WORDS, batch_size=7)
    assert [[(o.num_tokens, o.num_characters) for o in mine] for mine in seen] == [
        [(1, 1), (2, 3), (1, 2)][: 2 + i % 2] for i in range(NUM)
    ]

"""The evaluator on a run of random parameters: nothing lost, nothing twice, and the same numbers however it is run."""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path

import jax
import numpy as np
import pytest

from pause_jax import trees
from pause_jax.checkpointing.run_folder import RunFolder
from pause_jax.config import Config, FinetuneConfig, MeshConfig
from pause_jax.config.model import ModelConfig
from pause_jax.distributed import mesh as meshes
from pause_jax.distributed import sharding
from pause_jax.errors import UserError
from pause_jax.evaluation.evaluator import check_examples, evaluate
from pause_jax.evaluation.predictions import Predictions
from pause_jax.inference.restored import RestoredRun
from pause_jax.model import counts, decoder
from pause_jax.pauses import downstream
from pause_jax.tasks import metrics
from pause_jax.tasks.examples import TaskExamples
from pause_jax.tokenizers import tokenizer

WORDS = tokenizer.load("byte")
MODEL = ModelConfig(vocab_size=WORDS.size + 1, num_layers=1, d_model=16, num_heads=2, d_ff=16, positions="rope")
NUM = 23
ONE = MeshConfig(data=1)
PROMPTS = [f"{'x' * (i % 7)}{i}=" for i in range(NUM)]


@functools.cache
def params():
    rng = np.random.default_rng(0)

    def draw(path, leaf):
        scale = 1.0 if path.endswith("embedding") else 0.4
        return (path.endswith("scale") + scale * rng.normal(size=leaf.shape)).astype(np.float32)

    return trees.map_with_path(draw, decoder.abstract_params(dataclasses.replace(MODEL, num_pause_tokens=1)))


def run_of(mesh=ONE, model=MODEL, **finetune):
    """A run as restored onto the first devices, as many as the mesh has."""
    settings = {"task": "t", "attention": "causal", "max_prompt_length": 8, "target_length": 3, **finetune}
    config = Config(model=dataclasses.replace(model, num_pause_tokens=1), finetune=FinetuneConfig(**settings))
    made = meshes.make_mesh(mesh, jax.devices()[: mesh.data * mesh.fsdp * mesh.tensor])
    placed = jax.device_put(params(), sharding.param_shardings(dataclasses.replace(MODEL, num_pause_tokens=1), made))
    return RestoredRun(RunFolder(Path("nowhere")), 1, config, placed, made)


def examples_of(postprocess=lambda text, i: text, **changes):
    """Targets are chosen so that about a third is right: what the model says to every third prompt."""
    said = [RUN_SAYS(i) if i % 3 == 0 else "?" for i in range(NUM)]
    made = TaskExamples(
        name="t",
        split="test",
        ids=[f"id-{i}" for i in range(NUM)],
        texts=PROMPTS,
        prompts=[WORDS.encode(p) for p in PROMPTS],
        references=said,
        targets=said,
        postprocess=postprocess,
        predict_metrics=[metrics.accuracy],
        options=[[WORDS.encode(o) for o in ("a", "bb", "c")[: 2 + i % 2]] for i in range(NUM)],
        option_texts=[("a", "bb", "c")[: 2 + i % 2] for i in range(NUM)],
        labels=[i % 2 for i in range(NUM)],
        score_metrics=[metrics.option_accuracy],
    )
    return dataclasses.replace(made, **changes)


def ask(run, prompt, m_inf, max_new_tokens=3):
    """What a run writes after one prompt, alone."""
    ids = run.generate([prompt], m_inf=m_inf, max_new_tokens=max_new_tokens, eos_id=WORDS.eos_id)[0]
    return WORDS.decode(ids)


@functools.cache
def answers(m_inf):
    """One prompt at a time."""
    return [ask(run_of(), WORDS.encode(p)[-8:], m_inf) for p in PROMPTS]


def RUN_SAYS(i):
    return answers(2)[i]


@functools.cache
def outcome(batch_size=7, mesh=ONE, m_inf=2):
    return evaluate(run_of(mesh), examples_of(), [m_inf], tokenizer=WORDS, batch_size=batch_size)[0]


def assert_same(one, other):
    """Answers and metrics; scores to rounding."""
    assert one.metrics == other.metrics
    for a, b in zip(one.predictions, other.predictions, strict=True):
        assert {**a, "option_log_p": None} == {**b, "option_log_p": None}
        np.testing.assert_allclose(a["option_log_p"], b["option_log_p"], rtol=0, atol=1e-4)


def test_every_example_is_answered_once_and_in_order():
    got = outcome()
    assert [p["id"] for p in got.predictions] == [f"id-{i}" for i in range(NUM)]
    assert [p["prompt"] for p in got.predictions] == PROMPTS
    assert [p["prediction"] for p in got.predictions] == answers(2)
    said = answers(2)
    right = [i % 3 == 0 or said[i].strip() == "?" for i in range(NUM)]
    assert got.metrics["accuracy"] == pytest.approx(100 * sum(right) / NUM)
    assert [p["score"] for p in got.predictions] == [100.0 * r for r in right]
    assert [p["m_inf"] for p in got.predictions] == [2] * NUM
    assert [len(p["option_log_p"]) for p in got.predictions] == [2 + i % 2 for i in range(NUM)]
    lengths = [len(p) for p in PROMPTS]
    assert [p["truncated"] for p in got.predictions] == [n > 8 for n in lengths]
    assert [p["prompt_tokens"] for p in got.predictions] == [min(n, 8) for n in lengths]
    assert got.truncated == sum(n > 8 for n in lengths) > 0


MESHES = [MeshConfig(data=8), MeshConfig(data=1, fsdp=4, tensor=2)]


@pytest.mark.parametrize(("batch_size", "mesh"), [(1, ONE), (64, ONE), *((7, m) for m in MESHES)], ids=str)
def test_answers_do_not_depend_on_batch_and_mesh(batch_size, mesh):
    """7 rows on 8 devices, and on 4 times 2: rows of padding fill them."""
    assert_same(outcome(), outcome(batch_size, mesh))


@pytest.mark.parametrize(
    ("attention", "placement"),
    [
        ("causal", "append"),
        ("prefix_only", "append"),
        ("prefix_and_pauses", "append"),
        ("causal", "prepend"),
        ("prefix_only", "filler"),
        ("prefix_and_pauses", "filler"),
    ],
)
def test_several_m_inf_at_once_are_each_as_alone(attention, placement):
    run = run_of(attention=attention, placement=placement)
    assert run.shares_prompts == (attention != "prefix_and_pauses" and placement != "prepend")
    settings = {"tokenizer": WORDS, "filler": 46, "batch_size": 7}
    together = evaluate(run, examples_of(), [0, 5, 2], **settings)
    for m_inf, got in zip([0, 5, 2], together, strict=True):
        assert_same(got, evaluate(run, examples_of(), [m_inf], **settings)[0])
    assert len({tuple(p["prediction"] for p in got.predictions) for got in together}) == 3


def test_scores_equal_those_of_one_row_alone():
    """Options of the batched, sharded scorer against one prompt and one option at a time on one device."""
    got, one = outcome(7, MESHES[1]), run_of()
    for i, prediction in enumerate(got.predictions):
        for k, option in enumerate(examples_of().options[i]):
            (prefill,) = one.prefill([WORDS.encode(PROMPTS[i])[-8:]], [2], extra_cache_length=len(option), bucket=1)
            (((alone,),), _) = one.score(prefill, [[option]], option_length=len(option))
            assert prediction["option_log_p"][k] == pytest.approx(alone, abs=1e-4)


def test_what_is_kept_is_not_answered_again():
    """Of three M_inf, one with no answer yet, one with all and one with some, wherever they come from."""
    settings = {"tokenizer": WORDS, "batch_size": 7}
    whole = evaluate(run_of(), examples_of(), [0, 2, 4], **settings)
    kept = {m: Predictions() for m in (0, 2, 4)}
    kept[2].add(whole[1].predictions)
    kept[4].add(whole[2].predictions[5:20])
    counted = []
    again = evaluate(run_of(), examples_of(), [0, 2, 4], kept=kept, done=lambda *c: counted.append(c), **settings)
    assert again == whole
    assert {m: sum(count for of, count in counted if of == m) for m in (0, 2, 4)} == {0: NUM, 2: 0, 4: NUM - 15}


def test_conversations_go_on_from_what_was_said():
    """Prompts of odd examples hold the answer to the one before them, after each M_inf its own."""

    def render(i, said):
        return PROMPTS[i] if i % 2 == 0 else f"{said[i - 1]}{i}="

    rounds = [list(range(0, NUM, 2)), list(range(1, NUM, 2))]
    examples = examples_of(rounds=rounds, render=render)
    for m_inf, got in zip((0, 2), evaluate(run_of(), examples, [0, 2], tokenizer=WORDS, batch_size=64), strict=True):
        first = answers(m_inf)
        for i, prediction in enumerate(got.predictions):
            prompt = render(i, {i - 1: first[i - 1]})
            assert prediction["prompt"] == prompt
            assert prediction["prediction"] == ask(run_of(), WORDS.encode(prompt)[-8:], m_inf)


def test_a_prompt_beyond_the_learned_positions_is_named():
    """The longest are of 8 tokens, 9 when read whole; the last new token is not read back."""
    learned = {"model": dataclasses.replace(MODEL, positions="learned", max_positions=29)}
    check_examples(run_of(**learned), examples_of(), [19])
    with pytest.raises(UserError, match=r"^task 't', example id-4: a prompt of 6.* 28 .*learned 27"):
        check_examples(run_of(model=dataclasses.replace(learned["model"], max_positions=27)), examples_of(), [20])
    check_examples(run_of(**learned), examples_of(predict_metrics=[]), [20])  # options have two tokens at most
    whole = run_of(task="", model=dataclasses.replace(learned["model"], max_positions=39))
    with pytest.raises(UserError, match=r"a prompt of 9 tokens, 0 pauses and 32 new tokens need 40"):
        check_examples(whole, examples_of(), [0])


def test_progress_counts_each_example_once():
    seen = []
    evaluate(run_of(), examples_of(), [0], tokenizer=WORDS, batch_size=10, done=lambda *count: seen.append(count))
    assert seen == [(0, 10), (0, 10), (0, 3)]


def test_postprocessing_gets_the_examples_number():
    got = evaluate(
        run_of(), examples_of(lambda text, i: RUN_SAYS(i) if i % 3 == 0 else "no"), [0], tokenizer=WORDS, batch_size=64
    )[0]
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
        (got,) = evaluate(run, examples_of(), [4], tokenizer=WORDS, filler=46, batch_size=64)
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
        assert (len(ids), len(WORDS.encode(prompt)[-8:])) == (said["answer_tokens"], said["prompt_tokens"])
        total += counts.forward_flops(MODEL, length, head_positions=len(ids) + 1)
    assert got.inference_flops == pytest.approx(total / NUM)


def test_flops_of_a_task_that_is_scored_are_those_of_all_its_options():
    """The prompt is read once; each option's last token is only asked for, by the head."""
    examples = examples_of(predict_metrics=[])
    (got,) = evaluate(run_of(), examples, [2], tokenizer=WORDS, batch_size=64)
    total = 0.0
    for prompt, options in zip(PROMPTS, examples.options, strict=True):
        length = len(WORDS.encode(prompt)[-8:]) + 2
        read = counts.forward_flops(MODEL, length, 0)
        assert len(options) > 1
        for ids in options:
            total += counts.forward_flops(MODEL, length + len(ids) - 1, len(ids)) - read
        total += read
    assert got.inference_flops == pytest.approx(total / NUM)


def test_flops_count_attention_both_ways():
    """A prompt of 8 and 2 pauses read in both directions is 45 pairs more; with the pauses in front as many."""
    for placement in ("append", "prepend"):
        causal, both = (
            evaluate(
                run_of(placement=placement, attention=attention), examples_of(), [2], tokenizer=WORDS, batch_size=64
            )[0]
            for attention in ("causal", "prefix_and_pauses")
        )
        extra = []
        for old, new in zip(causal.predictions, both.predictions, strict=True):
            prefix = new["prompt_tokens"] + 2
            answers = [
                counts.forward_flops(MODEL, prefix + r["answer_tokens"], r["answer_tokens"] + 1) for r in (old, new)
            ]
            pairs = prefix * (prefix - 1) / 2
            per_pair = 4 * MODEL.num_layers * MODEL.num_heads * MODEL.head_dim
            extra.append(answers[1] - answers[0] + per_pair * pairs)
        assert both.inference_flops - causal.inference_flops == pytest.approx(np.mean(extra))


def test_a_task_without_options_has_no_scores():
    bare = examples_of(options=[], labels=[])
    (got,) = evaluate(run_of(), bare, [0], tokenizer=WORDS, batch_size=64)
    assert set(got.metrics) == {"accuracy"} and "option_log_p" not in got.predictions[0]


def test_a_task_that_is_only_scored_predicts_the_likeliest_option():
    (got,) = evaluate(run_of(), examples_of(predict_metrics=[]), [2], tokenizer=WORDS, batch_size=7)
    assert set(got.metrics) == {"option_accuracy", "option_accuracy_per_token"}
    for i, (mine, both) in enumerate(zip(got.predictions, outcome().predictions, strict=True)):
        np.testing.assert_allclose(mine["option_log_p"], both["option_log_p"], rtol=0, atol=1e-4)
        best = int(np.argmax(mine["option_log_p"]))
        assert mine["prediction"] == ("a", "bb", "c")[best] and mine["score"] == 100.0 * (best == i % 2)
        assert mine["answer_tokens"] == len(mine["prediction"])
    assert np.mean([p["score"] for p in got.predictions]) == pytest.approx(got.metrics["option_accuracy"])


def test_pretrained_runs_read_the_whole_prompt_causally():
    run = run_of(task="", target_length=1, attention="prefix_and_pauses")
    assert run.attention == "causal"
    (got,) = evaluate(run, examples_of(), [1], tokenizer=WORDS, batch_size=64)
    ids = run.generate([WORDS.encode(p) for p in PROMPTS], m_inf=1, max_new_tokens=32, eos_id=WORDS.eos_id)
    assert [p["prediction"] for p in got.predictions] == [WORDS.decode(one) for one in ids]
    assert got.truncated == 0
    assert downstream.prefix_lm_length("causal", 3, 1) == 0


def test_options_come_with_the_lengths_of_their_ids_and_texts():
    seen = []
    texts = [(" a", "bbb ", "cc")[: 2 + i % 2] for i in range(NUM)]
    examples = dataclasses.replace(
        examples_of(), option_texts=texts, score_metrics=[lambda targets, scores: seen.extend(scores) or {}]
    )
    evaluate(run_of(), examples, [2], tokenizer=WORDS, batch_size=7)
    assert [[(o.num_tokens, o.num_characters) for o in mine] for mine in seen] == [
        [(1, 1), (2, 3), (1, 2)][: 2 + i % 2] for i in range(NUM)
    ]

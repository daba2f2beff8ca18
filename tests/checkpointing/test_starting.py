"""Finetuning from a run: its model, tokenizer and pauses, where nothing else is said by hand."""

import dataclasses
import json
import shutil

import pytest

from experiments.finetune import config_of
from pause_jax import config as configs
from pause_jax.checkpointing import starting
from pause_jax.checkpointing.run_folder import RunFolder
from pause_jax.config import Config, DataConfig, FinetuneConfig, ModelConfig
from pause_jax.errors import UserError
from pause_jax.interop import tokenizers
from pause_jax.tokenizers import tokenizer
from pause_jax.training import run as train

MODEL = ModelConfig(
    vocab_size=300,
    num_layers=1,
    d_model=16,
    num_heads=2,
    d_ff=24,
    max_positions=2048,
    positions="rope",
    norm="rmsnorm",
    mlp="swiglu",
    mlp_bias=False,
    attention_bias="none",
    norm_bias=False,
)


def make(folder, origin, num_pause_tokens=0):
    words = folder.parent / "words"
    words.mkdir(exist_ok=True)
    tokenizers.write("byte", [], words, max_length=64)
    model = dataclasses.replace(MODEL, num_pause_tokens=num_pause_tokens)
    config = Config(model=model, data=DataConfig(vocabulary=str(words / "tokenizer.json")))
    run = RunFolder(folder)
    run.claim(config, {"vocabulary": tokenizer.fingerprint(config.data.vocabulary), **origin})
    return run


def taken(config, given=()):
    values, said = starting.from_source(config.to_dict(), given)
    return configs.from_config_dict(values), said


@pytest.mark.parametrize("task", ["gsm8k", "squad_v1"])
@pytest.mark.parametrize("origin", [{}, {"imported_from": "/x/llama"}])
def test_a_paper_task_takes_model_and_tokenizer_of_the_run(tmp_path, task, origin):
    run = make(tmp_path / "run", origin)
    config = config_of(task, "130m,m_ft=10")
    assert taken(config)[1] == []  # from scratch: as the paper has it
    config.init_from = str(run.path)
    found, said = taken(config)
    assert (
        dataclasses.replace(found.model, dtype="float32", num_pause_tokens=0) == MODEL
        and found.model.dtype == config.model.dtype
    )
    assert found.data.vocabulary == str(run.path / "tokenizer.json") and found.model.num_pause_tokens == 1
    assert found.finetune.attention == ("causal" if origin else "prefix_and_pauses")
    assert said[0] == f"model and tokenizer are those of {run.path}" and len(said) == 1 + bool(origin)
    train.resolve(found)


def test_what_is_said_by_hand_stays(tmp_path):
    run = make(tmp_path / "run", {"imported_from": "/x/llama"}, num_pause_tokens=3)
    config = config_of("gsm8k", "toy")
    config.init_from = str(run.path)
    assert taken(config)[0].model.num_pause_tokens == 3
    config.model.norm_eps, config.data.vocabulary = 1e-3, "byte"
    given = ("model.norm_eps", "data.vocabulary", "finetune.attention", "model.num_pause_tokens")
    found, said = taken(config, given)
    assert found.model.norm_eps == 1e-3 and found.data.vocabulary == "byte" and found.model.num_pause_tokens == 1
    assert found.finetune.attention == FinetuneConfig.attention and len(said) == 1


def test_what_is_uptrained_from_an_import_is_read_causally_too(tmp_path):
    make(tmp_path / "llama", {"imported_from": "/x/llama"})
    after = RunFolder(tmp_path / "up")
    source = RunFolder(tmp_path / "llama")
    (source.checkpoints / "0").mkdir(parents=True)
    (source.checkpoints / "0" / "commit_success.txt").touch()
    config = dataclasses.replace(source.config(), init_from=str(source.path))
    after.claim(config, source.manifest() | {"imported_from": ""})
    asked = config_of("gsm8k", "toy")
    asked.init_from = str(after.path)
    assert taken(asked)[0].finetune.attention == "causal"
    (after.path / "history.json").unlink()  # a run of older code
    assert taken(asked)[0].finetune.attention == "causal"


def test_a_source_that_is_not_there(tmp_path):
    config = config_of("gsm8k", "toy")
    config.init_from = str(tmp_path / "gone/checkpoints/3")
    assert taken(config)[1] == []
    with pytest.raises(
        UserError, match=r"init_from = .*gone/checkpoints/3' holds no run: .*gone/config\.json does not"
    ):
        starting.check_source(config.init_from)


def test_training_says_before_it_begins_what_cannot_be_exported():
    config = Config(model=MODEL, finetune=FinetuneConfig(task="recall_2"))
    [note] = train.notes(config)
    assert "cannot be exported to Hugging Face: 'causal' can" in note
    causal = dataclasses.replace(config, finetune=FinetuneConfig(task="recall_2", attention="causal"))
    no_family = dataclasses.replace(config, model=dataclasses.replace(MODEL, mlp="gelu"))
    assert train.notes(causal) == train.notes(no_family) == train.notes(Config()) == []


def test_damaged_values_are_left_to_the_config(tmp_path):
    for values in ({}, {"init_from": 5}, {"init_from": "x", "finetune": 3, "model": {}, "data": {}, "pauses": {}}):
        assert starting.from_source(json.loads(json.dumps(values)), ()) == (values, [])


def test_a_tokenizer_that_is_gone_is_taken_from_the_run(tmp_path):
    run = make(tmp_path / "run", {})
    config = dataclasses.replace(run.config(), data=DataConfig(vocabulary=str(tmp_path / "words/tokenizer.json")))
    assert starting.with_own_tokenizer(config, run) == config
    shutil.rmtree(tmp_path / "words")
    kept = starting.with_own_tokenizer(config, run)
    assert kept.data.vocabulary == str(run.path / "tokenizer.json")
    run.check_config(kept)
    assert starting.with_own_tokenizer(config, RunFolder(tmp_path / "new")) == config

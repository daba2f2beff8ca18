import dataclasses
import json

import pytest

from pause_jax.config import Config, ModelConfig, TrainConfig
from pause_jax.errors import UserError
from pause_jax.runs import RunFolder

CONFIG = Config(train=TrainConfig(steps=10))
DATA = {"train": {"sha256": "abc", "text_tokens": 5}}


@pytest.fixture
def folder(tmp_path):
    run = RunFolder(tmp_path / "run")
    run.claim(CONFIG, DATA)
    return run


def test_records_what_it_was_claimed_with(folder):
    assert folder.config() == CONFIG and folder.manifest() == DATA


def test_the_same_run_or_a_longer_one_may_go_on(folder):
    folder.claim(CONFIG, DATA)
    longer = dataclasses.replace(CONFIG, train=TrainConfig(steps=20), run=dataclasses.replace(CONFIG.run, log_every=1))
    folder.claim(longer, DATA)
    assert folder.config() == longer


@pytest.mark.parametrize(
    "config, data, sentence",
    [
        (
            dataclasses.replace(CONFIG, model=ModelConfig(d_ff=64)),
            DATA,
            r"holds another run, .*config\.model\.d_ff: 512 -> 64",
        ),
        (dataclasses.replace(CONFIG, seed=1), DATA, r"holds another run, .*config\.seed: 0 -> 1"),
        (dataclasses.replace(CONFIG, train=TrainConfig(steps=9)), DATA, r"steps = 9 is less than the 10"),
        (CONFIG, {"train": {"sha256": "other"}}, r"the data .* has changed"),
    ],
)
def test_another_run_is_refused_and_nothing_is_touched(folder, config, data, sentence):
    with pytest.raises(UserError, match=sentence):
        folder.claim(config, data)
    assert folder.config() == CONFIG and folder.manifest() == DATA


def test_no_run_and_a_broken_record_are_named(tmp_path, folder):
    with pytest.raises(UserError, match=r"nothing holds no run: .*config\.json does not exist"):
        RunFolder(tmp_path / "nothing").config()
    for broken in ("{", "[" * 200_000):
        (folder.path / "config.json").write_text(broken)
        with pytest.raises(UserError, match=r"config\.json is not readable as JSON"):
            folder.config()
    (folder.path / "data.json").write_text("[1]")
    with pytest.raises(UserError, match=r"data\.json holds no JSON object"):
        folder.manifest()


def test_a_record_of_unknown_fields_is_named(folder):
    tree = json.loads((folder.path / "config.json").read_text())
    tree["model"]["evil"] = "__import__('os')"
    (folder.path / "config.json").write_text(json.dumps(tree))
    with pytest.raises(UserError, match=r"config\.model\.evil is no field"):
        folder.config()


def test_finished_means_a_checkpoint_of_the_last_step(folder):
    assert not folder.is_finished(CONFIG)
    (folder.checkpoints / "10").mkdir(parents=True)
    assert not folder.is_finished(CONFIG)  # half-written: no commit mark
    (folder.checkpoints / "10" / "commit_success.txt").touch()
    assert folder.is_finished(CONFIG)
    assert not folder.is_finished(dataclasses.replace(CONFIG, train=TrainConfig(steps=11)))

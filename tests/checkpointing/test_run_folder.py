import dataclasses
import json
import shutil
from pathlib import Path

import pytest

from pause_jax.checkpointing import history
from pause_jax.checkpointing.run_folder import RunFolder
from pause_jax.config import Config, DataConfig, ModelConfig, TrainConfig
from pause_jax.errors import UserError
from pause_jax.interop import tokenizers
from pause_jax.tokenizers import tokenizer

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


SOURCE = dataclasses.replace(CONFIG, seed=3)


def source_run(path, step=4):
    """A run with a checkpoint, as far as names tell, and its costs."""
    run = RunFolder(path)
    run.claim(SOURCE, DATA)
    (run.checkpoints / str(step)).mkdir(parents=True)
    (run.checkpoints / str(step) / "commit_success.txt").touch()
    run.metrics.write_text(json.dumps({"step": step, "text_tokens": 70, "model_flops": 7e9}) + "\n")
    return run


@pytest.fixture
def tokenizer_file(tmp_path):
    folder = tmp_path / "tokenizer"
    folder.mkdir()
    tokenizers.write("byte", [], folder, max_length=9)
    return folder / "tokenizer.json"


def test_the_tokenizer_lies_in_the_run(tmp_path, tokenizer_file, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = dataclasses.replace(CONFIG, data=DataConfig(vocabulary="tokenizer/tokenizer.json"))
    mark = tokenizer.fingerprint(str(tokenizer_file))
    run = RunFolder(tmp_path / "run")
    run.claim(config, {"vocabulary": mark})
    shutil.rmtree(tokenizer_file.parent)
    moved = RunFolder(run.path.rename(tmp_path / "moved"))
    monkeypatch.chdir("/")
    assert json.loads((moved.path / "config.json").read_text())["data"]["vocabulary"] == "tokenizer.json"
    assert moved.config().data.vocabulary == str(moved.path / "tokenizer.json")
    moved.check_tokenizer()
    assert tokenizer.fingerprint(moved.config().data.vocabulary) == mark
    moved.check_config(moved.config())
    (moved.path / "tokenizer.json").unlink()
    with pytest.raises(UserError, match=r"the tokenizer of the run .* is not there: put it into .*tokenizer\.json"):
        moved.check_tokenizer()


def test_a_run_of_older_code_finds_its_tokenizer(tmp_path, tokenizer_file, monkeypatch):
    """Recorded as it was given, or, of an import, from the root on, beside the run's config."""
    run = RunFolder(tmp_path / "run")
    run.claim(CONFIG, {"vocabulary": tokenizer.fingerprint(str(tokenizer_file))})
    monkeypatch.chdir("/")
    for recorded in ("tokenizer/tokenizer.json", str(tokenizer_file)):
        set_recorded(run, data={"vocabulary": recorded})
        assert run.config().data.vocabulary == str(tokenizer_file)
        run.check_tokenizer()
    set_recorded(run, data={"vocabulary": "/gone/run/tokenizer.json"})
    for file in tokenizer_file.parent.iterdir():
        shutil.move(file, run.path)
    run.check_tokenizer()


def set_recorded(run, **fields):
    tree = json.loads((run.path / "config.json").read_text())
    for name, value in fields.items():
        tree[name] = tree[name] | value if isinstance(value, dict) else value
    (run.path / "config.json").write_text(json.dumps(tree))


def test_another_tokenizer_is_another_run(tmp_path, tokenizer_file):
    run = RunFolder(tmp_path / "run")
    config = dataclasses.replace(CONFIG, data=DataConfig(vocabulary=str(tokenizer_file)))
    run.claim(config, {"vocabulary": tokenizer.fingerprint(str(tokenizer_file))})
    other = tmp_path / "other" / "tokenizer.json"
    shutil.copytree(tokenizer_file.parent, other.parent)
    run.check_config(dataclasses.replace(config, data=DataConfig(vocabulary=str(other))))  # the same, elsewhere
    (other.parent / "tokenizer_config.json").write_text('{"eos_token": "<pad>"}')
    with pytest.raises(UserError, match="holds another run: it was made with another tokenizer"):
        run.check_config(dataclasses.replace(config, data=DataConfig(vocabulary=str(other))))
    with pytest.raises(UserError, match=r"config\.data\.vocabulary: .* -> 'byte'"):
        run.check_config(CONFIG)


def test_what_a_run_started_from_is_kept(tmp_path):
    source = source_run(tmp_path / "source")
    run = RunFolder(tmp_path / "run")
    run.claim(dataclasses.replace(CONFIG, init_from=str(source.path)), DATA)
    assert json.loads((run.path / "config.json").read_text())["init_from"] == "../source"
    before = history.stages(run, 9)
    shutil.rmtree(source.path)
    assert history.stages(run, 9) == before
    [first, own] = before
    assert (first.run, first.step, first.text_tokens, first.model_flops) == ("source", 4, 70, 7e9)
    assert first.config == SOURCE and (own.run, own.text_tokens) == ("run", None)
    assert history.total([stage.text_tokens for stage in before]) is None
    (run.path / history.FILE).unlink()  # a run of older code
    [lost, _] = history.stages(run, 9)
    assert (lost.run, lost.config, lost.text_tokens) == ("source", None, None)


def test_the_run_that_one_started_from_may_be_named_anew(tmp_path):
    source = source_run(tmp_path / "source")
    run = RunFolder(tmp_path / "run")
    config = dataclasses.replace(CONFIG, init_from=str(source.path))
    run.claim(config, DATA)
    moved = source.path.rename(tmp_path / "elsewhere")
    run.claim(dataclasses.replace(config, init_from=str(moved)), DATA)
    run.check_config(dataclasses.replace(config, init_from=f"{moved}/checkpoints/4"))
    assert run.config().init_from == str(moved)
    other = RunFolder(tmp_path / "other")
    other.claim(dataclasses.replace(SOURCE, seed=8), DATA)
    for init_from in (str(other.path), f"{moved}/checkpoints/3", ""):
        with pytest.raises(UserError, match=r"differs in config\.init_from"):
            run.check_config(dataclasses.replace(config, init_from=init_from))


def test_data_that_was_moved_is_the_same_run_and_other_data_is_not(tmp_path):
    run = RunFolder(tmp_path / "run")
    config = dataclasses.replace(CONFIG, data=DataConfig(files=f"{tmp_path}/a/*.txt"))
    moved = dataclasses.replace(CONFIG, data=DataConfig(files=f"{tmp_path}/b/*.txt"))
    run.claim(config, DATA)
    identity = run.identity()
    run.check_config(moved)
    assert run.has_places_of(config) and not run.has_places_of(moved)
    with pytest.raises(UserError, match=r"holds another run, as other data lies in config\.data\.files: .*a/\*\.txt"):
        run.claim(moved, {"train": {"sha256": "other"}})
    run.claim(moved, DATA)
    assert run.has_places_of(moved) and run.identity() == identity


def test_a_run_is_called_by_its_folder_from_within_too(folder, monkeypatch):
    monkeypatch.chdir(folder.path)
    assert RunFolder(Path(".")).name == folder.path.name

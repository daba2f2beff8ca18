"""The training program: real text in, a run's folder out; every mistake is one sentence, before a file is written."""

import dataclasses
import json

import numpy as np
import pytest

from pause_jax.config import Config, DataConfig, ModelConfig, PauseConfig, RunConfig, TrainConfig
from pause_jax.errors import UserError
from pause_jax.logging.writers import read_jsonl
from pause_jax.training import run as train
from tests.programs import assert_one_sentence, program

TINY = ModelConfig(num_layers=1, d_model=16, num_heads=2, d_ff=16, max_positions=32)
OVERRIDES = [
    "--config.model.num_layers=1",
    "--config.model.d_model=16",
    "--config.model.num_heads=2",
    "--config.model.d_ff=16",
    "--config.data.length=32",
    "--config.train.batch_size=8",
    "--config.optimizer.warmup_steps=1",
    "--config.run.log_every=1",
    "--config.run.validation_batches=1",
]


@pytest.fixture
def texts(tmp_path):
    """Three hundred lines of text as one document a line."""
    file = tmp_path / "texts.jsonl"
    lines = [json.dumps({"text": f"document {i}: {i} and {i} are {2 * i}", "id": i}) for i in range(300)]
    file.write_text("\n".join(lines) + "\n")
    return file


def config_for(files, **fields):
    config = Config(
        model=TINY,
        data=DataConfig(files=str(files), length=32),
        train=TrainConfig(steps=3, batch_size=8),
        run=RunConfig(log_every=1, loggers=("jsonl",), validation_batches=1),
    )
    return train.resolve(dataclasses.replace(config, **fields))


@pytest.mark.slow
def test_train_then_again_then_generate(tmp_path, texts):
    """The programs as a user runs them, on a text file of theirs, with pauses."""
    arguments = [
        "--config=experiments/quickstart.py:pause",
        f"--workdir={tmp_path}/run",
        "--config.train.steps=4",
        f"--config.data.files={texts}",
        *OVERRIDES,
    ]
    first = program("train", *arguments)
    assert first.returncode == 0, first.stderr
    assert "4/4" in first.stdout and "loss" in first.stdout and "trained to step 4" in first.stdout
    metrics = read_jsonl(tmp_path / "run" / "metrics.jsonl")
    assert [record["step"] for record in metrics] == [1, 2, 3, 4]
    assert {"validation/loss", "validation/paused_loss", "loss", "text_tokens", "pause_tokens"} <= set(metrics[-1])
    assert list((tmp_path / "run" / "tensorboard").iterdir())
    again = program("train", *arguments)
    assert again.returncode == 0 and "trained to step 4" in again.stdout and "loss" not in again.stdout
    look = program("train", *arguments, "--config.run.replay_step=3")
    assert look.returncode == 0, look.stderr
    assert look.stdout.startswith("step 3 (batch 2), from the state of step 0 on\nloss ")
    assert read_jsonl(tmp_path / "run" / "metrics.jsonl") == metrics
    written = program("generate", f"--run={tmp_path}/run", "--m_inf=3", "--prompt=document", "--max_new_tokens=5")
    assert written.returncode == 0, written.stderr
    assert written.stdout.startswith("document")
    other = program("train", *arguments, "--config.model.d_ff=32")
    assert_one_sentence(other, r"holds another run, which differs in config\.model\.d_ff: 16 -> 32")
    shorter = program("train", *arguments, "--config.train.steps=2")
    assert_one_sentence(
        shorter, r"config\.train\.steps = 2 is less than the 4 .*: a run can be prolonged, not shortened"
    )


@pytest.mark.parametrize(
    "arguments, sentence",
    [
        (
            ["--config.trian.steps=3"],
            r"config\.trian\.steps: the config has no such field: did you mean --config\.train",
        ),
        (["--config.train.steps=many"], r"--config\.train\.steps=many: the value must be an integer"),
        (["--config.model.num_heads=3"], r"d_model = 128 is not divisible by config\.model\.num_heads = 3"),
        (
            ["--config.data.vocabulary=nothing.model"],
            r"'nothing\.model' cannot be read \(No such file or directory\)",
        ),
        (["--config.pauses.rate=1"], r"rate = 1\.0 puts 256 pauses into config\.data\.length = 256 positions"),
        (["--config.model.vocab_size=100"], r"vocab_size = 100 is less than the 259 ids of config\.data\.vocabulary"),
    ],
)
def test_mistakes_in_the_command(tmp_path, arguments, sentence):
    result = program("train", "--config=experiments/quickstart.py:pause", f"--workdir={tmp_path}/run", *arguments)
    assert_one_sentence(result, sentence)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "arguments, sentence",
    [
        ([], r"--run is missing"),
        (["--run=nowhere"], r"nowhere holds no run: .*config\.json does not exist"),
        (["--run=nowhere", "--m_inf=-1"], r"--m_inf=-1 is negative"),
    ],
)
def test_mistakes_in_generating(arguments, sentence):
    assert_one_sentence(program("generate", *arguments), sentence)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name, content, sentence",
    [
        ("*.txt", None, r"config\.data\.files = .*\*\.txt' matches no file"),
        ("empty.txt", " \n", r"empty\.txt.* holds no text: every document is blank"),
        ("broken.jsonl", '{"text": "good"}\n{"text": "bad\n', r"broken\.jsonl, line 2: broken JSON"),
    ],
)
def test_mistakes_in_the_data_from_the_command_line(tmp_path, name, content, sentence):
    if content is not None:
        (tmp_path / name).write_text(content)
    files = f"--config.data.files={tmp_path}/{name}"
    result = program("train", "--config=experiments/quickstart.py:pause", f"--workdir={tmp_path}/run", files)
    assert_one_sentence(result, sentence)
    assert not (tmp_path / "run").exists()


def test_mistakes_in_the_data(tmp_path, texts):
    """In one process, for TensorFlow takes seconds to import; nothing is written for any of them."""
    broken = tmp_path / "broken.jsonl"
    broken.write_text('{"text": "good"}\n{"text": "bad\n')
    empty = tmp_path / "empty.txt"
    empty.write_text(" \n")
    other_field = DataConfig(files=str(texts), text_field="body", length=32)
    uneven = TrainConfig(steps=3, batch_size=9)
    for sentence, config in [
        (r"config\.data\.files = .* matches no file", config_for(tmp_path / "none*.txt")),
        (r"holds no text: every document is blank", config_for(empty)),
        (r"broken\.jsonl, line 2: broken JSON", config_for(broken)),
        (r"no field 'body'.*--config\.data\.text_field", config_for(texts, data=other_field)),
        (r"batch_size = 9 is not divisible by .* = 8 devices", config_for(texts, train=uneven)),
        (r"holds no run", config_for(texts, init_from=str(tmp_path / "nowhere"))),
    ]:
        with pytest.raises(UserError, match=sentence):
            train.run_training(config, tmp_path / "run")
        assert not (tmp_path / "run").exists(), sentence


def test_data_that_changed_under_a_run_is_refused(tmp_path, texts):
    train.run_training(config_for(texts), tmp_path / "run")
    before = read_jsonl(tmp_path / "run" / "metrics.jsonl")
    texts.write_text(texts.read_text() + '{"text": "one more"}\n')
    with pytest.raises(UserError, match=r"the data under the run .* has changed"):
        train.run_training(config_for(texts, train=TrainConfig(steps=5, batch_size=8)), tmp_path / "run")
    assert read_jsonl(tmp_path / "run" / "metrics.jsonl") == before


def test_resuming_reads_the_batches_an_undisturbed_run_reads(tmp_path, texts):
    """With the real data pipeline: 4 steps straight, and 2 and 2."""
    pauses = PauseConfig(rate=0.2, mode="exact")
    four, two = (config_for(texts, pauses=pauses, train=TrainConfig(steps=n, batch_size=8)) for n in (4, 2))
    four, two = (dataclasses.replace(c, model=dataclasses.replace(c.model, num_pause_tokens=2)) for c in (four, two))
    constant = dataclasses.replace(four.optimizer, schedule="constant", warmup_steps=1)
    four, two = (dataclasses.replace(c, optimizer=constant) for c in (four, two))
    train.run_training(four, tmp_path / "straight")
    train.run_training(two, tmp_path / "resumed")
    train.run_training(four, tmp_path / "resumed")
    straight, resumed = (read_jsonl(tmp_path / name / "metrics.jsonl") for name in ("straight", "resumed"))
    for name in ("step", "loss", "grad_norm", "text_tokens", "pause_tokens", "loss_tokens"):
        np.testing.assert_array_equal([r[name] for r in straight], [r[name] for r in resumed], err_msg=name)
    assert straight[-1]["pause_tokens"] > 0


@pytest.mark.slow
def test_the_quickstarts_model_hardly_waits_for_data(tmp_path):
    done = program(
        "train",
        "--config=experiments/quickstart.py:pause",
        f"--workdir={tmp_path}/run",
        "--config.train.steps=21",
        "--config.run.validate_every=0",
    )
    assert done.returncode == 0, done.stderr
    stretches = [r for r in read_jsonl(tmp_path / "run" / "metrics.jsonl")[1:] if "data_seconds_share" in r]
    assert [r["step"] for r in stretches] == [10, 20, 21]
    # A pipeline that is too slow is so in each stretch; other tests, which take the cores meanwhile, are not.
    assert min(r["data_seconds_share"] for r in stretches) < 0.05
